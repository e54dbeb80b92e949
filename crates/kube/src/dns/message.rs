//! From a DNS message to its reply.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use rand::Rng;
use rand::seq::SliceRandom;

use super::question;
use super::records::{self, Found, Host};
use super::zone::{Options, Zone};

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
/// Aliases followed inside the cluster for one query.
const ALIASES_MAX: usize = 8;
/// Time to live of names outside the cluster, in seconds (kubeadm's `cache 30`).
const UPSTREAM_TTL_S: u32 = 30;
/// Time to live of the version record, in seconds (CoreDNS, plugin/kubernetes).
const VERSION_TTL_S: u32 = 28800;

/// Answers a query. Addresses are put in random order if `shuffle` is given (CoreDNS's `loadbalance`).
///
/// Returns `None` for bytes that are not a query, which get no reply.
pub fn answer(
    zone: &Zone,
    query: &[u8],
    transport: Transport,
    shuffle: Option<&mut dyn Rng>,
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
        [question] if question.query_class() == DNSClass::IN => {
            Reply { zone, message: &mut reply }.resolve(question.name(), question.query_type());
        }
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

struct Reply<'a> {
    zone: &'a Zone,
    message: &'a mut Message,
}

impl Reply<'_> {
    fn resolve(&mut self, name: &Name, kind: RecordType) {
        let options = &self.zone.options;
        if let Some(domain) = domain_of(name, &options.domain) {
            self.message.metadata.authoritative = true;
            return self.inside(name, &domain, kind);
        }
        if let Some(domain) = options.reverse_zones.iter().find_map(|zone| domain_of(name, zone)) {
            let names = records::reverse_address(&name.to_ascii()).map(|ip| records::names_of(self.zone, ip));
            let found = names.is_some_and(|names| !names.is_empty());
            if found || !options.reverse_fallthrough {
                self.message.metadata.authoritative = true;
                return self.reverse(name, &domain, kind);
            }
        }
        self.outside(name, kind);
    }

    fn reverse(&mut self, name: &Name, domain: &Name, kind: RecordType) {
        let names = records::reverse_address(&name.to_ascii()).map(|ip| records::names_of(self.zone, ip));
        match names {
            _ if name.num_labels() == domain.num_labels() => self.apex(name, domain, kind),
            None => self.negative(domain, ResponseCode::NXDomain),
            Some(names) if names.is_empty() => self.negative(domain, ResponseCode::NXDomain),
            Some(_) if kind != RecordType::PTR => self.negative(domain, ResponseCode::NoError),
            Some(names) => {
                for target in names {
                    let target = format!("{target}.{}", self.zone.options.domain);
                    if let Ok(target) = Name::from_ascii(&target) {
                        self.add(name, RData::PTR(PTR(target)));
                    }
                }
            }
        }
    }

    /// A name in the cluster's domain.
    fn inside(&mut self, name: &Name, domain: &Name, kind: RecordType) {
        let count = name.iter().count() - domain.iter().count();
        let labels: Vec<String> = name
            .iter()
            .take(count)
            .map(|label| String::from_utf8_lossy(label).to_ascii_lowercase())
            .collect();
        match labels.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [] => return self.apex(name, domain, kind),
            ["dns-version"] => {
                if kind == RecordType::TXT {
                    let text = RData::TXT(TXT::new(vec!["1.1.0".to_owned()]));
                    self.message.add_answer(Record::from_rdata(name.clone(), VERSION_TTL_S, text));
                    return;
                }
                return self.negative(domain, ResponseCode::NoError);
            }
            ["ns", "dns"] if !self.zone.options.server_ips.is_empty() => {
                return self.server(name, domain, kind);
            }
            _ => {}
        }
        let options = &self.zone.options;
        let question = question::parse(&labels, options.multicluster.is_some(), options.zonal);
        let found = question.and_then(|question| records::find(self.zone, &question));
        match found {
            None if options.synced => self.negative(domain, ResponseCode::NXDomain),
            None => self.negative(domain, ResponseCode::ServFail),
            Some(found) => {
                self.positive(name, domain, kind, &found);
                if self.message.answers.is_empty() {
                    self.negative(domain, ResponseCode::NoError);
                }
            }
        }
    }

    fn apex(&mut self, name: &Name, domain: &Name, kind: RecordType) {
        match kind {
            RecordType::SOA => {
                if let Some(soa) = start_of_authority(domain, &self.zone.options) {
                    self.message.add_answer(soa);
                }
            }
            RecordType::NS => self.name_servers(name, domain),
            _ => self.negative(domain, ResponseCode::NoError),
        }
    }

    /// The DNS Service's own names; `ns.dns` when it is not known (CoreDNS, plugin/kubernetes/ns.go).
    fn name_servers(&mut self, name: &Name, domain: &Name) {
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
            let Some(target) = with_domain(&target, domain) else { continue };
            self.add(name, RData::NS(NS(target.clone())));
            self.add_additional(&target, address(ip));
        }
        if self.message.answers.is_empty() {
            self.negative(domain, ResponseCode::NoError);
        }
    }

    fn server(&mut self, name: &Name, domain: &Name, kind: RecordType) {
        let zone = self.zone;
        for ip in zone.options.server_ips.iter().filter(|ip| address_type(**ip) == kind) {
            self.add(name, address(*ip));
        }
        if self.message.answers.is_empty() {
            self.negative(domain, ResponseCode::NoError);
        }
    }

    fn positive(&mut self, name: &Name, domain: &Name, kind: RecordType, found: &[Found]) {
        match kind {
            RecordType::A | RecordType::AAAA | RecordType::CNAME => {
                for found in found {
                    match &found.host {
                        Host::Address(ip) if address_type(*ip) == kind => self.add(name, address(*ip)),
                        Host::Address(_) => {}
                        Host::Alias(target) => self.alias(name, target, kind),
                    }
                }
            }
            RecordType::SRV => self.services(name, domain, found),
            _ => {}
        }
    }

    /// An alias and, unless it is asked for itself, what it points to.
    fn alias(&mut self, name: &Name, target: &str, kind: RecordType) {
        let Ok(mut target) = Name::from_ascii(target) else { return };
        target.set_fqdn(true);
        let record =
            Record::from_rdata(name.clone(), self.zone.options.ttl_s, RData::CNAME(CNAME(target.clone())));
        if self.message.answers.contains(&record) {
            // An alias that leads back to itself.
            return;
        }
        self.message.add_answer(record);
        let aliases = self.message.answers.iter().filter(|r| r.record_type() == RecordType::CNAME).count();
        if kind == RecordType::CNAME || aliases > ALIASES_MAX {
            return;
        }
        let inner = match domain_of(&target, &self.zone.options.domain) {
            Some(_) => {
                let mut inner = Message::response(0, OpCode::Query);
                inner.answers.clone_from(&self.message.answers);
                Reply { zone: self.zone, message: &mut inner }.resolve(&target, kind);
                inner
            }
            None => {
                let mut inner = Message::response(0, OpCode::Query);
                Reply { zone: self.zone, message: &mut inner }.outside(&target, kind);
                inner.answers.splice(0..0, self.message.answers.iter().cloned());
                inner
            }
        };
        self.message.answers = inner.answers;
        self.message.metadata.truncation |= inner.metadata.truncation;
    }

    /// SRV records: priority 0, weight 100 shared out, counting also those that turn out equal.
    fn services(&mut self, name: &Name, domain: &Name, found: &[Found]) {
        let with_port = found.iter().filter(|found| found.port.is_some()).count();
        let weight = u16::try_from(100 / with_port.max(1)).unwrap_or(1).max(1);
        for found in found {
            let Some(port) = found.port else { continue };
            let target = match &found.host {
                Host::Address(_) => with_domain(&found.target, domain),
                Host::Alias(target) => Name::from_ascii(target).ok().map(|mut target| {
                    target.set_fqdn(true);
                    target
                }),
            };
            let Some(target) = target else { continue };
            self.add(name, RData::SRV(SRV::new(0, weight, port, target.clone())));
            match &found.host {
                Host::Address(ip) => self.add_additional(&target, address(*ip)),
                Host::Alias(alias) => {
                    let addresses = self.zone.upstream.get(alias).map(|entry| entry.addresses.as_slice());
                    for ip in addresses.unwrap_or_default() {
                        self.add_additional(&target, address(*ip));
                    }
                }
            }
        }
    }

    /// A name that the cluster does not serve.
    fn outside(&mut self, name: &Name, kind: RecordType) {
        self.message.metadata.recursion_available = true;
        match self.zone.upstream.get(&name.to_ascii()) {
            None => self.message.metadata.response_code = ResponseCode::NXDomain,
            Some(entry) => {
                self.message.metadata.truncation |= entry.truncated;
                // Inside the cluster's alias all records carry the plugin's time to live.
                let ttl =
                    if self.message.metadata.id == 0 { self.zone.options.ttl_s } else { UPSTREAM_TTL_S };
                for ip in entry.addresses.iter().filter(|ip| address_type(**ip) == kind) {
                    self.message.add_answer(Record::from_rdata(name.clone(), ttl, address(*ip)));
                }
            }
        }
    }

    fn negative(&mut self, domain: &Name, code: ResponseCode) {
        self.message.metadata.response_code = code;
        if let Some(soa) = start_of_authority(domain, &self.zone.options) {
            self.message.add_authority(soa);
        }
    }

    /// Adds an answer unless it is there already.
    fn add(&mut self, name: &Name, data: RData) {
        let record = Record::from_rdata(name.clone(), self.zone.options.ttl_s, data);
        if !self.message.answers.contains(&record) {
            self.message.add_answer(record);
        }
    }

    fn add_additional(&mut self, name: &Name, data: RData) {
        let record = Record::from_rdata(name.clone(), self.zone.options.ttl_s, data);
        if !self.message.additionals.contains(&record) {
            self.message.add_additional(record);
        }
    }
}

fn address(ip: IpAddr) -> RData {
    match ip {
        IpAddr::V4(ip) => RData::A(ip.into()),
        IpAddr::V6(ip) => RData::AAAA(ip.into()),
    }
}

fn address_type(ip: IpAddr) -> RecordType {
    if ip.is_ipv4() { RecordType::A } else { RecordType::AAAA }
}

/// The part of `name` that is the domain, in the case it was asked in.
fn domain_of(name: &Name, domain: &str) -> Option<Name> {
    let mut domain = Name::from_ascii(domain).ok()?;
    domain.set_fqdn(true);
    domain.zone_of(name).then(|| name.trim_to(domain.iter().count()))
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
