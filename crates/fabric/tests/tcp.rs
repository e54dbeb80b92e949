//! TCP between two hosts: exact times, and the ways in which connections open, fail and end.

mod network;

use std::io::ErrorKind;
use std::time::Duration;

use hopwise_engine::host;
use hopwise_fabric::net::{TcpListener, TcpStream};
use network::{ADDRESS, address, echo, link, network, now_ns, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[test]
fn a_round_trip_takes_exactly_the_sum_of_its_links() {
    for hops in 1..=8_u64 {
        let delays: Vec<u64> = (0..hops).map(|hop| 50_123 + hop * 7_777).collect();
        let total: u64 = delays.iter().sum();
        let times = run(1, move || async move {
            let net = network(delays.into_iter().map(link).collect());
            host::spawn_on(net.server, echo(ADDRESS));
            let client = host::spawn_on(net.client, async {
                tokio::task::yield_now().await;
                let started = now_ns();
                let mut stream = TcpStream::connect(address(ADDRESS)).await.expect("connects");
                let mut times = vec![now_ns() - started];
                for _ in 0..20 {
                    let sent = now_ns();
                    stream.write_all(b"hello").await.expect("writes");
                    let mut back = [0; 5];
                    stream.read_exact(&mut back).await.expect("reads");
                    assert_eq!(&back, b"hello");
                    times.push(now_ns() - sent);
                }
                times
            });
            client.await.expect("runs")
        });
        assert_eq!(times, vec![2 * total; 21], "{hops} hops");
    }
}

#[test]
fn a_closed_port_refuses() {
    let (error, took) = run(1, || async {
        let net = network(vec![link(1_000); 2]);
        let client = host::spawn_on(net.client, async {
            let error = TcpStream::connect(address(ADDRESS)).await.expect_err("refused");
            (error, now_ns())
        });
        client.await.expect("runs")
    });
    assert_eq!((error.kind(), error.raw_os_error(), took), (ErrorKind::ConnectionRefused, Some(111), 4_000));
}

#[test]
fn half_close_lets_the_other_direction_go_on() {
    let answer = run(1, || async {
        let net = network(vec![link(1_000_000); 2]);
        host::spawn_on(net.server, async {
            let listener = TcpListener::bind(address(ADDRESS)).await.expect("listens");
            let (mut stream, _) = listener.accept().await.expect("accepts");
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.expect("reads to the end");
            tokio::time::sleep(Duration::from_secs(5)).await;
            all.reverse();
            stream.write_all(&all).await.expect("writes after the peer's FIN");
        });
        let client = host::spawn_on(net.client, async {
            tokio::task::yield_now().await;
            let mut stream = TcpStream::connect(address(ADDRESS)).await.expect("connects");
            stream.write_all(b"abc").await.expect("writes");
            stream.shutdown().await.expect("shuts down");
            assert_eq!(stream.write(b"x").await.expect_err("ended").kind(), ErrorKind::BrokenPipe);
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.expect("reads");
            all
        });
        client.await.expect("runs")
    });
    assert_eq!(answer, b"cba");
}
