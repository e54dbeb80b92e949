//! Names outside the cluster, as the internet's DNS knows them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

/// The records of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamName {
    /// All addresses, of both families.
    pub addresses: Vec<IpAddr>,
    /// The name that this one is an alias of; it then has no addresses of its own.
    pub alias: Option<String>,
    /// Time to live of its records, in seconds.
    pub ttl_s: u32,
    /// The upstream's reply comes truncated; the flag is passed on.
    pub truncated: bool,
}

/// Time to live of a record whose owner chose none, in seconds (external-dns, docs/advanced/ttl: what the providers for
/// Route 53, Google and Azure set instead of 0).
pub const DEFAULT_TTL_S: u32 = 300;

impl Default for UpstreamName {
    fn default() -> UpstreamName {
        UpstreamName { addresses: Vec::new(), alias: None, ttl_s: DEFAULT_TTL_S, truncated: false }
    }
}

/// Names and their records. A name that is not here does not exist, unless there is a name below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upstream {
    /// By name in lower case with its final dot.
    names: BTreeMap<String, UpstreamName>,
}

/// Names that several servers know.
pub type SharedUpstream = Rc<RefCell<Upstream>>;

impl Upstream {
    /// Adds a name, or `*.domain` for every name below a domain that is not listed itself.
    pub fn put(&mut self, name: &str, entry: UpstreamName) {
        self.names.insert(normal(name), entry);
    }

    /// Removes a name.
    pub fn remove(&mut self, name: &str) {
        self.names.remove(&normal(name));
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

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }
}

fn normal(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.').to_ascii_lowercase())
}
