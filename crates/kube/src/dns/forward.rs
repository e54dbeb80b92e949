//! CoreDNS's `forward` plugin: names that the cluster does not serve, as the internet's DNS has them.
//!
//! The way to the servers that it forwards to costs no time here, and they are always there. Left out: DNSSEC, types
//! other than A, AAAA and CNAME.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{CNAME, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::answer::{Answer, absolute, address, address_type};
use super::{Reason, Upstream};

/// Aliases followed for one query.
const ALIASES_MAX: usize = 8;
/// How long the internet's answer that a name does not exist may be kept, in seconds (RFC 2308 5: one to three hours are
/// sensible, zones of cloud providers mostly say 300).
const NEGATIVE_TTL_S: u32 = 300;

/// Answers for any name.
pub(super) fn answer(upstream: &Upstream, name: &Name, kind: RecordType) -> Answer {
    let mut answer = Answer::new(ResponseCode::NoError, Reason::Outside);
    answer.recursion_available = true;
    let mut owner = name.clone();
    for _ in 0..ALIASES_MAX {
        let Some(entry) = upstream.get(&owner.to_ascii()) else {
            if answer.answers.is_empty() {
                answer.reason = Reason::UnknownOutside;
            }
            answer.code = ResponseCode::NXDomain;
            break;
        };
        answer.truncated |= entry.truncated;
        if let Some(target) = entry.alias.as_deref().and_then(absolute) {
            answer.add(&owner, entry.ttl_s, RData::CNAME(CNAME(target.clone())));
            if kind == RecordType::CNAME {
                break;
            }
            owner = target;
            continue;
        }
        for ip in entry.addresses.iter().filter(|ip| address_type(**ip) == kind) {
            answer.add(&owner, entry.ttl_s, address(*ip));
        }
        if answer.answers.is_empty() {
            let mut present: Vec<RecordType> = entry.addresses.iter().map(|ip| address_type(*ip)).collect();
            present.dedup();
            answer.reason = Reason::OtherTypes { asked: kind, present };
        }
        break;
    }
    if answer.answers.is_empty() {
        answer.authorities.extend(start_of_authority(name));
    }
    answer
}

/// The zone above a name says how long its absence may be kept (RFC 2308 3).
fn start_of_authority(name: &Name) -> Option<Record> {
    let labels = name.iter().count().min(2);
    let zone = name.trim_to(labels);
    let server = Name::from_ascii("ns.").ok()?.append_domain(&zone).ok()?;
    let soa = SOA::new(server.clone(), server, 1, 7200, 900, 1_209_600, NEGATIVE_TTL_S);
    Some(Record::from_rdata(zone, NEGATIVE_TTL_S, RData::SOA(soa)))
}
