//! What sockets share: routes, IPv6, loopback, dead hosts, halves, determinism.

mod network;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use hopwise_engine::host;
use hopwise_fabric::net::{TcpListener, TcpStream, UdpSocket, connect_traced, connect_traced_within};
use hopwise_fabric::{Action, Hop, with};
use network::{ADDRESS, address, echo, link, network, network_of, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn devices(hops: &[Hop]) -> Vec<(String, Action)> {
    hops.iter().map(|hop| (hop.device.to_string(), hop.action)).collect()
}

fn named(hops: &[(&str, Action)]) -> Vec<(String, Action)> {
    hops.iter().map(|(device, action)| ((*device).to_owned(), *action)).collect()
}

#[test]
fn a_traced_connection_tells_its_way_both_ways() {
    let route = run(1, || async {
        let net = network(vec![link(1_000); 3]);
        host::spawn_on(net.server, echo(ADDRESS));
        let client = host::spawn_on(net.client, async {
            tokio::task::yield_now().await;
            let mut stream = connect_traced(address(ADDRESS)).await.expect("connects");
            stream.write_all(b"hello").await.expect("writes");
            stream.read_exact(&mut [0; 5]).await.expect("reads");
            let untraced = TcpStream::connect(address(ADDRESS)).await.expect("connects");
            assert_eq!(untraced.route(), None);
            stream.route().expect("traced")
        });
        client.await.expect("runs")
    });
    let there = [
        ("client", Action::Sent),
        ("router-0", Action::Forwarded),
        ("router-1", Action::Forwarded),
        ("server", Action::Delivered),
    ];
    let back = [
        ("server", Action::Sent),
        ("router-1", Action::Forwarded),
        ("router-0", Action::Forwarded),
        ("client", Action::Delivered),
    ];
    assert_eq!((devices(&route.forward), devices(&route.reply)), (named(&there), named(&back)));
    assert_eq!((route.hops(), route.reached().map(|name| &**name)), (2, Some("server")));
    assert_eq!(route.forward_time().map(|span| span.as_nanos()), Some(3_000));
}

#[test]
fn a_traced_datagram_tells_its_way_and_its_time_to_live() {
    let (answered, refused) = run(1, || async {
        let net = network(vec![link(1_000); 3]);
        host::spawn_on(net.server, async {
            let socket = UdpSocket::bind(address("0.0.0.0:53")).await.expect("binds");
            let mut buffer = [0; 16];
            let (length, peer) = socket.recv_from(&mut buffer).await.expect("receives");
            socket.send_to(&buffer[..length], peer).await.expect("sends");
            std::future::pending::<()>().await;
        });
        let client = host::spawn_on(net.client, async {
            tokio::task::yield_now().await;
            let mut routes = Vec::new();
            for port in [53, 54] {
                let socket = UdpSocket::bind(address("0.0.0.0:0")).await.expect("binds");
                assert_eq!(socket.route(), None);
                socket.trace();
                socket.connect(SocketAddr::new(address(ADDRESS).ip(), port)).await.expect("connects");
                socket.send(b"hello").await.expect("sends");
                let heard = socket.recv(&mut [0; 16]).await.map_err(|error| error.kind());
                routes.push((heard, socket.route().expect("traced")));
            }
            routes
        });
        let [answered, refused] = client.await.expect("runs").try_into().expect("two ports");
        (answered, refused)
    });
    assert_eq!(answered.0, Ok(5));
    let ends = |hops: &[Hop]| hops.last().map(|hop| (hop.device.to_string(), hop.action, hop.time_to_live));
    assert_eq!(ends(&answered.1.forward), Some(("server".to_owned(), Action::Delivered, 62)));
    assert_eq!(ends(&answered.1.reply), Some(("client".to_owned(), Action::Delivered, 62)));
    assert_eq!(refused.0, Err(ErrorKind::ConnectionRefused));
    assert_eq!(ends(&refused.1.forward), Some(("server".to_owned(), Action::Rejected, 62)));
}

#[test]
fn a_failed_connection_tells_where_it_ended() {
    run(1, || async {
        let net = network(vec![link(1_000); 2]);
        let link = net.links[1];
        let client = host::spawn_on(net.client, async move {
            let refused = connect_traced(address(ADDRESS)).await.expect_err("refused");
            assert_eq!(refused.error.kind(), ErrorKind::ConnectionRefused);
            let route = refused.route.expect("traced");
            let last = route.forward.last().expect("a hop");
            assert_eq!((&*last.device, last.action), ("server", Action::Rejected));
            assert_eq!(last.detail.as_deref(), Some("nothing listens on port 9092"));
            assert_eq!(route.reply.last().map(|hop| hop.action), Some(Action::Delivered));
            with(|fabric| fabric.change_link(link, false, |link| link.cut = true));
            let lost = connect_traced(address(ADDRESS)).await.expect_err("times out");
            assert_eq!(lost.error.kind(), ErrorKind::TimedOut);
            let route = lost.route.expect("traced");
            let last = route.forward.last().expect("a hop");
            assert_eq!((last.action, last.detail.as_deref()), (Action::Lost, Some("the link is cut")));
            assert_eq!(route.reply, vec![]);
        });
        client.await.expect("runs");
    });
}

#[test]
fn a_connection_given_up_early_tells_where_its_packet_was_lost() {
    run(1, || async {
        let net = network(vec![link(1_000); 2]);
        let link = net.links[1];
        with(|fabric| fabric.change_link(link, false, |link| link.cut = true));
        let client = host::spawn_on(net.client, async move {
            let longest = Duration::from_millis(1_500);
            let lost = connect_traced_within(address(ADDRESS), longest).await.expect_err("times out");
            assert_eq!(lost.error.kind(), ErrorKind::TimedOut);
            let last = lost.route.expect("traced").forward.pop().expect("a hop");
            assert_eq!((&*last.device, last.action), ("server", Action::Lost));
            // The SYN was sent at 0 s and again after 1 s, which takes the kernel's timer 1,024 ms.
            assert_eq!((last.at.as_nanos() / 1_000_000, network::now_ns() / 1_000_000), (1_024, 1_500));
            with(|fabric| fabric.change_link(link, false, |link| link.cut = false));
            let refused = connect_traced_within(address(ADDRESS), longest).await.expect_err("refused");
            assert_eq!(refused.error.kind(), ErrorKind::ConnectionRefused);
        });
        client.await.expect("runs");
    });
}

#[test]
fn tracing_can_be_turned_on_for_a_host() {
    run(1, || async {
        let net = network(vec![link(1_000); 2]);
        host::spawn_on(net.server, echo(ADDRESS));
        with(|fabric| fabric.trace_connections(net.client, true));
        let client = host::spawn_on(net.client, async {
            tokio::task::yield_now().await;
            TcpStream::connect(address(ADDRESS)).await.expect("connects").route()
        });
        assert_eq!(client.await.expect("runs").map(|route| route.hops()), Some(1));
    });
}

#[test]
fn ipv6_works_alike() {
    run(1, || async {
        let net = network_of(["fd00::1", "fd00:9::1"], vec![link(1_000); 3]);
        host::spawn_on(net.server, echo("[::]:9092"));
        let client = host::spawn_on(net.client, async {
            tokio::task::yield_now().await;
            let mut stream = TcpStream::connect(address("[fd00:9::1]:9092")).await.expect("connects");
            stream.write_all(b"hello").await.expect("writes");
            let mut back = [0; 5];
            stream.read_exact(&mut back).await.expect("reads");
            assert_eq!((&back, stream.local_addr().expect("local").ip()), (b"hello", network::ip("fd00::1")));
            let error = TcpStream::connect(address("[fd00:9::1]:1")).await.expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        });
        client.await.expect("runs");
    });
}

#[test]
fn loopback_and_own_addresses_stay_inside_and_listeners_on_all_addresses_hear_them() {
    run(1, || async {
        let net = network(vec![link(1_000); 2]);
        host::spawn_on(net.server, echo("[::]:9092"));
        let inside = host::spawn_on(net.server, async {
            tokio::task::yield_now().await;
            for to in ["127.0.0.1:9092", "10.9.0.1:9092", "[::1]:9092", "0.0.0.0:9092"] {
                let mut stream = TcpStream::connect(address(to)).await.expect("connects");
                stream.write_all(b"hello").await.expect("writes");
                stream.read_exact(&mut [0; 5]).await.expect("reads");
                let peer = stream.peer_addr().expect("peer").ip();
                assert_eq!(stream.local_addr().expect("local").ip(), peer, "{to}");
            }
            hopwise_engine::now().as_nanos()
        });
        assert_eq!(inside.await.expect("runs"), 0);
    });
}

#[test]
fn calls_of_a_killed_host_never_return_and_its_destructors_do_nothing() {
    run(1, || async {
        let net = network(vec![link(1_000); 2]);
        host::spawn_on(net.server, echo(ADDRESS));
        let connecting = async {
            tokio::task::yield_now().await;
            TcpStream::connect(address(ADDRESS)).await.expect("connects")
        };
        let mut stream = host::spawn_on(net.client, connecting).await.expect("runs");
        let before = with(|fabric| {
            fabric.kill_host(net.client);
            hopwise_engine::with_log(|log| log.len())
        });
        let write = tokio::time::timeout(Duration::from_secs(1), stream.write(b"ghost")).await;
        assert!(write.is_err(), "a dead host's write returned");
        let after_fin = hopwise_engine::with_log(|log| log.len());
        assert!(after_fin > before, "the FIN went out");
        drop(stream);
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(hopwise_engine::with_log(|log| log.len()), after_fin);
    });
}

#[test]
fn halves_read_and_write_apart_and_come_together_again() {
    run(1, || async {
        let net = network(vec![link(1_000); 2]);
        host::spawn_on(net.server, echo(ADDRESS));
        let client = host::spawn_on(net.client, async {
            tokio::task::yield_now().await;
            let stream = TcpStream::connect(address(ADDRESS)).await.expect("connects");
            stream.set_nodelay(true).expect("sets");
            assert!(stream.nodelay().expect("gets"));
            let mut byte = [0; 1];
            assert_eq!(stream.try_read(&mut byte).expect_err("nothing").kind(), ErrorKind::WouldBlock);
            let (mut reader, mut writer) = stream.into_split();
            let reading = host::spawn(async move {
                let mut back = vec![0; 300_000];
                reader.read_exact(&mut back).await.expect("reads");
                (reader, back)
            });
            let sent: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
            writer.write_all(&sent).await.expect("writes");
            let (reader, back) = reading.await.expect("runs");
            assert_eq!(back, sent);
            let mut stream = writer.reunite(reader).expect("one stream");
            stream.write_all(b"again").await.expect("writes");
            stream.readable().await.expect("waits");
            let mut peeked = [0; 5];
            assert_eq!(stream.peek(&mut peeked).await.expect("peeks"), 5);
            let (reader, writer) = stream.into_split();
            drop(writer);
            drop(reader);
        });
        client.await.expect("runs");
    });
}

#[test]
fn the_same_seed_gives_the_same_log() {
    fn hash(seed: u64) -> String {
        run(seed, || async {
            let lossy = || hopwise_fabric::LinkConfig { loss: 0.05, ..link(70_001) };
            let net = network(vec![lossy(), lossy(), lossy()]);
            host::spawn_on(net.server, echo(ADDRESS));
            let clients: Vec<_> = (0..5)
                .map(|number| {
                    host::spawn_on(net.client, async move {
                        tokio::task::yield_now().await;
                        let mut stream = TcpStream::connect(address(ADDRESS)).await.expect("connects");
                        let sent = vec![number; 20_000];
                        stream.write_all(&sent).await.expect("writes");
                        stream.read_exact(&mut vec![0; 20_000]).await.expect("reads");
                    })
                })
                .collect();
            for client in clients {
                client.await.expect("runs");
            }
            hopwise_engine::trace_hash()
        })
    }
    assert_eq!(hash(1), hash(1));
    assert_ne!(hash(1), hash(2));
}

#[test]
fn datagrams_arrive_whole_and_a_closed_port_is_reported_to_connected_sockets() {
    run(1, || async {
        let net = network(vec![link(1_000); 2]);
        host::spawn_on(net.server, async {
            let socket = UdpSocket::bind(address("0.0.0.0:53")).await.expect("binds");
            let mut buffer = [0; 1500];
            loop {
                let (count, from) = socket.recv_from(&mut buffer).await.expect("receives");
                socket.send_to(&buffer[..count], from).await.expect("sends");
            }
        });
        let client = host::spawn_on(net.client, async {
            tokio::task::yield_now().await;
            let socket = UdpSocket::bind(address("0.0.0.0:0")).await.expect("binds");
            socket.connect(address("10.9.0.1:53")).await.expect("connects");
            socket.send(b"query").await.expect("sends");
            let mut buffer = [0; 1500];
            assert_eq!(socket.recv(&mut buffer).await.expect("receives"), 5);
            assert_eq!((&buffer[..5], hopwise_engine::now().as_nanos()), (b"query".as_slice(), 4_000));
            let closed = UdpSocket::bind(address("0.0.0.0:0")).await.expect("binds");
            closed.connect(address("10.9.0.1:54")).await.expect("connects");
            closed.send(b"query").await.expect("sends");
            let error = closed.recv(&mut buffer).await.expect_err("nobody there");
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            let error = socket.send(&[0; 2_000]).await.expect_err("too long for one packet");
            assert_eq!(error.raw_os_error(), Some(90));
        });
        client.await.expect("runs");
    });
}

#[test]
fn a_machine_without_a_fabric_uses_its_own_sockets() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("starts");
    runtime.block_on(async {
        let listener = TcpListener::bind(address("127.0.0.1:0")).await.expect("listens");
        let to = listener.local_addr().expect("local");
        let (mut client, accepted) =
            tokio::join!(async { TcpStream::connect(to).await.expect("connects") }, async {
                listener.accept().await.expect("accepts").0
            });
        let (mut reader, mut writer) = accepted.into_split();
        client.write_all(b"hello").await.expect("writes");
        let mut back = [0; 5];
        reader.read_exact(&mut back).await.expect("reads");
        writer.write_all(&back).await.expect("writes");
        writer.shutdown().await.expect("shuts down");
        let mut all = Vec::new();
        client.read_to_end(&mut all).await.expect("reads");
        assert_eq!((all.as_slice(), client.route()), (b"hello".as_slice(), None));
    });
}
