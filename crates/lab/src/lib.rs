//! The lab: scenarios, what is measured in them, what is found, and how it is reported.

pub mod certificates;
pub mod check;
pub mod cost;
pub mod credentials;
mod device;
pub mod dns;
pub mod entry;
#[cfg(target_os = "linux")]
pub mod exec;
pub mod findings;
pub mod first_scenario;
pub mod inputs;
pub mod latency;
pub mod limits;
pub mod page;
pub mod place;
pub mod probe;
pub mod programs;
#[cfg(any(test, feature = "properties"))]
pub mod properties;
pub mod recording;
pub mod replaced_file;
pub mod report;
pub mod run;
pub mod scenario;
pub mod serve;
pub mod shrink;
pub mod simulate;
pub mod sweep;
pub mod trace;
mod wall_time;
