//! What runs in a container whose image is not known: an echo on every declared port.
//!
//! It greets with one line that names the pod and the peer as the pod sees it, then sends back what it gets; a
//! UDP packet is answered by that line.

use std::net::SocketAddr;

use hopwise_engine::host;
use hopwise_fabric::net::{TcpListener, TcpStream, UdpSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use super::programs::{Container, Process};

/// The echo for a container.
pub fn echo(container: &Container) -> Process {
    let (ready, is_ready) = watch::channel(false);
    let pod = format!("{}/{}", container.namespace, container.pod);
    let (ports, addresses) = (container.ports.clone(), container.addresses.clone());
    let run = async move {
        for port in ports {
            for address in &addresses {
                let address = SocketAddr::new(*address, port.number);
                let pod = pod.clone();
                if port.udp {
                    host::spawn(echo_udp(address, pod));
                } else {
                    host::spawn(echo_tcp(address, pod));
                }
            }
        }
        ready.send_replace(true);
        std::future::pending().await
    };
    Process { run: Box::pin(run), ready: is_ready }
}

fn greeting(pod: &str, peer: SocketAddr) -> String {
    format!("{pod} sees {peer}\n")
}

async fn echo_tcp(address: SocketAddr, pod: String) {
    let Ok(listener) = TcpListener::bind(address).await else { return };
    while let Ok((stream, peer)) = listener.accept().await {
        host::spawn(answer(stream, greeting(&pod, peer)));
    }
}

async fn answer(mut stream: TcpStream, greeting: String) {
    if stream.write_all(greeting.as_bytes()).await.is_err() {
        return;
    }
    let mut buffer = vec![0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

async fn echo_udp(address: SocketAddr, pod: String) {
    let Ok(socket) = UdpSocket::bind(address).await else { return };
    let mut buffer = vec![0; 2048];
    while let Ok((_, peer)) = socket.recv_from(&mut buffer).await {
        let _ = socket.send_to(greeting(&pod, peer).as_bytes(), peer).await;
    }
}
