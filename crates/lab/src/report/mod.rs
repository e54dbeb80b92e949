//! Reports: plain data that serializes to what the command line promises, and renderings of it for people.

pub mod check;
mod check_text;
mod command_line;
pub mod dns;
mod dns_text;
pub mod event_kinds;
pub mod explain;
mod junit;
mod paper;
pub mod probe;
mod probe_text;
mod routes;
pub mod run;
mod run_text;
pub mod serve;
mod serve_text;
mod sweep_text;
pub(crate) mod units;

pub use check_text::check_text;
pub use command_line::{replay, shell_word};
pub use dns_text::dns_text;
pub use junit::{check_junit, run_junit};
pub use paper::Paper;
pub use probe_text::probe_text;
pub use run_text::{Comparison, compare, run_text};
pub use serve_text::serve_text;
pub use sweep_text::{failure_text, sweep_text};
