//! A network in virtual time: packets as IP bytes, links, routers, Linux nodes with NAT, IP stacks with
//! sockets, load balancers and captures. It knows nothing of Kubernetes.

mod balancer;
mod capture;
mod checksum;
mod device;
mod fabric;
mod icmp;
mod impairment;
mod link;
pub mod nat;
pub mod net;
mod node;
mod packet;
#[cfg(test)]
mod packet_builder;
mod return_path;
mod route;
mod router;
mod routing;
mod segmentation;
mod stack;
mod switch;
mod tap;
mod tcp;
mod trace;

pub use balancer::{
    BalancerConfig, Forwarding, Idle, LoadBalancer, NoTarget, ProxyConfig, SourceAddress, Targets, run_proxy,
};
pub use capture::CaptureBuffer;
pub use checksum::Unfinished;
pub use device::{Context, Device, DeviceId, Outputs, PortIndex};
pub use fabric::{Connection, Fabric, FabricWorld, LinkId, install, is_installed, uninstall, with};
pub use icmp::{IcmpError, Unreachable};
pub use impairment::{Addresses, ImpairmentId, Traffic};
pub use link::{Delay, LinkConfig};
pub use node::{
    Allowance, Allowances, Chain, Filter, FilterAction, FilterRule, Isolation, LinuxNode, NodeConfig, Peers,
    PodLinks,
};
pub use packet::{Packet, protocol};
pub use route::{Action, Answer, Hop, Route};
pub use router::Router;
pub use routing::{NextHop, RoutingTable};
pub use stack::{KeepAlive, Stack};
pub use switch::Switch;
pub use tap::{NoTap, NotAPacket, Tap, Tapped};
pub use tcp::TcpConfig;
pub use trace::{Trace, TraceReport};
