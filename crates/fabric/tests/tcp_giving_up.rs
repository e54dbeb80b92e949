//! When a connection gives up: silence, ICMP errors, killed and vanished peers, keep-alive.

mod network;

use std::io::{self, ErrorKind};
use std::time::Duration;

use hopwise_engine::log::Keep;
use hopwise_engine::{HostId, Simulation, Span, host};
use hopwise_fabric::net::{TcpListener, TcpSocket, TcpStream};
use hopwise_fabric::{Device, FabricWorld, KeepAlive, TcpConfig, uninstall, with};
use network::{ADDRESS, Network, address, echo, link, network, now_ns, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SECOND_NS: u64 = 1_000_000_000;

async fn connect_after(delay: Duration) -> (io::Result<TcpStream>, u64) {
    tokio::time::sleep(delay).await;
    let result = TcpStream::connect(address(ADDRESS)).await;
    (result, now_ns())
}

/// What `host` does, in the network of two links of 1 µs.
async fn on<F>(host: HostId, task: F) -> F::Output
where
    F: Future + 'static,
    F::Output: 'static,
{
    host::spawn_on(host, task).await.expect("runs")
}

fn cut(net: &Network) {
    with(|fabric| fabric.change_link(net.links[1], false, |link| link.cut = true));
}

/// When a client sends a SYN that nobody answers, and when it gives up, in ms after the first.
fn dropped_syn(config: TcpConfig) -> Vec<u64> {
    let start_ns = 123_456_789;
    let sent_at = Simulation::new(1)
        .keep(Keep::Everything)
        .run(FabricWorld, move || async move {
            let net = network(vec![link(1_000); 2]);
            cut(&net);
            with(|fabric| match fabric.device_mut(net.client_device) {
                Some(Device::Host(stack)) => stack.set_tcp_config(config),
                _ => panic!("the client is a host"),
            });
            let (result, at) =
                on(net.client, async move { connect_after(Duration::from_nanos(start_ns)).await }).await;
            let error = result.expect_err("times out");
            assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::TimedOut, Some(110)));
            let sent = |record: &&hopwise_engine::log::Record| record.kind.name == "packet.sent";
            let mut times: Vec<u64> = hopwise_engine::with_log(|log| {
                log.records().iter().filter(sent).map(|record| record.at.as_nanos()).collect()
            });
            times.push(at);
            times
        })
        .expect("ends");
    uninstall();
    sent_at.iter().map(|at| (at - sent_at[0]) / 1_000_000).collect()
}

/// Whether times are those that the kernel was seen to take, to within the phase of its ticks: a timer of 8 s or more
/// goes off in steps of 2 s.
fn assert_close(times_ms: &[u64], measured_ms: &[u64]) {
    let close = |(time, measured): (&u64, &u64)| time.abs_diff(*measured) <= measured / 32 + 20;
    let all = times_ms.len() == measured_ms.len() && times_ms.iter().zip(measured_ms).all(close);
    assert!(all, "{times_ms:?} are not {measured_ms:?}");
}

#[test]
fn dropped_syn_of_a_client() {
    let times = dropped_syn(TcpConfig::default());
    let measured = [0, 1_030, 2_050, 3_080, 4_100, 5_120, 7_140, 11_400, 19_590, 35_720, 69_760, 135_304];
    assert_close(&times, &measured);
}

#[test]
fn dropped_syn_of_a_client_before_kernel_6_5() {
    let times = dropped_syn(TcpConfig { syn_linear_timeouts: 0, ..TcpConfig::default() });
    assert_close(&times, &[0, 1_010, 3_030, 7_250, 15_450, 31_570, 65_620, 131_161]);
}

#[test]
fn dropped_syn_of_a_server_its_syn_ack_is_never_answered() {
    let sent_at = Simulation::new(1)
        .keep(Keep::Everything)
        .run(FabricWorld, move || async move {
            let net = network(vec![link(1_000_000); 2]);
            host::spawn_on(net.server, echo(ADDRESS));
            host::spawn_on(net.client, connect_after(Duration::from_millis(500)));
            // The SYN is under way when its sender vanishes.
            tokio::time::sleep(Duration::from_millis(501)).await;
            with(|fabric| fabric.remove(net.client_device));
            tokio::time::sleep(Duration::from_secs(200)).await;
            let from_server = |record: &&hopwise_engine::log::Record| {
                record.kind.name == "packet.sent" && record.at.as_nanos() > 501_000_000
            };
            hopwise_engine::with_log(|log| {
                let sent = log.records().iter().filter(from_server);
                sent.map(|record| record.at.as_nanos() / 1_000_000).collect::<Vec<_>>()
            })
        })
        .expect("ends");
    uninstall();
    let after: Vec<u64> = sent_at.iter().map(|at| at - sent_at[0]).collect();
    assert_close(&after, &[0, 1_030, 3_040, 7_200, 15_390, 31_520]);
}

