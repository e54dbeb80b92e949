//! From a DNS message to its reply: header, question, EDNS, truncation and the order of addresses.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Record, RecordType};
use rand::Rng;
use rand::seq::SliceRandom;

use super::answer::Answer;

/// How the query came, which bounds the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A datagram: 512 bytes, or what the client's EDNS record allows; a longer reply is cut and marked.
    Udp,
    /// A stream: up to 65535 bytes.
    Tcp,
}

/// Largest reply to a datagram without EDNS, in bytes (RFC 1035 4.2.1).
const UDP_BYTES: u16 = 512;

/// Replies to a query with what `answer` says of its question. Addresses are put in random order if `shuffle` is given
/// (CoreDNS's `loadbalance`). Returns `None` for bytes that are not a query, which get no reply.
pub(super) fn reply(
    query: &[u8],
    transport: Transport,
    shuffle: Option<&mut dyn Rng>,
    answer: impl FnOnce(&Query) -> Answer,
) -> Option<Vec<u8>> {
    let request = match Message::from_vec(query) {
        Ok(request) => request,
        Err(_) => return malformed(query),
    };
    if request.metadata.message_type != MessageType::Query {
        return None;
    }
    let mut reply = Message::response(request.metadata.id, request.metadata.op_code);
    reply.metadata.recursion_desired = request.metadata.recursion_desired;
    reply.add_queries(request.queries.iter().cloned());
    match request.queries.as_slice() {
        _ if request.metadata.op_code != OpCode::Query => reply.metadata.response_code = ResponseCode::NotImp,
        [question] if question.query_class() == DNSClass::IN => fill(&mut reply, answer(question)),
        [_] => reply.metadata.response_code = ResponseCode::Refused,
        _ => reply.metadata.response_code = ResponseCode::FormErr,
    }
    if let Some(random) = shuffle {
        shuffle_addresses(&mut reply.answers, random);
    }
    let mut bytes_max = u16::MAX;
    if let Some(edns) = &request.edns {
        let mut own = Edns::new();
        own.set_max_payload(edns.max_payload().max(UDP_BYTES));
        reply.set_edns(own);
    }
    if transport == Transport::Udp {
        bytes_max = request.edns.as_ref().map_or(UDP_BYTES, |edns| edns.max_payload().max(UDP_BYTES));
    }
    fit(reply, usize::from(bytes_max))
}

fn fill(reply: &mut Message, answer: Answer) {
    reply.metadata.response_code = answer.code;
    reply.metadata.authoritative = answer.authoritative;
    reply.metadata.recursion_available = answer.recursion_available;
    reply.metadata.truncation = answer.truncated;
    reply.answers = answer.answers;
    reply.authorities = answer.authorities;
    reply.additionals = answer.additionals;
}

/// A header alone, if there is at least a query's header to reply to.
fn malformed(query: &[u8]) -> Option<Vec<u8>> {
    let (id, flags) = (query.get(..2)?, query.get(2)?);
    if query.len() < 12 || flags & 0x80 != 0 {
        return None;
    }
    let id = u16::from_be_bytes([id[0], id[1]]);
    Message::error_msg(id, OpCode::Query, ResponseCode::FormErr).to_vec().ok()
}

/// Addresses change places among themselves; an alias stays before what it points to.
fn shuffle_addresses(records: &mut [Record], random: &mut dyn Rng) {
    let is_address = |record: &Record| matches!(record.record_type(), RecordType::A | RecordType::AAAA);
    let places: Vec<usize> = (0..records.len()).filter(|&index| is_address(&records[index])).collect();
    let mut addresses: Vec<Record> = places.iter().map(|&index| records[index].clone()).collect();
    addresses.shuffle(random);
    for (place, address) in places.into_iter().zip(addresses) {
        records[place] = address;
    }
}

/// Encodes the reply, with as many records as fit; what is cut is marked by the TC bit.
fn fit(reply: Message, bytes_max: usize) -> Option<Vec<u8>> {
    match reply.to_vec() {
        Ok(whole) if whole.len() <= bytes_max => return Some(whole),
        // Longer than the transport takes, or than any message can be.
        _ => {}
    }
    let count = reply.answers.len() + reply.authorities.len() + reply.additionals.len();
    let (mut fits, mut too_many) = (0, count);
    let mut best = cut(&reply, 0).to_vec().ok()?;
    while too_many - fits > 1 {
        let middle = fits + (too_many - fits) / 2;
        match cut(&reply, middle).to_vec() {
            Ok(bytes) if bytes.len() <= bytes_max => (fits, best) = (middle, bytes),
            _ => too_many = middle,
        }
    }
    Some(best)
}

fn cut(reply: &Message, records: usize) -> Message {
    let mut part = reply.clone();
    part.metadata.truncation = true;
    part.answers.truncate(records);
    let left = records.saturating_sub(part.answers.len());
    part.authorities.truncate(left);
    let left = left.saturating_sub(part.authorities.len());
    part.additionals.truncate(left);
    part
}
