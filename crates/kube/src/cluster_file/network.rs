//! Networks and quantities as the cluster file writes them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// A network, or a list of one per family. The address must be the network's own, so that 10.0.0.10/24 is an error.
pub fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let written =
        deserializer.deserialize_any(OneOrMore("a network such as 10.244.0.0/16, or a list of them"))?;
    let networks = written.iter().map(|text| network(text)).collect::<Result<Vec<IpNet>, String>>();
    let networks = networks.map_err(D::Error::custom)?;
    one_per_family(networks.iter().map(IpNet::addr), "network").map_err(D::Error::custom)?;
    Ok(networks)
}

fn network(text: &str) -> Result<IpNet, String> {
    let network: IpNet =
        text.parse().map_err(|_| format!("expected a network such as 10.244.0.0/16, got {text:?}"))?;
    if network.trunc() != network {
        let whole = network.trunc();
        return Err(format!("expected the address of a network, got {text}, which is inside of {whole}"));
    }
    Ok(network)
}

/// An address, or a list of one per family.
pub fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpAddr>, D::Error> {
    let written = deserializer.deserialize_any(OneOrMore("an IP address, or a list of them"))?;
    let addresses: Vec<IpAddr> =
        written.iter().map(|text| text.parse()).collect::<Result<_, _>>().map_err(D::Error::custom)?;
    if addresses.is_empty() {
        return Err(D::Error::custom("expected at least one address, got an empty list"));
    }
    one_per_family(addresses.iter().copied(), "address").map_err(D::Error::custom)?;
    Ok(addresses)
}

fn one_per_family(addresses: impl Iterator<Item = IpAddr>, what: &str) -> Result<(), String> {
    let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = addresses.partition(IpAddr::is_ipv4);
    match [v4, v6].iter().find(|family| family.len() > 1) {
        Some(several) => {
            Err(format!("expected one {what} per address family, got {} and {}", several[0], several[1]))
        }
        None => Ok(()),
    }
}

/// Text, or a list of texts.
struct OneOrMore(&'static str);

impl<'de> serde::de::Visitor<'de> for OneOrMore {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<String>, E> {
        Ok(vec![text.to_owned()])
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Vec<String>, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = list.next_element()? {
            texts.push(text);
        }
        Ok(texts)
    }
}

/// A quantity that may be absent: text or a number.
pub fn optional_quantity<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(serde_json::Number),
        Text(String),
    }
    let expected = "expected a quantity such as 4, 500m or 16Gi";
    let written = Option::<Written>::deserialize(deserializer).map_err(|_| D::Error::custom(expected))?;
    let text = match written {
        None => return Ok(None),
        Some(Written::Number(number)) => number.to_string(),
        Some(Written::Text(text)) => text,
    };
    if text.starts_with('-') || !crate::manifest::is_quantity(&text) {
        return Err(D::Error::custom(format!("{expected}, got {text:?}")));
    }
    Ok(Some(text))
}

/// kubeadm's default for IPv4. The prefix lengths are within their range, so that `new_assert` holds.
pub fn default_service_network(is_ipv6: bool) -> IpNet {
    if is_ipv6 {
        IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 0), 112))
    } else {
        IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 12))
    }
}

/// The pod network that flannel and kind use for IPv4.
pub fn default_pod_network(is_ipv6: bool) -> IpNet {
    if is_ipv6 {
        IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, 0), 56))
    } else {
        IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 0, 0), 16))
    }
}

/// Whether two networks share an address.
pub fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

/// `IPv4` or `IPv6`.
pub fn family(address: &IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}
