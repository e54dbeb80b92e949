//! `tracing` output on standard error: in a simulation with virtual time and the host on every line, otherwise with the
//! time since the start.

use std::fmt;
use std::io::IsTerminal;

use miette::{IntoDiagnostic, Report, Result, WrapErr};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, Uptime};

/// Virtual time, and whose task speaks; outside a simulation the time since the start.
struct SimulatedOrReal(Uptime);

impl FormatTime for SimulatedOrReal {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        if !hopwise_engine::is_running() {
            return self.0.format_time(writer);
        }
        let host = hopwise_engine::host::name(hopwise_engine::host::current());
        write!(writer, "{} {host}", hopwise_engine::now())
    }
}

/// Starts logging by `filter`, or by the environment's `HOPWISE_LOG` or `RUST_LOG`; errors otherwise.
pub fn start(filter: Option<&str>) -> Result<(), Report> {
    let environment = ["HOPWISE_LOG", "RUST_LOG"].iter().find_map(|name| std::env::var(name).ok());
    let directives = filter.or(environment.as_deref()).unwrap_or("error");
    let filter = EnvFilter::try_new(directives).into_diagnostic().wrap_err_with(|| {
        format!("--log {directives}: expected a level or directives such as hopwise=debug")
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(SimulatedOrReal(Uptime::default()))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .init();
    Ok(())
}
