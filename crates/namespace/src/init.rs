//! The PID namespace's init: starts the program, reaps what it leaves behind, and ends as it does.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Child, Command, ExitCode};

use rustix::process::{Signal, WaitOptions, set_parent_process_death_signal, wait};

use crate::files;

/// The statuses of shells for a command that is not found, and for one that cannot be run (POSIX, "Exit Status for
/// Commands").
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

/// Runs the program that is named after the helper's process id.
pub(crate) fn run(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let died = set_parent_process_death_signal(Some(Signal::KILL));
    let parent = arguments.next().unwrap_or_default();
    // The helper may have ended before the line above; then nobody would end the namespace.
    if died.is_err() || !Path::new("/proc").join(&parent).exists() {
        return ExitCode::from(NOT_EXECUTABLE);
    }
    // Without it programs see the machine's processes, which harms nothing.
    let _ = files::mount_proc();
    let Some(program) = arguments.next() else { return ExitCode::from(NOT_FOUND) };
    match Command::new(&program).args(arguments).spawn() {
        Ok(child) => reap(&child),
        Err(error) => {
            eprintln!("hopwise: {}: {error}", program.display());
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            ExitCode::from(if missing { NOT_FOUND } else { NOT_EXECUTABLE })
        }
    }
}

/// Waits for every process, as init must, until the program itself ends.
fn reap(child: &Child) -> ExitCode {
    let own = i32::try_from(child.id()).unwrap_or_default();
    loop {
        let ended = match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get() == own => status,
            Ok(_) | Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return ExitCode::from(NOT_EXECUTABLE),
        };
        let code = ended.exit_status().or_else(|| ended.terminating_signal().map(|signal| 128 + signal));
        return ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(NOT_EXECUTABLE));
    }
}
