//! TCP echo of 5 bytes on madsim: pairs of hosts, round trips each; prints wall nanoseconds per round trip.
//!
//! Usage: `madsim-echo PAIRS ROUND_TRIPS`. Built with `RUSTFLAGS="--cfg madsim"`.

#[cfg(madsim)]
fn main() {
    use std::net::SocketAddr;
    use std::time::{Duration, Instant};

    use madsim::net::{TcpListener, TcpStream};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u32>().expect("a number"));
    let (pairs, round_trips) = (arguments.next().unwrap_or(1), arguments.next().unwrap_or(1000));
    let mut config = madsim::Config::default();
    config.net.send_latency = Duration::from_millis(1)..Duration::from_millis(1) + Duration::from_nanos(1);
    let runtime = madsim::runtime::Runtime::with_seed_and_config(1, config);
    let start = Instant::now();
    runtime.block_on(async move {
        let handle = madsim::runtime::Handle::current();
        let mut clients = Vec::new();
        for pair in 0..pairs {
            let address = |network: u8| -> SocketAddr {
                let [_, _, high, low] = (pair + 1).to_be_bytes();
                SocketAddr::from(([10, network, high, low], 80))
            };
            let server = address(1);
            handle.create_node().name(format!("server-{pair}")).ip(server.ip()).build().spawn(async move {
                let listener = TcpListener::bind(server).await.expect("binds");
                loop {
                    let (mut stream, _) = listener.accept().await.expect("accepts");
                    madsim::task::spawn(async move {
                        let mut buffer = [0; 64];
                        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                            if stream.write_all(&buffer[..length]).await.is_err() || stream.flush().await.is_err() {
                                break;
                            }
                        }
                    });
                }
            });
            let client = handle.create_node().name(format!("client-{pair}")).ip(address(2).ip()).build();
            clients.push(client.spawn(async move {
                madsim::time::sleep(Duration::from_millis(5)).await;
                let mut stream = TcpStream::connect(server).await.expect("connects");
                let mut answer = [0; 5];
                for _ in 0..round_trips {
                    stream.write_all(b"hello").await.expect("writes");
                    stream.flush().await.expect("flushes");
                    stream.read_exact(&mut answer).await.expect("reads");
                }
            }));
        }
        for client in clients {
            client.await.expect("ends");
        }
    });
    println!("{}", start.elapsed().as_nanos() / u128::from(pairs * round_trips));
}

#[cfg(not(madsim))]
fn main() {
    eprintln!("build with RUSTFLAGS=\"--cfg madsim\"");
    std::process::exit(2);
}
