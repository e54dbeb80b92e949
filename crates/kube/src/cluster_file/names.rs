//! Names outside of the cluster and what they stand for.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};

use crate::admission::is_dns_subdomain;

/// A DNS name, or a wildcard `*.DOMAIN` for the names below a domain. Lower case, without a final dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamePattern(String);

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for NamePattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<NamePattern, D::Error> {
        let text = String::deserialize(deserializer)?;
        let name = canonical(&text);
        if !is_dns_subdomain(name.strip_prefix("*.").unwrap_or(&name)) {
            let expected = "expected a DNS name such as broker-0.example.com, or *.example.com";
            return Err(D::Error::custom(format!("{expected}, got {text:?}")));
        }
        Ok(NamePattern(name))
    }
}

/// What a name outside stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutsideTarget {
    /// An address.
    Address(IpAddr),
    /// The address of a node, written `node/NAME`.
    Node(String),
    /// The outside addresses of a Service, that is those of its load balancer, written
    /// `service/NAMESPACE/NAME`.
    Service(ServiceRef),
}

/// The namespace and name of a Service, written `NAMESPACE/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceRef {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl fmt::Display for ServiceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl ServiceRef {
    fn parse(text: &str) -> Option<ServiceRef> {
        let (namespace, name) = text.split_once('/')?;
        let is_sound = !namespace.is_empty() && !name.is_empty() && !name.contains('/');
        is_sound.then(|| ServiceRef { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

impl<'de> Deserialize<'de> for ServiceRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ServiceRef, D::Error> {
        let text = String::deserialize(deserializer)?;
        ServiceRef::parse(&text)
            .ok_or_else(|| D::Error::custom(format!("expected a Service as NAMESPACE/NAME, got {text:?}")))
    }
}

/// The targets of one name, written as one text or as a list of them. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets(pub Vec<OutsideTarget>);

impl<'de> Deserialize<'de> for OutsideTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OutsideTarget, D::Error> {
        let text = String::deserialize(deserializer)?;
        OutsideTarget::parse(&text).ok_or_else(|| D::Error::custom(not_a_target(&text)))
    }
}

impl OutsideTarget {
    fn parse(text: &str) -> Option<OutsideTarget> {
        if let Some(node) = text.strip_prefix("node/") {
            return is_dns_subdomain(node).then(|| OutsideTarget::Node(node.to_owned()));
        }
        if let Some(service) = text.strip_prefix("service/") {
            return ServiceRef::parse(service).map(OutsideTarget::Service);
        }
        text.parse().ok().map(OutsideTarget::Address)
    }
}

fn not_a_target(text: &str) -> String {
    format!("expected an address, node/NAME or service/NAMESPACE/NAME, got {text:?}")
}

impl<'de> Deserialize<'de> for Targets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Targets, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Targets;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address, node/NAME or service/NAMESPACE/NAME, or a list of them")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Targets, E> {
                let target = OutsideTarget::parse(text).ok_or_else(|| E::custom(not_a_target(text)))?;
                Ok(Targets(vec![target]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Targets, A::Error> {
                let mut targets = Vec::new();
                while let Some(target) = elements.next_element()? {
                    targets.push(target);
                }
                if targets.is_empty() {
                    return Err(A::Error::custom("expected at least one target, got an empty list"));
                }
                Ok(Targets(targets))
            }
        }

        deserializer.deserialize_any(OneOrMany)
    }
}

/// The targets of `name`: its own entry, or else that of the longest wildcard above it (RFC 4592).
pub fn resolve<'n>(names: &'n BTreeMap<NamePattern, Targets>, name: &str) -> Option<&'n [OutsideTarget]> {
    let name = canonical(name);
    if let Some(targets) = names.get(&NamePattern(name.clone())) {
        return Some(&targets.0);
    }
    let mut rest = name.as_str();
    while let Some((_, above)) = rest.split_once('.') {
        if let Some(targets) = names.get(&NamePattern(format!("*.{above}"))) {
            return Some(&targets.0);
        }
        rest = above;
    }
    None
}

fn canonical(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}
