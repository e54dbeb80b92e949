//! One DNS server: a Corefile's plugins over one zone, with the caches of that server.
//!
//! The order is CoreDNS's (plugin.cfg): loadbalance, cache, rewrite, autopath, hosts, kubernetes, forward.

use std::net::IpAddr;

use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use hopwise_engine::{Span, Time};
use rand::Rng;

use super::answer::{Answer, domain_of};
use super::cache::{Cache, CacheOptions};
use super::corefile::{Corefile, ServerBlock};
use super::{Reason, Transport, Zone, autopath, forward, kubernetes, message, rewrite};

/// A DNS server.
#[derive(Debug)]
pub struct Server {
    /// What it knows.
    pub zone: Zone,
    blocks: Vec<(ServerBlock, Option<Cache>)>,
}

/// Why a server answers a question as it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The rule that decided.
    pub reason: Reason,
    /// Whether the answer comes from the server's cache and can be older than the cluster's state.
    pub from_cache: bool,
}

impl Server {
    /// A server that knows nothing yet.
    pub fn new(corefile: &Corefile) -> Server {
        let blocks = corefile.blocks.iter().map(|block| (block.clone(), block.cache.clone().map(Cache::new)));
        Server { zone: Zone::new(corefile.kubernetes.clone()), blocks: blocks.collect() }
    }

    /// Whether it has to know the pods: for `pods verified` and `autopath`.
    pub fn needs_pods(&self) -> bool {
        self.zone.options.pods == super::PodMode::Verified
            || self.blocks.iter().any(|(block, _)| block.autopath)
    }

    /// Replies to the query of a client. Returns `None` for bytes that are not a query, which get no reply.
    pub fn reply(
        &mut self,
        now: Time,
        client: IpAddr,
        query: &[u8],
        transport: Transport,
        random: &mut dyn Rng,
    ) -> Option<Vec<u8>> {
        let shuffles = self.blocks.iter().any(|(block, _)| block.loadbalance);
        let shuffle = shuffles.then_some(random);
        message::reply(query, transport, shuffle, |question: &Query| {
            self.answer(now, client, question.name(), question.query_type())
        })
    }

    /// Why this server would answer as it would now; asking leaves no trace in its caches.
    pub fn explain(&self, now: Time, client: IpAddr, name: &Name, kind: RecordType) -> Explanation {
        let Some(index) = self.block_of(name) else {
            return Explanation { reason: Reason::NotServed, from_cache: false };
        };
        let (block, cache) = &self.blocks[index];
        if let Some(kept) = cache.as_ref().and_then(|cache| cache.get(now, name, kind)) {
            return Explanation { reason: kept.reason, from_cache: true };
        }
        Explanation { reason: self.uncached(block, client, name, kind).reason, from_cache: false }
    }

    /// The addresses that this server would answer with now, and for how long it may go on doing so from its cache (zero
    /// if the answer is none of the cache's); asking leaves no trace there.
    pub fn addresses(&self, now: Time, client: IpAddr, name: &Name, kind: RecordType) -> (Vec<IpAddr>, Span) {
        let Some(index) = self.block_of(name) else { return (Vec::new(), Span::ZERO) };
        let (block, cache) = &self.blocks[index];
        let kept = cache.as_ref().and_then(|cache| cache.get(now, name, kind));
        let (mut answer, cached) = match kept {
            Some(kept) => (kept, block.cache.as_ref().map_or(Span::ZERO, longest)),
            None => (self.uncached(block, client, name, kind), Span::ZERO),
        };
        let addresses = answer.records_mut().filter_map(|record| match &record.data {
            RData::A(address) => Some(IpAddr::from(address.0)),
            RData::AAAA(address) => Some(IpAddr::from(address.0)),
            _ => None,
        });
        (addresses.collect(), cached)
    }

    fn answer(&mut self, now: Time, client: IpAddr, name: &Name, kind: RecordType) -> Answer {
        let Some(index) = self.block_of(name) else {
            return Answer::new(ResponseCode::Refused, Reason::NotServed);
        };
        let (block, cache) = &self.blocks[index];
        if let Some(kept) = cache.as_ref().and_then(|cache| cache.get(now, name, kind)) {
            return kept;
        }
        let answer = self.uncached(block, client, name, kind);
        match &mut self.blocks[index].1 {
            Some(cache) => cache.put(now, name, kind, answer),
            None => answer,
        }
    }

    /// The block with the longest zone that the name is in.
    fn block_of(&self, name: &Name) -> Option<usize> {
        let longest = |block: &ServerBlock| {
            block.zones.iter().filter_map(|zone| domain_of(name, zone)).map(|zone| zone.iter().count()).max()
        };
        let blocks = self.blocks.iter().enumerate();
        let matching = blocks.filter_map(|(index, (block, _))| Some((longest(block)?, index)));
        matching.max_by_key(|(length, index)| (*length, std::cmp::Reverse(*index))).map(|(_, index)| index)
    }

    fn uncached(&self, block: &ServerBlock, client: IpAddr, name: &Name, kind: RecordType) -> Answer {
        match rewrite::rewritten(&block.rewrites, name) {
            None => self.searched(block, client, name, kind),
            Some((target, as_asked)) => {
                let mut answer = self.searched(block, client, &target, kind);
                if as_asked {
                    let owners = answer.answers.iter_mut().filter(|record| record.name == target);
                    owners.for_each(|record| record.name = name.clone());
                }
                answer
            }
        }
    }

    fn searched(&self, block: &ServerBlock, client: IpAddr, name: &Name, kind: RecordType) -> Answer {
        let candidates = if block.autopath { autopath::candidates(&self.zone, client, name) } else { None };
        let Some(candidates) = candidates else { return self.looked_up(block, name, kind) };
        let mut first = None;
        for candidate in candidates {
            let mut answer = self.looked_up(block, &candidate, kind);
            if !autopath::goes_on(&answer) {
                autopath::alias(&mut answer, name);
                return answer;
            }
            first.get_or_insert(answer);
        }
        first.unwrap_or_else(|| self.looked_up(block, name, kind))
    }

    fn looked_up(&self, block: &ServerBlock, name: &Name, kind: RecordType) -> Answer {
        let hosts = || block.hosts.as_ref()?.answer(name, kind);
        let cluster = || block.kubernetes.then(|| kubernetes::answer(&self.zone, name, kind)).flatten();
        let outside = || block.forward.then(|| forward::answer(&self.zone.upstream.borrow(), name, kind));
        // A chain that ends without an answer refuses, or fails where a plugin passed the name on (core/dnsserver).
        let none = || Answer::new(ResponseCode::Refused, Reason::NotServed);
        hosts().or_else(cluster).or_else(outside).unwrap_or_else(none)
    }
}

/// The longest that any answer is kept.
fn longest(cache: &CacheOptions) -> Span {
    Span::from_secs(u64::from(cache.success.ttl_max_s.max(cache.denial.ttl_max_s)))
}
