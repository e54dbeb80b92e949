//! How fast the fabric is: pairs of hosts, each two routers apart, echo 5 bytes over TCP.
//!
//!     cargo run --release -p hopwise-fabric --example echo [pairs] [rounds] [idle connections]
//!
//! It prints what idle connections cost in memory (none by default), the exact virtual round trip, and as its last line
//! wall nanoseconds per round trip.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use hopwise_engine::{Simulation, Span, host};
use hopwise_fabric::net::{TcpListener, TcpStream};
use hopwise_fabric::{Device, Fabric, FabricWorld, LinkConfig, Router, Stack};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LINK_NS: u64 = 50_123;
const PORT: u16 = 9092;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u32>());
    let mut number = |default| arguments.next().map_or(default, |number| number.expect("a number"));
    let (pairs, rounds, idle) = (number(100), number(1_000), number(0));
    if idle > 0 {
        measure_idle_connections(idle);
    }
    let wall_ns = measure_round_trips(pairs, rounds);
    println!("{wall_ns}");
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

#[expect(clippy::disallowed_methods, reason = "measures wall time")]
fn measure_round_trips(pairs: u32, rounds: u32) -> u128 {
    let started = std::time::Instant::now();
    let round_trip_ns = Simulation::new(1)
        .run(FabricWorld, move || async move {
            let mut clients = Vec::new();
            for (pair, (client, server)) in (0..).zip(build(pairs)) {
                let at = SocketAddr::new(address(2, pair), PORT);
                host::spawn_on(server, serve(at));
                clients.push(host::spawn_on(client, client_of(at, rounds)));
            }
            let mut round_trip_ns = 0;
            for client in clients {
                round_trip_ns = client.await.expect("runs");
            }
            round_trip_ns
        })
        .expect("ends");
    let wall_ns = started.elapsed().as_nanos() / u128::from(pairs * rounds);
    hopwise_fabric::uninstall();
    println!(
        "{pairs} pairs x {rounds} round trips of {round_trip_ns} ns of virtual time; wall ns per round trip:"
    );
    wall_ns
}

async fn client_of(at: SocketAddr, rounds: u32) -> u64 {
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut stream = TcpStream::connect(at).await.expect("connects");
    let (mut back, mut last_ns) = ([0; 5], 0);
    for _ in 0..rounds {
        let sent = hopwise_engine::now();
        stream.write_all(b"hello").await.expect("writes");
        stream.read_exact(&mut back).await.expect("reads");
        last_ns = (hopwise_engine::now() - sent).as_nanos();
    }
    last_ns
}

fn measure_idle_connections(count: u32) {
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
    println!("{count} idle connections, both ends: {} KiB", after_kib.saturating_sub(before_kib));
}

/// Resident memory of this process (Linux only, 0 elsewhere).
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
