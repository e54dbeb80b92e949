//! CoreDNS's `kubernetes` plugin: names of the cluster, forwards and in reverse (kubernetes.md 5.1 and 5.2).

use std::net::IpAddr;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::answer::{Answer, absolute, address, address_type, domain_of, is_within};
use super::forward;
use super::question;
use super::records::{self, Found, Host};
use super::zone::{Options, Zone};
use super::{Reason, Upstream};

/// Aliases followed inside the cluster for one query.
const ALIASES_MAX: usize = 8;
/// Time to live of the version record, in seconds (CoreDNS, plugin/kubernetes).
const VERSION_TTL_S: u32 = 28800;

/// Answers for a name of the plugin's zones; `None` leaves it to the next plugin.
pub(super) fn answer(zone: &Zone, name: &Name, kind: RecordType) -> Option<Answer> {
    answer_after(zone, name, kind, 0)
}

fn answer_after(zone: &Zone, name: &Name, kind: RecordType, aliases: usize) -> Option<Answer> {
    let options = &zone.options;
    let plugin = |domain: Name| Plugin { zone, domain, aliases };
    let answer = if let Some(domain) = domain_of(name, &options.domain) {
        plugin(domain).inside(name, kind)
    } else {
        let domain = options.reverse_zones.iter().find_map(|zone| domain_of(name, zone))?;
        plugin(domain).reverse(name, kind)
    };
    let missing = matches!(answer.code, ResponseCode::NXDomain | ResponseCode::ServFail);
    if missing && is_within(name, &options.fallthrough) {
        return None;
    }
    Some(Answer { authoritative: true, ..answer })
}

struct Plugin<'a> {
    zone: &'a Zone,
    /// The zone's name, in the case it was asked in.
    domain: Name,
    /// Aliases followed so far.
    aliases: usize,
}

