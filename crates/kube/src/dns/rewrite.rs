//! CoreDNS's `rewrite` and `hosts` plugins, as far as they change what a name resolves to.
//!
//! Source: CoreDNS, plugin/rewrite/README.md and plugin/hosts/README.md. Of `rewrite` only names are rewritten.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use regex::Regex;

use super::Reason;
use super::answer::{Answer, absolute, address, address_type, is_within};

/// A rule of `rewrite name`.
#[derive(Clone, Debug)]
pub struct Rewrite {
    /// Which names.
    pub from: Pattern,
    /// What takes the place of what was matched.
    pub to: String,
    /// Whether the answer bears the name that was asked for: always for whole names, else with `answer auto`.
    pub answer_as_asked: bool,
    /// Whether further rules are looked at (`continue`).
    pub goes_on: bool,
}

/// Which names a rule is for. Names end in their dot, in lower case.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// This name.
    Exact(String),
    /// Names that begin so.
    Prefix(String),
    /// Names that end so.
    Suffix(String),
    /// Names that hold this.
    Substring(String),
    /// Names that match.
    Regex(Regex),
}

impl Rewrite {
    fn apply(&self, name: &str) -> Option<String> {
        match &self.from {
            Pattern::Exact(whole) => (name == whole).then(|| self.to.clone()),
            Pattern::Prefix(start) => {
                name.strip_prefix(start.as_str()).map(|rest| format!("{}{rest}", self.to))
            }
            Pattern::Suffix(end) => name.strip_suffix(end.as_str()).map(|rest| format!("{rest}{}", self.to)),
            Pattern::Substring(part) => {
                name.contains(part.as_str()).then(|| name.replace(part.as_str(), &self.to))
            }
            Pattern::Regex(regex) => {
                let groups = regex.captures(name)?;
                let mut to = self.to.clone();
                for (index, group) in groups.iter().enumerate() {
                    to = to.replace(&format!("{{{index}}}"), group.map_or("", |group| group.as_str()));
                }
                Some(to)
            }
        }
    }
}

/// The name that a query is really about, and whether the answer bears the name that was asked for.
pub(super) fn rewritten(rules: &[Rewrite], name: &Name) -> Option<(Name, bool)> {
    let mut text = name.to_ascii().to_ascii_lowercase();
    let (mut changed, mut as_asked) = (false, true);
    for rule in rules {
        let Some(next) = rule.apply(&text) else { continue };
        (text, changed, as_asked) = (next, true, as_asked && rule.answer_as_asked);
        if !rule.goes_on {
            break;
        }
    }
    Some((absolute(&text)?, as_asked)).filter(|_| changed)
}

/// The inline lines of `hosts`.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    /// Addresses by name in lower case with its final dot.
    pub names: BTreeMap<String, Vec<IpAddr>>,
    /// Time to live, in seconds.
    pub ttl_s: u32,
    /// Names that are not listed are asked of the next plugin, if they lie in these zones (`.` is every name).
    pub fallthrough: Vec<String>,
}

impl Hosts {
    /// Answers for any name; `None` leaves it to the next plugin.
    pub(super) fn answer(&self, name: &Name, kind: RecordType) -> Option<Answer> {
        let Some(ips) = self.names.get(&name.to_ascii().to_ascii_lowercase()) else {
            // Without a SOA record there is no NXDOMAIN (plugin/hosts/hosts.go).
            let failed = || Answer::new(ResponseCode::ServFail, Reason::NotServed);
            return (!is_within(name, &self.fallthrough)).then(failed);
        };
        let mut answer = Answer::new(ResponseCode::NoError, Reason::HostsPlugin);
        answer.authoritative = true;
        for ip in ips.iter().filter(|ip| address_type(**ip) == kind) {
            answer.add(name, self.ttl_s, address(*ip));
        }
        if answer.answers.is_empty() {
            let mut present: Vec<RecordType> = ips.iter().map(|ip| address_type(*ip)).collect();
            present.dedup();
            answer.reason = Reason::OtherTypes { asked: kind, present };
        }
        Some(answer)
    }
}
