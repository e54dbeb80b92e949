//! A client, some routers in a row, and a server, for the tests of sockets.

#![allow(dead_code, reason = "each test uses a part")]

pub mod cluster;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};

use hopwise_engine::{HostId, Simulation, Span, host};
use hopwise_fabric::net::{TcpListener, TcpStream};
use hopwise_fabric::{Device, DeviceId, Fabric, FabricWorld, LinkConfig, LinkId, Router, Stack};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The client's address.
pub const CLIENT: &str = "10.0.0.1";
/// The server's address.
pub const SERVER: &str = "10.9.0.1";
/// The server's listener.
pub const ADDRESS: &str = "10.9.0.1:9092";

/// The network of a test.
#[derive(Clone)]
pub struct Network {
    pub client: HostId,
    pub server: HostId,
    pub client_device: DeviceId,
    pub server_device: DeviceId,
    pub links: Vec<LinkId>,
}

pub fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A link that takes `delay_ns`.
pub fn link(delay_ns: u64) -> LinkConfig {
    LinkConfig::constant(Span::from_nanos(delay_ns))
}

/// Client and server joined by these links, with a router between each two.
pub fn network_of(addresses: [&str; 2], links: Vec<LinkConfig>) -> Network {
    let mut fabric = Fabric::new();
    let client_device = fabric.add("client", Device::Host(Stack::new(vec![ip(addresses[0])])));
    let server_device = fabric.add("server", Device::Host(Stack::new(vec![ip(addresses[1])])));
    let everything = if ip(addresses[0]).is_ipv6() { "::/0" } else { "0.0.0.0/0" };
    let to_client = ipnet::IpNet::from(ip(addresses[0]));
    let mut before = client_device;
    let mut made = Vec::new();
    let count = links.len();
    for (number, config) in links.into_iter().enumerate() {
        let last = number + 1 == count;
        let next = if last {
            server_device
        } else {
            let own = if ip(addresses[0]).is_ipv6() {
                format!("fd00:ff::{}", number + 1)
            } else {
                format!("10.255.0.{}", number + 1)
            };
            fabric.add(format!("router-{number}"), Device::Router(Router::new(vec![ip(&own)])))
        };
        let connection = fabric.connect(before, next, config);
        if before != client_device {
            fabric.route(before, everything.parse().expect("network"), connection.first, None);
        }
        if !last {
            fabric.route(next, to_client, connection.second, None);
        }
        made.push(connection.link);
        before = next;
    }
    let (client, server) = (host::create("client"), host::create("server"));
    fabric.attach(client, client_device);
    fabric.attach(server, server_device);
    hopwise_fabric::install(fabric);
    Network { client, server, client_device, server_device, links: made }
}

/// An IPv4 network.
pub fn network(links: Vec<LinkConfig>) -> Network {
    network_of([CLIENT, SERVER], links)
}

/// Runs `test` in virtual time to its end.
pub fn run<M, F>(seed: u64, test: M) -> F::Output
where
    M: FnOnce() -> F + 'static,
    F: Future + 'static,
    F::Output: 'static,
{
    let result = Simulation::new(seed).run(FabricWorld, test).expect("the simulation ends");
    hopwise_fabric::uninstall();
    result
}

/// Accepts connections at `at` and sends back what comes.
pub async fn echo(at: &'static str) {
    let listener = TcpListener::bind(address(at)).await.expect("listens");
    loop {
        let (stream, _) = listener.accept().await.expect("accepts");
        host::spawn(echo_one(stream));
    }
}

async fn echo_one(mut stream: TcpStream) {
    let mut buffer = vec![0; 65_536];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => {
                if stream.write_all(&buffer[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Virtual nanoseconds since the start.
pub fn now_ns() -> u64 {
    hopwise_engine::now().as_nanos()
}
