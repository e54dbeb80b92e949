//! What tells connections apart: the two addresses and the two ports.

use std::net::{IpAddr, SocketAddr};

use crate::packet::Packet;
use crate::tcp::{Endpoints, Segment};

/// A connection's addresses and ports, packed so that hashing is a few multiplications.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Flow {
    local: u128,
    remote: u128,
    ports: u32,
}

impl Flow {
    /// The flow between two endpoints.
    pub(crate) fn new(endpoints: Endpoints) -> Flow {
        let Endpoints { local, remote } = endpoints;
        Flow {
            local: bits(local.ip()),
            remote: bits(remote.ip()),
            ports: u32::from(local.port()) << 16 | u32::from(remote.port()),
        }
    }

    /// The flow of a packet that arrived.
    pub(crate) fn of(packet: &Packet, segment: &Segment) -> Flow {
        Flow {
            local: bits(packet.destination_ip()),
            remote: bits(packet.source_ip()),
            ports: u32::from(segment.destination_port) << 16 | u32::from(segment.source_port),
        }
    }
}

/// IPv4 addresses as the IPv6 addresses they are mapped to (RFC 4291 section 2.5.5.2), which are nobody's.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => 0xffff_u128 << 32 | u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The endpoints of a packet that arrived, as its receiver sees them.
pub(crate) fn endpoints_of(packet: &Packet, segment: &Segment) -> Endpoints {
    Endpoints {
        local: SocketAddr::new(packet.destination_ip(), segment.destination_port),
        remote: SocketAddr::new(packet.source_ip(), segment.source_port),
    }
}
