//! Networks and quantities as the cluster file writes them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// A network that may be absent. The address must be the network's own, so that 10.0.0.10/24 is an error.
pub fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IpNet>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let network: IpNet = text
        .parse()
        .map_err(|_| D::Error::custom(format!("expected a network such as 10.244.0.0/16, got {text:?}")))?;
    if network.trunc() != network {
        let whole = network.trunc();
        return Err(D::Error::custom(format!(
            "expected the address of a network, got {text}, which is inside of {whole}"
        )));
    }
    Ok(Some(network))
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
