//! /etc/resolv.conf and /etc/hosts.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use hopwise_engine::Span;

use super::ResolverKind;

/// Servers asked; further ones are ignored (glibc's MAXNS).
const SERVERS_MAX: usize = 3;

/// How a host resolves names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolverConfig {
    /// Servers, asked in this order; at most three.
    pub nameservers: Vec<IpAddr>,
    /// Domains appended to short names.
    pub search: Vec<String>,
    /// A name with at least this many dots is asked as it is first.
    pub ndots: usize,
    /// How long to wait for the first server.
    pub timeout: Span,
    /// How often each server is asked.
    pub attempts: u32,
    /// Whose resolver it is.
    pub kind: ResolverKind,
    /// Queries go over TCP from the start (`use-vc`).
    pub use_tcp: bool,
    /// A query of one type waits for the reply to the one before (`single-request`); glibc and Go.
    pub one_by_one: bool,
    /// The host file: names in lower case without a final dot.
    pub hosts: BTreeMap<String, Vec<IpAddr>>,
}

impl Default for ResolverConfig {
    /// resolv.conf(5)'s defaults, with the local host as server.
    fn default() -> ResolverConfig {
        ResolverConfig {
            nameservers: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            search: Vec::new(),
            ndots: 1,
            timeout: Span::from_secs(5),
            attempts: 2,
            kind: ResolverKind::default(),
            use_tcp: false,
            one_by_one: false,
            hosts: BTreeMap::new(),
        }
    }
}

/// A line that cannot be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}, line {line}: {field}: expected {expected}, found '{found}'")]
pub struct ResolvConfError {
    /// `resolv.conf` or `hosts`.
    pub file: &'static str,
    /// Line, from 1.
    pub line: usize,
    /// The keyword or option.
    pub field: String,
    /// What belongs there.
    pub expected: &'static str,
    /// What is there.
    pub found: String,
}

impl ResolverConfig {
    /// Reads the text of a resolv.conf. Options that do not change who is asked what are ignored.
    ///
    /// # Errors
    /// [`ResolvConfError`] for an address that is none, an option's number that is none, or an unknown keyword.
    pub fn parse(text: &str) -> Result<ResolverConfig, ResolvConfError> {
        let mut config = ResolverConfig { nameservers: Vec::new(), ..ResolverConfig::default() };
        for (index, line) in text.lines().enumerate() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let Some(keyword) = words.next() else { continue };
            let error = |field: &str, expected, found: &str| ResolvConfError {
                file: "resolv.conf",
                line: index + 1,
                field: field.to_owned(),
                expected,
                found: found.to_owned(),
            };
            match keyword {
                "nameserver" => {
                    let address = words.next().unwrap_or_default();
                    let ip = address.parse().map_err(|_| error(keyword, "an IP address", address))?;
                    if config.nameservers.len() < SERVERS_MAX {
                        config.nameservers.push(ip);
                    }
                }
                // The last of `search` and `domain` counts.
                "search" => config.search = words.map(domain).filter(|domain| !domain.is_empty()).collect(),
                "domain" => config.search = words.take(1).map(domain).collect(),
                "options" => {
                    for option in words {
                        config
                            .option(option)
                            .map_err(|()| error("options", "a number after the colon", option))?;
                    }
                }
                "sortlist" => {}
                other => return Err(error(other, "nameserver, search, domain, options or sortlist", other)),
            }
        }
        if config.nameservers.is_empty() {
            config.nameservers.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        Ok(config)
    }

    /// The bounds are glibc's: ndots 15, timeout 30 s, attempts 5.
    fn option(&mut self, option: &str) -> Result<(), ()> {
        let Some((name, value)) = option.split_once(':') else {
            match option {
                "use-vc" => self.use_tcp = true,
                "single-request" | "single-request-reopen" => self.one_by_one = true,
                _ => {}
            }
            return Ok(());
        };
        let number = || value.parse::<u32>().map_err(|_| ());
        match name {
            "ndots" => self.ndots = number()?.min(15) as usize,
            "timeout" => self.timeout = Span::from_secs(u64::from(number()?.clamp(1, 30))),
            "attempts" => self.attempts = number()?.clamp(1, 5),
            _ => {}
        }
        Ok(())
    }

    /// The names to ask for `host`, in order, each with its final dot (glibc's res_search; the others agree but for
    /// musl, which asks a name with enough dots as it is alone).
    pub fn candidates(&self, host: &str) -> Vec<String> {
        if let Some(absolute) = host.strip_suffix('.') {
            return vec![format!("{absolute}.")];
        }
        let as_is = format!("{host}.");
        let searched = self.search.iter().map(|domain| format!("{host}.{domain}."));
        if host.matches('.').count() < self.ndots {
            searched.chain([as_is]).collect()
        } else if self.kind.searches_names_with_dots() {
            std::iter::once(as_is).chain(searched).collect()
        } else {
            vec![as_is]
        }
    }
}

fn domain(word: &str) -> String {
    word.trim_end_matches('.').to_owned()
}

/// Reads the text of a hosts file: an address and its names on each line.
///
/// # Errors
/// [`ResolvConfError`] for a line that does not start with an address.
pub fn parse_hosts(text: &str) -> Result<BTreeMap<String, Vec<IpAddr>>, ResolvConfError> {
    let mut hosts: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(address) = words.next() else { continue };
        let ip: IpAddr = address.parse().map_err(|_| ResolvConfError {
            file: "hosts",
            line: index + 1,
            field: "address".to_owned(),
            expected: "an IP address, then names",
            found: address.to_owned(),
        })?;
        for name in words {
            hosts.entry(domain(name).to_ascii_lowercase()).or_default().push(ip);
        }
    }
    Ok(hosts)
}
