//! TCP echo of 5 bytes on turmoil: pairs of hosts, round trips each; prints wall nanoseconds per round trip.
//!
//! Usage: `turmoil-echo PAIRS ROUND_TRIPS`

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use turmoil::net::{TcpListener, TcpStream};

const MESSAGE: &[u8; 5] = b"hello";

fn main() -> turmoil::Result {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u32>().expect("a number"));
    let (pairs, round_trips) = (arguments.next().unwrap_or(1), arguments.next().unwrap_or(1000));
    let mut simulation = turmoil::Builder::new()
        .simulation_duration(Duration::from_secs(1_000_000))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(1))
        .tcp_capacity(1024)
        .build();
    for pair in 0..pairs {
        simulation.host(format!("server-{pair}"), || async {
            let listener = TcpListener::bind((IpAddr::from(Ipv4Addr::UNSPECIFIED), 80)).await?;
            loop {
                let (mut stream, _) = listener.accept().await?;
                tokio::spawn(async move {
                    let mut buffer = [0; 64];
                    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                        if stream.write_all(&buffer[..length]).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        simulation.client(format!("client-{pair}"), async move {
            let mut stream = TcpStream::connect((format!("server-{pair}"), 80)).await?;
            let mut answer = [0; 5];
            for _ in 0..round_trips {
                stream.write_all(MESSAGE).await?;
                stream.read_exact(&mut answer).await?;
            }
            Ok(())
        });
    }
    let start = Instant::now();
    simulation.run()?;
    println!("{}", start.elapsed().as_nanos() / u128::from(pairs * round_trips));
    Ok(())
}
