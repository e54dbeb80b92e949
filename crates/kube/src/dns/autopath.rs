//! CoreDNS's `autopath @kubernetes`: the server walks the pod's search list, so that the first query is answered.
//!
//! It knows the pod by its address, so it needs `pods verified`. The answer is an alias from the name that was asked to
//! the name that was found. Source: CoreDNS, plugin/autopath and plugin/kubernetes/autopath.go.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name, RData, Record};
use std::net::IpAddr;

use super::Zone;
use super::answer::{Answer, absolute, domain_of};

/// The names that a query for `name` by the pod at `client` stands for, the name itself first; `None` if it is not the
/// first of a search list.
pub(super) fn candidates(zone: &Zone, client: IpAddr, name: &Name) -> Option<Vec<Name>> {
    let namespace = zone.namespace_of_pod(client)?;
    let domain = zone.options.domain.trim_end_matches('.');
    let search =
        [format!("{namespace}.svc.{domain}."), format!("svc.{domain}."), format!("{domain}."), ".".into()];
    let first = domain_of(name, &search[0])?;
    let count = name.iter().count().checked_sub(first.iter().count()).filter(|count| *count > 0)?;
    let base = Name::from_labels(name.iter().take(count)).ok()?;
    let later = search[1..].iter().filter_map(|domain| base.clone().append_domain(&absolute(domain)?).ok());
    Some(std::iter::once(name.clone()).chain(later).collect())
}

/// Puts an alias from the name asked to the first other name in the answer.
pub(super) fn alias(answer: &mut Answer, asked: &Name) {
    let found = answer.answers.iter().find(|record| record.name != *asked);
    if let Some((target, ttl_s)) = found.map(|record| (record.name.clone(), record.ttl)) {
        let alias = Record::from_rdata(asked.clone(), ttl_s, RData::CNAME(CNAME(target)));
        answer.answers.insert(0, alias);
    }
}

/// Whether the search goes on after this answer.
pub(super) fn goes_on(answer: &Answer) -> bool {
    answer.code != ResponseCode::NoError
}
