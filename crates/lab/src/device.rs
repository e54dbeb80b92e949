//! What a device on the way of packets is, as its name tells (`kube::cluster::topology` names them).

/// What a device is, from outside to inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// A client on the internet, or a server there.
    Client,
    /// Where the internet meets the cluster's network.
    Edge,
    Balancer,
    /// A zone's switch.
    Switch,
    Node,
    Pod,
}

impl Role {
    /// What the device of that name is. A node's name is a DNS name, so that it cannot be taken for a pod's
    /// `namespace/name`.
    pub fn of(device: &str) -> Role {
        match device {
            "external" | "internet-dns" | "speakers" => Role::Client,
            "edge" => Role::Edge,
            device if device.starts_with("external=") => Role::Client,
            device if device.starts_with("load balancer ") => Role::Balancer,
            device if device.starts_with("switch ") => Role::Switch,
            device if device.contains('/') => Role::Pod,
            _ => Role::Node,
        }
    }

    /// In a word or two.
    pub fn word(self) -> &'static str {
        match self {
            Role::Client => "client",
            Role::Edge => "edge",
            Role::Balancer => "load balancer",
            Role::Switch => "zone's switch",
            Role::Node => "node",
            Role::Pod => "pod",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_told_by_names() {
        let devices = [
            ("external", Role::Client),
            ("external=203.0.113.7", Role::Client),
            ("edge", Role::Edge),
            ("load balancer redpanda/lb-0 in zone-a", Role::Balancer),
            ("switch zone-a", Role::Switch),
            ("switch-room-1", Role::Node),
            ("node-0.example.com", Role::Node),
            ("redpanda/redpanda-0", Role::Pod),
        ];
        for (device, role) in devices {
            assert_eq!(Role::of(device), role, "{device}");
        }
    }
}
