//! What a plugin answers, before it is a message.

use std::net::IpAddr;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::Reason;

/// The parts of a reply, and why it is so.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub code: ResponseCode,
    pub authoritative: bool,
    pub recursion_available: bool,
    pub truncated: bool,
    pub answers: Vec<Record>,
    pub authorities: Vec<Record>,
    pub additionals: Vec<Record>,
    pub reason: Reason,
}

impl Answer {
    /// An answer without records.
    pub fn new(code: ResponseCode, reason: Reason) -> Answer {
        Answer {
            code,
            authoritative: false,
            recursion_available: false,
            truncated: false,
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
            reason,
        }
    }

    /// Adds an answer unless it is there already.
    pub fn add(&mut self, name: &Name, ttl_s: u32, data: RData) {
        let record = Record::from_rdata(name.clone(), ttl_s, data);
        if !self.answers.contains(&record) {
            self.answers.push(record);
        }
    }

    /// Adds a record to the additional section unless it is there already.
    pub fn add_additional(&mut self, name: &Name, ttl_s: u32, data: RData) {
        let record = Record::from_rdata(name.clone(), ttl_s, data);
        if !self.additionals.contains(&record) {
            self.additionals.push(record);
        }
    }

    /// The records of all sections.
    pub fn records_mut(&mut self) -> impl Iterator<Item = &mut Record> {
        self.answers.iter_mut().chain(&mut self.authorities).chain(&mut self.additionals)
    }
}

pub(super) fn address(ip: IpAddr) -> RData {
    match ip {
        IpAddr::V4(ip) => RData::A(ip.into()),
        IpAddr::V6(ip) => RData::AAAA(ip.into()),
    }
}

pub(super) fn address_type(ip: IpAddr) -> RecordType {
    if ip.is_ipv4() { RecordType::A } else { RecordType::AAAA }
}

/// The part of `name` that is the domain, in the case it was asked in.
pub(super) fn domain_of(name: &Name, domain: &str) -> Option<Name> {
    let mut domain = Name::from_ascii(domain).ok()?;
    domain.set_fqdn(true);
    domain.zone_of(name).then(|| name.trim_to(domain.iter().count()))
}

/// Whether `name` lies in one of `zones`; `.` is every name.
pub(super) fn is_within(name: &Name, zones: &[String]) -> bool {
    zones.iter().any(|zone| domain_of(name, zone).is_some())
}

/// A name with its final dot.
pub(super) fn absolute(text: &str) -> Option<Name> {
    let mut name = Name::from_ascii(text).ok()?;
    name.set_fqdn(true);
    Some(name)
}