impl Plugin<'_> {
    fn ttl_s(&self) -> u32 {
        self.zone.options.ttl_s
    }

    fn found(&self, reason: Reason) -> Answer {
        Answer::new(ResponseCode::NoError, reason)
    }

    fn negative(&self, code: ResponseCode, reason: Reason) -> Answer {
        let mut answer = Answer::new(code, reason);
        answer.authorities.extend(start_of_authority(&self.domain, &self.zone.options));
        answer
    }

    fn reverse(&self, name: &Name, kind: RecordType) -> Answer {
        if name.num_labels() == self.domain.num_labels() {
            return self.apex(name, kind);
        }
        let names = records::reverse_address(&name.to_ascii()).map(|ip| records::names_of(self.zone, ip));
        let names = names.unwrap_or_default();
        if names.is_empty() {
            return self.negative(ResponseCode::NXDomain, Reason::NoReverse);
        }
        if kind != RecordType::PTR {
            let reason = Reason::OtherTypes { asked: kind, present: vec![RecordType::PTR] };
            return self.negative(ResponseCode::NoError, reason);
        }
        let mut answer = self.found(Reason::Reverse);
        for target in names {
            if let Ok(target) = Name::from_ascii(format!("{target}.{}", self.zone.options.domain)) {
                answer.add(name, self.ttl_s(), RData::PTR(PTR(target)));
            }
        }
        answer
    }

    /// A name in the cluster's domain.
    fn inside(&self, name: &Name, kind: RecordType) -> Answer {
        let count = name.iter().count() - self.domain.iter().count();
        let labels: Vec<String> = name
            .iter()
            .take(count)
            .map(|label| String::from_utf8_lossy(label).to_ascii_lowercase())
            .collect();
        match labels.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [] => return self.apex(name, kind),
            ["dns-version"] => return self.version(name, kind),
            ["ns", "dns"] if !self.zone.options.server_ips.is_empty() => return self.server(name, kind),
            _ => {}
        }
        let options = &self.zone.options;
        let question = question::parse(&labels, options.multicluster.is_some(), options.zonal);
        match question.and_then(|question| records::find(self.zone, &question)) {
            Err(reason) if options.synced => self.negative(ResponseCode::NXDomain, reason),
            Err(_) => self.negative(ResponseCode::ServFail, Reason::NotSynced),
            Ok((found, reason)) => {
                let missing = missing(&found, kind, &reason);
                let answer = self.positive(name, kind, &found, reason);
                if !answer.answers.is_empty() {
                    return answer;
                }
                self.negative(ResponseCode::NoError, missing)
            }
        }
    }

    fn version(&self, name: &Name, kind: RecordType) -> Answer {
        if kind != RecordType::TXT {
            let reason = Reason::OtherTypes { asked: kind, present: vec![RecordType::TXT] };
            return self.negative(ResponseCode::NoError, reason);
        }
        let mut answer = self.found(Reason::OwnRecord);
        answer.add(name, VERSION_TTL_S, RData::TXT(TXT::new(vec!["1.1.0".to_owned()])));
        answer
    }

    fn apex(&self, name: &Name, kind: RecordType) -> Answer {
        let mut answer = self.found(Reason::OwnRecord);
        match kind {
            RecordType::SOA => answer.answers.extend(start_of_authority(&self.domain, &self.zone.options)),
            RecordType::NS => self.name_servers(name, &mut answer),
            _ => {}
        }
        if answer.answers.is_empty() {
            return self.negative(ResponseCode::NoError, Reason::EmptyNonTerminal);
        }
        answer
    }

    /// The DNS Service's own names; `ns.dns` when it is not known (CoreDNS, plugin/kubernetes/ns.go).
    fn name_servers(&self, name: &Name, answer: &mut Answer) {
        let zone = self.zone;
        let (namespace, service) = &zone.options.dns_service;
        let mut servers: Vec<(String, IpAddr)> = Vec::new();
        for ip in &zone.options.server_ips {
            servers.extend(records::names_of(zone, *ip).into_iter().map(|target| (target, *ip)));
        }
        if let (Some(service), true) = (zone.service(namespace, service), servers.is_empty()) {
            let target = format!("{}.{}.svc", service.name, service.namespace);
            servers.extend(service.cluster_ips().iter().map(|ip| (target.clone(), *ip)));
        }
        if servers.is_empty() {
            servers = zone.options.server_ips.iter().map(|ip| ("ns.dns".to_owned(), *ip)).collect();
        }
        for (target, ip) in servers {
            let Some(target) = with_domain(&target, &self.domain) else { continue };
            answer.add(name, self.ttl_s(), RData::NS(NS(target.clone())));
            answer.add_additional(&target, self.ttl_s(), address(ip));
        }
    }

    fn server(&self, name: &Name, kind: RecordType) -> Answer {
        let mut answer = self.found(Reason::OwnRecord);
        let ips = &self.zone.options.server_ips;
        for ip in ips.iter().filter(|ip| address_type(**ip) == kind) {
            answer.add(name, self.ttl_s(), address(*ip));
        }
        if answer.answers.is_empty() {
            let reason = Reason::OtherTypes { asked: kind, present: types(ips.iter().copied()) };
            return self.negative(ResponseCode::NoError, reason);
        }
        answer
    }

    fn positive(&self, name: &Name, kind: RecordType, found: &[Found], reason: Reason) -> Answer {
        let mut answer = self.found(reason);
        match kind {
            RecordType::A | RecordType::AAAA | RecordType::CNAME => {
                for found in found {
                    match &found.host {
                        Host::Address(ip) if address_type(*ip) == kind => {
                            answer.add(name, self.ttl_s(), address(*ip));
                        }
                        Host::Address(_) => {}
                        Host::Alias(target) => self.alias(name, target, kind, &mut answer),
                    }
                }
            }
            RecordType::SRV => self.services(name, found, &mut answer),
            _ => {}
        }
        answer
    }

    /// An alias and, unless it is asked for itself, what it points to: in the zone, or through the upstream.
    fn alias(&self, name: &Name, target: &str, kind: RecordType, answer: &mut Answer) {
        let Some(target) = absolute(target) else { return };
        answer.add(name, self.ttl_s(), RData::CNAME(CNAME(target.clone())));
        if kind == RecordType::CNAME || self.aliases >= ALIASES_MAX || target == *name {
            return;
        }
        let completed = answer_after(self.zone, &target, kind, self.aliases + 1)
            .unwrap_or_else(|| forward::answer(&self.zone.upstream.borrow(), &target, kind));
        for record in completed.answers {
            if !answer.answers.contains(&record) {
                answer.answers.push(record);
            }
        }
        answer.truncated |= completed.truncated;
    }

    /// SRV records: priority 0, weight 100 shared out, counting also those that turn out equal.
    fn services(&self, name: &Name, found: &[Found], answer: &mut Answer) {
        let with_port = found.iter().filter(|found| found.port.is_some()).count();
        let weight = u16::try_from(100 / with_port.max(1)).unwrap_or(1).max(1);
        for found in found {
            let Some(port) = found.port else { continue };
            let target = match &found.host {
                Host::Address(_) => with_domain(&found.target, &self.domain),
                Host::Alias(target) => absolute(target),
            };
            let Some(target) = target else { continue };
            answer.add(name, self.ttl_s(), RData::SRV(SRV::new(0, weight, port, target.clone())));
            match &found.host {
                Host::Address(ip) => answer.add_additional(&target, self.ttl_s(), address(*ip)),
                Host::Alias(alias) => {
                    for (ip, ttl_s) in addresses_outside(&self.zone.upstream.borrow(), alias) {
                        answer.add_additional(&target, ttl_s, address(ip));
                    }
                }
            }
        }
    }
}

