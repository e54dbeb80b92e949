//! Names outside the cluster, as the resolver behind CoreDNS's `forward` knows them.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// The addresses of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamName {
    /// All addresses, of both families.
    pub addresses: Vec<IpAddr>,
    /// The upstream's reply comes truncated; the flag is passed on.
    pub truncated: bool,
}

/// Names and their addresses. A name that is not here does not exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upstream {
    /// By name in lower case with its final dot.
    names: BTreeMap<String, UpstreamName>,
}

impl Upstream {
    /// Adds a name, or `*.domain` for every name below a domain that is not listed itself.
    pub fn put(&mut self, name: &str, entry: UpstreamName) {
        self.names.insert(normal(name), entry);
    }

    /// Finds a name: itself, or the wildcard of the closest domain above it (RFC 4592).
    pub fn get(&self, name: &str) -> Option<&UpstreamName> {
        let name = normal(name);
        if let Some(found) = self.names.get(&name) {
            return Some(found);
        }
        let mut rest = name.as_str();
        while let Some((_, above)) = rest.split_once('.') {
            if let Some(found) = self.names.get(&format!("*.{above}")) {
                return Some(found);
            }
            rest = above;
        }
        None
    }
}

fn normal(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.').to_ascii_lowercase())
}
