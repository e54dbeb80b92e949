//! The echo that benchmarks share: pairs of hosts, each two routers apart, send 5 bytes there and back over TCP.
//!
//! Every round trip crosses three links each way, and every hop is an event of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use hopwise_engine::{Simulation, Span, host};
use hopwise_fabric::net::{TcpListener, TcpStream};
use hopwise_fabric::{Device, Fabric, FabricWorld, LinkConfig, Router, Stack};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LINK_NS: u64 = 50_123;
const PORT: u16 = 9092;

/// What an echo took.
#[derive(Clone, Copy, Debug)]
pub struct Echo {
    /// Wall time of all round trips of all pairs.
    pub wall: Duration,
    /// Virtual time of one round trip.
    pub round_trip: Span,
    /// Records in the event log: packets sent, hops and deliveries.
    pub events: u64,
}

/// Runs `rounds` round trips of each of `pairs` pairs of hosts.
#[expect(clippy::disallowed_methods, reason = "measures wall time")]
pub fn round_trips(pairs: u32, rounds: u32) -> Echo {
    let started = std::time::Instant::now();
    let (round_trip, events) = Simulation::new(1)
        .run(FabricWorld, move || async move {
            let mut clients = Vec::new();
            for (pair, (client, server)) in (0..).zip(build(pairs)) {
                let at = SocketAddr::new(address(2, pair), PORT);
                host::spawn_on(server, serve(at));
                clients.push(host::spawn_on(client, client_of(at, rounds)));
            }
            let mut round_trip = Span::ZERO;
            for client in clients {
                round_trip = client.await.expect("runs");
            }
            (round_trip, hopwise_engine::with_log(hopwise_engine::log::EventLog::len))
        })
        .expect("ends");
    let wall = started.elapsed();
    hopwise_fabric::uninstall();
    Echo { wall, round_trip, events }
}

/// Resident memory, in KiB, that `count` idle connections cost, both ends together.
pub fn idle_connections_kib(count: u32) -> u64 {
    let before_kib = resident_kib();
    let after_kib = Simulation::new(1)
        .run(FabricWorld, move || async move {
            let (client, server) = build(1)[0];
            let at = SocketAddr::new(address(2, 0), PORT);
            host::spawn_on(server, serve(at));
            let connected = host::spawn_on(client, async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                let mut streams = Vec::new();
                for _ in 0..count {
                    let mut stream = TcpStream::connect(at).await.expect("connects");
                    stream.write_all(b"hello").await.expect("writes");
                    stream.read_exact(&mut [0; 5]).await.expect("reads");
                    streams.push(stream);
                }
                (resident_kib(), streams)
            });
            connected.await.expect("runs").0
        })
        .expect("ends");
    hopwise_fabric::uninstall();
    after_kib.saturating_sub(before_kib)
}

/// Resident memory of this process (Linux only, 0 elsewhere).
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

fn address(network: u8, pair: u32) -> IpAddr {
    Ipv4Addr::new(10, network, (pair >> 8) as u8, pair as u8).into()
}

/// Two routers in a row, with `pairs` clients behind the first and servers behind the second.
fn build(pairs: u32) -> Vec<(hopwise_engine::HostId, hopwise_engine::HostId)> {
    let mut fabric = Fabric::new();
    let link = || LinkConfig::constant(Span::from_nanos(LINK_NS));
    let west = fabric.add("west", Device::Router(Router::new(vec![Ipv4Addr::new(10, 255, 0, 1).into()])));
    let east = fabric.add("east", Device::Router(Router::new(vec![Ipv4Addr::new(10, 255, 0, 2).into()])));
    let between = fabric.connect(west, east, link());
    fabric.route(west, "10.2.0.0/16".parse().expect("network"), between.first, None);
    fabric.route(east, "10.1.0.0/16".parse().expect("network"), between.second, None);
    let mut hosts = Vec::new();
    for pair in 0..pairs {
        for (network, router, hosts_of) in [(1, west, "client"), (2, east, "server")] {
            let own = address(network, pair);
            let name = format!("{hosts_of}-{pair}");
            let host = host::create(&name);
            let device = fabric.add(name, Device::Host(Stack::new(vec![own])));
            let joined = fabric.connect(router, device, link());
            fabric.route(router, own.into(), joined.first, None);
            fabric.attach(host, device);
            hosts.push(host);
        }
    }
    hopwise_fabric::install(fabric);
    hosts.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}

async fn serve(at: SocketAddr) {
    let listener = TcpListener::bind(at).await.expect("listens");
    loop {
        let (mut stream, _) = listener.accept().await.expect("accepts");
        host::spawn(async move {
            let mut buffer = vec![0; 4_096];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                stream.write_all(&buffer[..count]).await.expect("writes");
            }
        });
    }
}

async fn client_of(at: SocketAddr, rounds: u32) -> Span {
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut stream = TcpStream::connect(at).await.expect("connects");
    let (mut back, mut last) = ([0; 5], Span::ZERO);
    for _ in 0..rounds {
        let sent = hopwise_engine::now();
        stream.write_all(b"hello").await.expect("writes");
        stream.read_exact(&mut back).await.expect("reads");
        last = hopwise_engine::now() - sent;
    }
    last
}
