//! CoreDNS's Corefile, as far as it changes what is answered.
//!
//! kubeadm's own is the default. Of a user's Corefile the plugins `kubernetes`, `cache`, `forward`, `hosts`, `rewrite`,
//! `autopath` and `loadbalance` are read; those that change no answer (`errors`, `health`...) are passed over, and what
//! is not understood is an assumption that is reported. Source: the README of each plugin in CoreDNS.

mod directives;
mod syntax;

use super::cache::CacheOptions;
use super::rewrite::{Hosts, Rewrite};
use super::zone::Options;

/// What a server does.
#[derive(Clone, Debug)]
pub struct Corefile {
    /// The server blocks on port 53.
    pub blocks: Vec<ServerBlock>,
    /// The settings of the `kubernetes` plugin.
    pub kubernetes: Options,
    /// What is not understood and therefore left out.
    pub ignored: Vec<Ignored>,
}

/// The plugins of some zones.
#[derive(Clone, Debug, Default)]
pub struct ServerBlock {
    /// The zones, with their final dot.
    pub zones: Vec<String>,
    /// Whether it answers for the cluster.
    pub kubernetes: bool,
    /// Whether other names are asked of the internet's DNS.
    pub forward: bool,
    /// The cache, if there is one.
    pub cache: Option<CacheOptions>,
    /// The lines of `hosts`.
    pub hosts: Option<Hosts>,
    /// The rules of `rewrite name`, in order.
    pub rewrites: Vec<Rewrite>,
    /// Whether the server walks the pod's search list.
    pub autopath: bool,
    /// Whether addresses come in random order.
    pub loadbalance: bool,
}

/// A part of a Corefile that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ignored {
    /// Line in the Corefile, from 1.
    pub line: usize,
    /// The plugin or option.
    pub what: String,
}

/// A Corefile that CoreDNS would not start with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Corefile, line {line}: {what}")]
pub struct CorefileError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong, and what is expected.
    pub what: String,
}

impl Corefile {
    /// What kubeadm installs for a cluster's domain (without its final dot): time to live 30 s, and since about 1.32 a
    /// cache that leaves the cluster's own names out (kubernetes.md 5.3).
    pub fn kubeadm(domain: &str) -> Corefile {
        let kubernetes = Options { domain: format!("{domain}."), ..Options::default() };
        let mut cache = CacheOptions::new(Some(30));
        for class in [&mut cache.success, &mut cache.denial] {
            class.disabled = vec![kubernetes.domain.clone()];
        }
        let block = ServerBlock {
            kubernetes: true,
            cache: Some(cache),
            loadbalance: true,
            ..ServerBlock::forwarding()
        };
        Corefile { blocks: vec![block], kubernetes, ignored: Vec::new() }
    }

    /// A server that knows the internet's names only.
    pub fn internet() -> Corefile {
        Corefile {
            blocks: vec![ServerBlock { loadbalance: true, ..ServerBlock::forwarding() }],
            kubernetes: Options::default(),
            ignored: Vec::new(),
        }
    }

    /// Reads a Corefile.
    ///
    /// # Errors
    /// Braces that do not match, numbers and addresses that are none, options that CoreDNS does not have.
    pub fn parse(text: &str) -> Result<Corefile, CorefileError> {
        directives::corefile(&syntax::parse(text)?)
    }
}

impl ServerBlock {
    /// A block for every name that asks the internet's DNS.
    fn forwarding() -> ServerBlock {
        ServerBlock { zones: vec![".".to_owned()], forward: true, ..ServerBlock::default() }
    }
}

#[cfg(test)]
mod tests;
