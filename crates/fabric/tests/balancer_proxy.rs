//! A proxying balancer over the machine's own loopback: the same program that runs on the fabric.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hopwise_fabric::net::{TcpListener, TcpStream};
use hopwise_fabric::{ProxyConfig, Targets, run_proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Starts a proxy for `targets`.
async fn proxy(targets: &Targets, config: ProxyConfig) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(ANY).await?;
    let address = listener.local_addr()?;
    tokio::spawn(run_proxy(listener, targets.clone(), config));
    Ok(address)
}

/// A server that reads to the end, then answers what it read, prefixed by `name`.
async fn server(name: &'static str) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(ANY).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await?;
            let mut text = String::from(name);
            stream.read_to_string(&mut text).await?;
            stream.write_all(text.as_bytes()).await?;
        }
        #[expect(unreachable_code, reason = "names the error type")]
        io::Result::Ok(())
    });
    Ok(address)
}

async fn ask(address: SocketAddr, question: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(question.as_bytes()).await?;
    stream.shutdown().await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// An address where nobody listens.
async fn closed() -> io::Result<SocketAddr> {
    TcpListener::bind(ANY).await?.local_addr()
}

/// Whether the connection ends without a byte, within `limit`.
async fn ends(address: SocketAddr, limit: Duration) -> io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    let mut byte = [0; 1];
    let read = tokio::time::timeout(limit, stream.read(&mut byte)).await;
    Ok(matches!(read, Ok(Ok(0) | Err(_))))
}

#[tokio::test]
async fn a_half_closed_connection_is_answered_and_targets_take_turns() -> io::Result<()> {
    let targets = Targets::new(vec![server("a:").await?, server("b:").await?]);
    let address = proxy(&targets, ProxyConfig::default()).await?;
    assert_eq!(ask(address, "hello").await?, "a:hello");
    assert_eq!(ask(address, "hello").await?, "b:hello");
    targets.set(targets.get().split_off(1));
    assert_eq!(ask(address, "hello").await?, "b:hello");
    Ok(())
}

#[tokio::test]
async fn a_target_that_refuses_is_passed_over() -> io::Result<()> {
    let targets = Targets::new(vec![closed().await?, server("b:").await?]);
    let address = proxy(&targets, ProxyConfig::default()).await?;
    assert_eq!(ask(address, "hello").await?, "b:hello");
    Ok(())
}

#[tokio::test]
async fn without_a_target_the_client_is_accepted_and_then_cut_off() -> io::Result<()> {
    for targets in [vec![], vec![closed().await?]] {
        let address = proxy(&Targets::new(targets), ProxyConfig::default()).await?;
        assert!(ends(address, Duration::from_secs(20)).await?);
    }
    Ok(())
}

#[tokio::test]
async fn a_silent_connection_is_closed_after_the_idle_timeout_and_not_before() -> io::Result<()> {
    let config = ProxyConfig { idle_timeout: Some(Duration::from_millis(300)), ..ProxyConfig::default() };
    let targets = Targets::new(vec![server("a:").await?]);
    let address = proxy(&targets, config).await?;
    assert!(ends(address, Duration::from_secs(20)).await?);
    let address = proxy(&targets, ProxyConfig::default()).await?;
    assert!(!ends(address, Duration::from_millis(300)).await?);
    Ok(())
}