#[test]
fn a_router_without_a_route_fails_connect_at_once_and_a_host_that_drops_does_not() {
    let (error, took) = run(1, || async {
        let net = network(vec![link(1_000); 3]);
        on(net.client, async {
            let started = now_ns();
            let error = TcpStream::connect(address("192.0.2.1:80")).await.expect_err("unreachable");
            (error, now_ns() - started)
        })
        .await
    });
    // The first router sends everything to the second, which knows no such network and sends it on to the server,
    // which is no router.
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!((131 * SECOND_NS..137 * SECOND_NS).contains(&took), "{took} ns");
    let (error, took) = run(1, || async {
        let net = network_of_v6_client();
        on(net.client, async {
            let error = TcpStream::connect(address("[fd01::9]:80")).await.expect_err("unreachable");
            (error, now_ns())
        })
        .await
    });
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::NetworkUnreachable, Some(101)));
    assert_eq!(took, 2_000);
}

/// A client behind a router that knows the way back only.
fn network_of_v6_client() -> Network {
    use hopwise_fabric::{Device, Fabric, Router, Stack};
    let mut fabric = Fabric::new();
    let client_device = fabric.add("client", Device::Host(Stack::new(vec![network::ip("fd00::1")])));
    let router = fabric.add("router", Device::Router(Router::new(vec![network::ip("fd00::ff")])));
    let joined = fabric.connect(client_device, router, link(1_000));
    fabric.route(router, "fd00::/64".parse().expect("network"), joined.second, None);
    let (client, server) = (host::create("client"), host::create("server"));
    fabric.attach(client, client_device);
    hopwise_fabric::install(fabric);
    Network { client, server, client_device, server_device: router, links: vec![joined.link] }
}

#[test]
fn without_a_network_or_an_address_of_the_family_there_is_no_way() {
    run(1, || async {
        let net = network(vec![link(1_000); 2]);
        let error = TcpStream::connect(address(ADDRESS)).await.expect_err("the root host has no network");
        assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
        on(net.client, async {
            let error = TcpStream::connect(address("[fd00::1]:80")).await.expect_err("no IPv6 address");
            assert_eq!(error.raw_os_error(), Some(101));
            let error = TcpListener::bind(address("10.9.9.9:80")).await.expect_err("not an own address");
            assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
            let _first = TcpListener::bind(address("0.0.0.0:80")).await.expect("listens");
            let error = TcpListener::bind(address("10.0.0.1:80")).await.expect_err("taken");
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
        })
        .await;
    });
}

/// A client that has exchanged a few bytes with a server, which then is dealt with by `fate`; what the client sees.
fn after<F>(fate: fn(&Network), then: fn(TcpStream) -> F) -> F::Output
where
    F: Future + 'static,
    F::Output: 'static,
{
    run(1, move || async move {
        let net = network(vec![link(1_000); 2]);
        host::spawn_on(net.server, echo(ADDRESS));
        let client = net.client;
        let stream = on(client, async {
            tokio::task::yield_now().await;
            let mut stream = TcpStream::connect(address(ADDRESS)).await.expect("connects");
            stream.write_all(b"hello").await.expect("writes");
            stream.read_exact(&mut [0; 5]).await.expect("reads");
            stream
        })
        .await;
        fate(&net);
        on(client, then(stream)).await
    })
}

#[test]
fn a_killed_server_ends_its_connections_with_fin_and_refuses_new_ones() {
    after(
        |net| with(|fabric| fabric.kill_host(net.server)),
        |mut stream| async move {
            assert_eq!(stream.read(&mut [0; 5]).await.expect("end of file"), 0);
            assert_eq!(stream.write(b"a").await.expect("the first write goes out"), 1);
            tokio::time::sleep(Duration::from_millis(1)).await;
            let error = stream.write(b"b").await.expect_err("reset");
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            let error = TcpStream::connect(address(ADDRESS)).await.expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        },
    );
}

