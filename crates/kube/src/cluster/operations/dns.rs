//! Name servers that are silent, slow, or behind the times.

use hopwise_engine::Span;

use super::OperationError;
use crate::cluster::Cluster;
use crate::cluster::names::DnsTrouble;

/// Some name servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DnsServers {
    /// The CoreDNS pods.
    Cluster,
    /// The caches on the nodes (NodeLocal DNSCache).
    NodeCaches,
    /// The internet's resolver, which nodes and clients outside ask.
    Internet,
}

impl DnsServers {
    /// The word for them.
    pub fn as_str(self) -> &'static str {
        match self {
            DnsServers::Cluster => "cluster",
            DnsServers::NodeCaches => "nodeCaches",
            DnsServers::Internet => "internet",
        }
    }
}

impl Cluster {
    /// Lets name servers be silent, or answer again. Their ports stay open.
    ///
    /// # Errors
    /// [`OperationError::AlreadySo`].
    pub fn set_dns_down(&self, servers: DnsServers, down: bool) -> Result<(), OperationError> {
        let changed = self.dns_trouble(servers).set_down(down);
        note(servers, changed, if down { "dns.down" } else { "dns.up" }, String::new())
    }

    /// Lets each answer of name servers take so much longer.
    ///
    /// # Errors
    /// [`OperationError::AlreadySo`].
    pub fn slow_dns(&self, servers: DnsServers, by: Span) -> Result<(), OperationError> {
        let changed = self.dns_trouble(servers).set_slow(by.into());
        note(servers, changed, "dns.slow", format!("by {} ms", by.as_nanos() / 1_000_000))
    }

    /// Lets name servers learn nothing new of the cluster (`cluster`) or of names outside (`internet`), or catch up.
    ///
    /// # Errors
    /// [`OperationError::AlreadySo`]; for caches, which learn from what they ask.
    pub fn set_dns_frozen(&self, servers: DnsServers, frozen: bool) -> Result<(), OperationError> {
        if servers == DnsServers::NodeCaches {
            let why =
                "the caches of nodes learn by asking; freeze the `cluster` servers, or keep their answers";
            return Err(OperationError::Refused(why.to_owned()));
        }
        let changed = self.dns_trouble(servers).set_frozen(frozen);
        note(servers, changed, if frozen { "dns.frozen" } else { "dns.thawed" }, String::new())
    }

    /// Lets what name servers have kept never grow old, or forget in time again.
    ///
    /// # Errors
    /// [`OperationError::AlreadySo`].
    pub fn set_dns_cache_kept(&self, servers: DnsServers, kept: bool) -> Result<(), OperationError> {
        let at = kept.then(hopwise_engine::now);
        let changed = self.dns_trouble(servers).set_cache_stands_at(at);
        note(servers, changed, if kept { "dns.keeps_answers" } else { "dns.forgets_answers" }, String::new())
    }

    fn dns_trouble(&self, servers: DnsServers) -> &DnsTrouble {
        self.names.trouble(servers)
    }
}

fn note(
    servers: DnsServers,
    changed: bool,
    kind: &'static str,
    detail: String,
) -> Result<(), OperationError> {
    let object = format!("DNS {}", servers.as_str());
    if !changed {
        return Err(OperationError::AlreadySo(format!("{object} is so already")));
    }
    hopwise_engine::notable(kind, object, detail);
    Ok(())
}
