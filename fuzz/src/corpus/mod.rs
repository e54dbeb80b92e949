//! Good requests, to be damaged.

mod handshakes;
mod http;
mod kafka;

pub use handshakes::{sasl, tls};
pub use http::{admin, proxy, registry};
pub(crate) use kafka::TOPIC;
pub use kafka::kafka;