#[test]
fn a_process_killed_with_unread_bytes_resets() {
    let kinds = run(1, || async {
        let net = network(vec![link(1_000); 2]);
        host::spawn_on(net.server, async {
            let listener = TcpListener::bind(address(ADDRESS)).await.expect("listens");
            let (_stream, _) = listener.accept().await.expect("accepts");
            std::future::pending::<()>().await;
        });
        let server = net.server;
        host::spawn(async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            with(|fabric| fabric.kill_host(server));
        });
        on(net.client, async {
            tokio::task::yield_now().await;
            let mut stream = TcpStream::connect(address(ADDRESS)).await.expect("connects");
            stream.write_all(b"never read").await.expect("writes");
            let read = stream.read(&mut [0; 5]).await.expect_err("reset").kind();
            let write = stream.write(b"x").await.expect_err("over").kind();
            (read, write, stream.read(&mut [0; 5]).await.expect("then the end"))
        })
        .await
    });
    assert_eq!(kinds, (ErrorKind::ConnectionReset, ErrorKind::BrokenPipe, 0));
}

#[test]
fn a_vanished_server_is_noticed_only_by_unanswered_bytes() {
    let (kind, took) = after(
        |net| with(|fabric| fabric.remove(net.server_device)),
        |mut stream| async move {
            let quiet = tokio::time::timeout(Duration::from_secs(3_600), stream.read(&mut [0; 5])).await;
            assert!(quiet.is_err(), "an idle connection hears nothing");
            let started = now_ns();
            stream.write_all(b"hello").await.expect("goes out");
            let error = stream.read(&mut [0; 5]).await.expect_err("times out");
            (error.kind(), now_ns() - started)
        },
    );
    // tcp_retries2 15: the hypothetical 924.6 s of Linux.
    assert_eq!((kind, took), (ErrorKind::TimedOut, 924_600_000_000));
}

#[test]
fn keep_alive_notices_a_vanished_peer() {
    let (kind, took) = after(
        |net| with(|fabric| fabric.remove(net.server_device)),
        |mut stream| async move {
            let times = KeepAlive { idle: Span::from_secs(120), interval: Span::from_secs(60), probes: 3 };
            stream.set_keepalive(Some(times)).expect("sets");
            let started = now_ns();
            let error = stream.read(&mut [0; 5]).await.expect_err("times out");
            (error.kind(), now_ns() - started)
        },
    );
    assert_eq!((kind, took), (ErrorKind::TimedOut, (120 + 3 * 60) * SECOND_NS));
}

#[test]
fn keep_alive_keeps_a_living_peer() {
    after(
        |_| {},
        |mut stream| async move {
            let times = KeepAlive { idle: Span::from_secs(10), interval: Span::from_secs(5), probes: 2 };
            stream.set_keepalive(Some(times)).expect("sets");
            tokio::time::sleep(Duration::from_secs(10_000)).await;
            stream.write_all(b"still").await.expect("writes");
            let mut back = [0; 5];
            stream.read_exact(&mut back).await.expect("reads");
            assert_eq!(&back, b"still");
        },
    );
}

#[test]
fn a_full_queue_drops_the_syn() {
    let (connected, timed_out) = run(1, || async {
        let net = network(vec![link(1_000); 2]);
        let (client, server) = (net.client, net.server);
        let (_listener, _keep) = on(server, async {
            let mut socket = TcpSocket::new_v4().expect("opens");
            socket.bind(address(ADDRESS)).expect("binds");
            (socket.listen(4).expect("listens"), ())
        })
        .await;
        on(client, async {
            let attempts: Vec<_> =
                (1..=12).map(|turn| host::spawn(connect_after(Duration::from_millis(turn)))).collect();
            let mut held = Vec::new();
            for attempt in attempts {
                held.push(attempt.await.expect("runs").0);
            }
            let timed_out = held
                .iter()
                .filter_map(|result| result.as_ref().err())
                .map(io::Error::kind)
                .collect::<Vec<_>>();
            (held.len() - timed_out.len(), timed_out)
        })
        .await
    });
    // linux.md section 4: listen(4) and 12 connects leave 5 connections in the queue.
    assert_eq!((connected, timed_out.len()), (5, 7));
    assert!(timed_out.iter().all(|kind| *kind == ErrorKind::TimedOut), "{timed_out:?}");
}
