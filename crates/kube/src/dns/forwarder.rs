//! A caching forwarder: NodeLocal DNSCache, which asks CoreDNS for what it has not kept.
//!
//! It keeps answers like CoreDNS's `cache` plugin and asks over TCP (its Corefile says `force_tcp`), so that no query
//! depends on a UDP conntrack entry. Source: kubernetes.md 5.3; Kubernetes, cluster/addons/dns/nodelocaldns.

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use hopwise_engine::Time;
use rand::Rng;

use super::answer::Answer;
use super::cache::{Cache, CacheOptions};
use super::{Reason, Transport, message};

/// The cache of one node.
#[derive(Debug)]
pub struct Forwarder {
    cache: Cache,
}

/// A question that has to be asked of the server behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    name: Name,
    kind: RecordType,
    /// The message to send.
    pub message: Vec<u8>,
}

impl Forwarder {
    /// An empty cache.
    pub fn new(options: CacheOptions) -> Forwarder {
        Forwarder { cache: Cache::new(options) }
    }

    /// The reply from the cache, or the question to ask first.
    ///
    /// # Errors
    /// The question, if the answer is not kept. Bytes that are no query have neither: `Ok(None)`.
    pub fn reply(
        &self,
        now: Time,
        query: &[u8],
        transport: Transport,
        random: &mut dyn Rng,
    ) -> Result<Option<Vec<u8>>, Query> {
        let Ok(request) = Message::from_vec(query) else { return Ok(None) };
        let [question] = request.queries.as_slice() else { return Ok(None) };
        let (name, kind) = (question.name().clone(), question.query_type());
        match self.cache.get(now, &name, kind) {
            None => Err(Query { name, kind, message: query.to_vec() }),
            Some(kept) => Ok(message::reply(query, transport, Some(random), |_| kept)),
        }
    }

    /// Keeps what the server behind replied (`None`: it did not) and makes the client's reply of it.
    pub fn replied(
        &mut self,
        now: Time,
        query: &Query,
        reply: Option<&[u8]>,
        transport: Transport,
        random: &mut dyn Rng,
    ) -> Option<Vec<u8>> {
        let answer = match reply.and_then(|bytes| Message::from_vec(bytes).ok()) {
            Some(reply) => answer_of(reply),
            None => Answer::new(ResponseCode::ServFail, Reason::NotServed),
        };
        let answer = self.cache.put(now, &query.name, query.kind, answer);
        message::reply(&query.message, transport, Some(random), |_| answer)
    }

    /// Whether the answer to a question is kept, and may be older than the cluster's state.
    pub fn has_kept(&self, now: Time, name: &Name, kind: RecordType) -> bool {
        self.cache.get(now, name, kind).is_some()
    }
}

fn answer_of(reply: Message) -> Answer {
    Answer {
        authoritative: reply.metadata.authoritative,
        recursion_available: reply.metadata.recursion_available,
        truncated: reply.metadata.truncation,
        answers: reply.answers,
        authorities: reply.authorities,
        additionals: reply.additionals,
        // A forwarder knows what was answered, not why.
        ..Answer::new(reply.metadata.response_code, Reason::Outside)
    }
}
