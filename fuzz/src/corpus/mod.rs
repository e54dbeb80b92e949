//! Good requests, to be damaged.

mod http;
mod kafka;

pub use http::{admin, proxy, registry};
pub(crate) use kafka::TOPIC;
pub use kafka::kafka;
