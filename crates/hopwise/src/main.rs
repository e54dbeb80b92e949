//! The command line. Words, JSON and exit statuses are fixed in the README.

use std::process::ExitCode;

mod cli;

fn main() -> ExitCode {
    // `hopwise exec` calls this executable again inside the namespaces that it makes.
    #[cfg(target_os = "linux")]
    if let Some(status) = hopwise_namespace::helper() {
        return status;
    }
    cli::main()
}
