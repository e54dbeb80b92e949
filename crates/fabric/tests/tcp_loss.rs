//! Whatever the links do, every byte arrives once and in order.

mod network;

use hopwise_engine::{Span, host};
use hopwise_fabric::LinkConfig;
use hopwise_fabric::net::{TcpListener, TcpStream};
use network::{ADDRESS, address, network, run};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn pattern(length: usize, seed: u32) -> Vec<u8> {
    (0..length as u32).map(|at| (at.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 13) as u8).collect()
}

async fn exchange(stream: TcpStream, send: Vec<u8>, expect: usize) -> Vec<u8> {
    let (mut reader, mut writer) = stream.into_split();
    let reading = host::spawn(async move {
        let mut received = Vec::with_capacity(expect);
        reader.read_to_end(&mut received).await.expect("reads to the end");
        received
    });
    writer.write_all(&send).await.expect("writes");
    writer.shutdown().await.expect("shuts down");
    reading.await.expect("runs")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_byte_arrives_once_and_in_order(
        seed in any::<u64>(),
        loss in 0.0..0.08_f64,
        duplication in 0.0..0.2_f64,
        reordering in 0.0..0.3_f64,
        delay_ns in 1_000..20_000_000_u64,
        there in 0..200_000_usize,
        back in 0..200_000_usize,
    ) {
        let delay = hopwise_fabric::Delay::Constant(Span::from_nanos(delay_ns));
        let reorder_delay = Span::from_nanos(delay_ns * 2);
        let config = LinkConfig { delay, loss, duplication, reordering, reorder_delay, ..LinkConfig::default() };
        let (at_server, at_client) = run(seed, move || async move {
            let net = network(vec![config.clone(), config]);
            let server = host::spawn_on(net.server, async move {
                let listener = TcpListener::bind(address(ADDRESS)).await.expect("listens");
                let (stream, _) = listener.accept().await.expect("accepts");
                exchange(stream, pattern(back, 2), there).await
            });
            let client = host::spawn_on(net.client, async move {
                tokio::task::yield_now().await;
                let stream = TcpStream::connect(address(ADDRESS)).await.expect("connects");
                exchange(stream, pattern(there, 1), back).await
            });
            (server.await.expect("runs"), client.await.expect("runs"))
        });
        prop_assert!(at_server == pattern(there, 1), "{} bytes there, {} arrived", there, at_server.len());
        prop_assert!(at_client == pattern(back, 2), "{} bytes back, {} arrived", back, at_client.len());
    }
}