fn addresses_outside(upstream: &Upstream, name: &str) -> Vec<(IpAddr, u32)> {
    let entry = upstream.get(name);
    entry.into_iter().flat_map(|entry| entry.addresses.iter().map(|ip| (*ip, entry.ttl_s))).collect()
}

/// Why a name that exists has no record of the type asked.
fn missing(found: &[Found], asked: RecordType, reason: &Reason) -> Reason {
    let service = match reason {
        Reason::ReadyEndpoints { service, .. } | Reason::Endpoint { service, .. } => Some(service),
        Reason::EmptyNonTerminal => return Reason::EmptyNonTerminal,
        _ => None,
    };
    if let (RecordType::SRV, Some(service)) = (asked, service) {
        return Reason::NoPorts { service: service.clone() };
    }
    let mut present = types(found.iter().filter_map(|found| match &found.host {
        Host::Address(ip) => Some(*ip),
        Host::Alias(_) => None,
    }));
    if found.iter().any(|found| matches!(found.host, Host::Alias(_))) {
        present.push(RecordType::CNAME);
    }
    if found.iter().any(|found| found.port.is_some()) {
        present.push(RecordType::SRV);
    }
    Reason::OtherTypes { asked, present }
}

fn types(ips: impl Iterator<Item = IpAddr>) -> Vec<RecordType> {
    let mut types: Vec<RecordType> = ips.map(address_type).collect();
    types.sort_unstable();
    types.dedup();
    types
}

fn with_domain(name: &str, domain: &Name) -> Option<Name> {
    Name::from_labels(name.split('.').map(str::as_bytes)).ok()?.append_domain(domain).ok()
}

fn start_of_authority(domain: &Name, options: &Options) -> Option<Record> {
    let server = with_domain("ns.dns", domain)?;
    let mailbox = with_domain("hostmaster", domain)?;
    let soa = SOA::new(server, mailbox, options.serial, 7200, 1800, 86400, options.ttl_s);
    Some(Record::from_rdata(domain.clone(), options.ttl_s, RData::SOA(soa)))
}
