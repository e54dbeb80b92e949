//! TLS 1.2 and 1.3 by rustls over any stream, with keys, nonces and signatures that follow from a seed and
//! validity judged by a clock that is passed in.
//!
//! Both ends do without session resumption: a broker's TLS stack offers none by default, and a resumed
//! session would not present the certificate that the client is to judge.

mod acceptor;
mod connector;
mod either;
mod failure;
mod gathered;
mod key_exchange;
mod key_log;
mod material;
mod provider;
mod signing;
mod stream;

use std::fmt;
use std::sync::Arc;

pub use acceptor::{ServerSettings, TlsAcceptor};
pub use connector::{ClientSettings, TlsConnector};
pub use either::Stream;
pub use failure::TlsFailure;
pub use key_log::{KeySink, log_keys_to, stop_logging_keys};
pub use material::MaterialError;
pub use stream::TlsStream;

use rustls::pki_types::UnixTime;

/// The time of day, milliseconds since 1970, by which certificates are valid or not.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The least version of the protocol that an end accepts. Versions below 1.2 are not spoken; a configuration
/// that allows them gets 1.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum MinVersion {
    /// TLS 1.2 and later.
    #[default]
    Tls12,
    /// TLS 1.3 alone.
    Tls13,
}

impl MinVersion {
    fn versions(self) -> &'static [&'static rustls::SupportedProtocolVersion] {
        static ALL: [&rustls::SupportedProtocolVersion; 2] =
            [&rustls::version::TLS13, &rustls::version::TLS12];
        match self {
            MinVersion::Tls12 => &ALL,
            MinVersion::Tls13 => &ALL[..1],
        }
    }
}

/// The clock as rustls wants it.
struct TimeOfDay(Clock);

impl fmt::Debug for TimeOfDay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TimeOfDay")
    }
}

impl rustls::time_provider::TimeProvider for TimeOfDay {
    fn current_time(&self) -> Option<UnixTime> {
        let milliseconds = u64::try_from((self.0)()).ok()?;
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_millis(milliseconds)))
    }
}
