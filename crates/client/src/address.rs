//! `host:port` as a client is told it: a name or an IP address, and a port.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A host (a name, or an IP address in text) and a port, exactly as advertised.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// The name or address; an IPv6 address has no brackets here.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Text that is not `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not an address: {problem}; write host:port, for example redpanda-0.example.com:9093 or [2001:db8::1]:9093"
)]
pub struct AddressError {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl HostPort {
    /// The address of `port` at `host`.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        HostPort { host: host.into(), port }
    }

    /// The IP address, if the host is one and needs no look-up.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for HostPort {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = |problem| AddressError { text: text.to_owned(), problem };
        let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong("it has no port"))?;
        let port = port.parse().map_err(|_| wrong("the port is not a number from 0 to 65535"))?;
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if bracketed.is_none() && host.contains(':') {
            return Err(wrong("an IPv6 address is written in brackets"));
        }
        let host = bracketed.unwrap_or(host);
        if host.is_empty() {
            return Err(wrong("the host is empty"));
        }
        Ok(HostPort::new(host, port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_both_families_survive_the_round_trip() {
        for text in
            ["redpanda-0.redpanda.redpanda.svc.cluster.local.:10092", "10.0.0.1:9093", "[2001:db8::1]:9093"]
        {
            let address: HostPort = text.parse().expect("a valid address");
            assert_eq!(address.to_string(), text);
        }
        assert_eq!("[::1]:1".parse::<HostPort>().expect("valid").ip(), Some("::1".parse().expect("valid")));
    }

    #[test]
    fn what_is_not_an_address_says_why() {
        let problem = |text: &str| text.parse::<HostPort>().expect_err("invalid").problem;
        assert_eq!(problem("redpanda-0"), "it has no port");
        assert_eq!(problem("redpanda-0:70000"), "the port is not a number from 0 to 65535");
        assert_eq!(problem("::1:9093"), "an IPv6 address is written in brackets");
        assert_eq!(problem(":9093"), "the host is empty");
    }
}
