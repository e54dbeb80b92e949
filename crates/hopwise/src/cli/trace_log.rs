//! `tracing` output on standard error, with virtual time and the host on every line.

use std::fmt;

use miette::{IntoDiagnostic, Report, Result, WrapErr};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// Virtual time, and whose task speaks.
struct VirtualTime;

impl FormatTime for VirtualTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let host = hopwise_engine::host::name(hopwise_engine::host::current());
        write!(writer, "{} {host}", hopwise_engine::now())
    }
}

/// Starts logging by `filter`, or by the environment's `HOPWISE_LOG`; warnings and errors otherwise.
pub fn start(filter: Option<&str>) -> Result<(), Report> {
    let environment = std::env::var("HOPWISE_LOG").ok();
    let directives = filter.or(environment.as_deref()).unwrap_or("error");
    let filter = EnvFilter::try_new(directives).into_diagnostic().wrap_err_with(|| {
        format!("--log {directives}: expected a level or directives such as hopwise=debug")
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(VirtualTime)
        .with_writer(std::io::stderr)
        .init();
    Ok(())
}
