//! Name look-ups: the resolver's state machine over the sockets of the current host.
//!
//! A query goes from a UDP socket connected to its server, so that a closed port is heard of; a reply that was
//! cut is asked for again over TCP. Replies of a server that was given up are not waited for.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use hickory_proto::rr::RecordType;
use hopwise_engine::Time;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf};

use super::resolver::{Lookup, LookupError, QueryTrace, Step, Transport};
use super::simulated::{Place, Socket, Stream, StreamOptions};
use super::tcp::TcpStream;
use crate::fabric;

/// The port of DNS servers.
const PORT: u16 = 53;
/// The longest DNS message, in bytes.
const MESSAGE_MAX: usize = 65_535;

type Exchange = Pin<Box<dyn Future<Output = io::Result<Vec<u8>>> + Send>>;

/// What a look-up waits for.
#[derive(Default)]
struct Waiting {
    sockets: Vec<(IpAddr, Socket)>,
    exchanges: Vec<(IpAddr, Exchange)>,
    /// Room for one message, always empty: not cleared for each.
    room: Vec<u8>,
}

/// What has arrived, and from which server.
enum Heard {
    Reply(IpAddr, Transport, Vec<u8>),
    Failure(IpAddr, Transport),
    Nothing,
}

/// Looks `host` up from the current host of the fabric, for records of these types (addresses of both families if it is
/// `None`); tells every query that was made.
pub(super) async fn look_up(
    host: &str,
    kinds: Option<&[RecordType]>,
) -> (io::Result<Vec<IpAddr>>, Vec<QueryTrace>) {
    let place = match Place::current().await {
        Ok(place) => place,
        Err(error) => return (error_or_numeric(host, error), Vec::new()),
    };
    let (config, first_id) = fabric::with(|fabric| fabric.resolver_of(place.host(), place.device()));
    let kind = config.kind;
    let kept =
        || fabric::with(|fabric| fabric.application_cache(place.host()).get(hopwise_engine::now(), host));
    let mut lookup = match kinds {
        Some(kinds) => Lookup::with_types(config, host, kinds, first_id),
        None => match kept() {
            Some(kept) => return (kept.map_err(io::Error::from), Vec::new()),
            None => Lookup::new(config, host, first_id),
        },
    };
    let result = run(&mut lookup).await;
    if kinds.is_none() {
        let now = hopwise_engine::now();
        fabric::with(|fabric| fabric.application_cache(place.host()).put(now, kind, host, &result));
    }
    (result.map_err(io::Error::from), lookup.trace().to_vec())
}

async fn run(lookup: &mut Lookup) -> Result<Vec<IpAddr>, LookupError> {
    let mut waiting = Waiting::default();
    loop {
        match lookup.next(hopwise_engine::now()) {
            Step::Send { server, transport, message } => {
                if waiting.send(server, transport, message).await.is_err() {
                    lookup.unreachable(server, transport);
                }
            }
            Step::Wait { until } => match waiting.hear(until).await {
                Heard::Reply(server, transport, bytes) => lookup.reply(server, transport, &bytes),
                Heard::Failure(server, transport) => lookup.unreachable(server, transport),
                Heard::Nothing => {}
            },
            Step::Finished(result) => return result,
        }
    }
}

/// A host without a network still knows what a numeric address means.
fn error_or_numeric(host: &str, error: io::Error) -> io::Result<Vec<IpAddr>> {
    host.parse().map(|address| vec![address]).map_err(|_| error)
}

impl Waiting {
    async fn send(&mut self, server: IpAddr, transport: Transport, message: Vec<u8>) -> io::Result<()> {
        let to = SocketAddr::new(server, PORT);
        if transport == Transport::Tcp {
            self.exchanges.push((server, Box::pin(exchange(to, message))));
            return Ok(());
        }
        let index = match self.sockets.iter().position(|(of, _)| *of == server) {
            Some(index) => index,
            None => {
                let anywhere = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = Socket::bind(anywhere.parse().expect("an address")).await?;
                socket.connect(to)?;
                self.sockets.push((server, socket));
                self.sockets.len() - 1
            }
        };
        let socket = &self.sockets[index].1;
        poll_fn(|_| socket.poll_send(None, &message)).await.map(|_| ())
    }

    async fn hear(&mut self, until: Time) -> Heard {
        let patience = Duration::from(until - hopwise_engine::now());
        let mut timeout = pin!(tokio::time::sleep(patience));
        poll_fn(|cx| match self.poll_hear(cx) {
            Poll::Ready(heard) => Poll::Ready(heard),
            Poll::Pending => timeout.as_mut().poll(cx).map(|()| Heard::Nothing),
        })
        .await
    }

    fn poll_hear(&mut self, cx: &mut Context<'_>) -> Poll<Heard> {
        self.room.reserve(MESSAGE_MAX);
        for (server, socket) in &self.sockets {
            let mut buffer = ReadBuf::uninit(self.room.spare_capacity_mut());
            if let Poll::Ready(received) = socket.poll_receive(cx, &mut buffer) {
                let reply = received.map(|_| buffer.filled().to_vec());
                return Poll::Ready(heard(*server, Transport::Udp, reply));
            }
        }
        for index in 0..self.exchanges.len() {
            let (server, exchange) = &mut self.exchanges[index];
            if let Poll::Ready(received) = exchange.as_mut().poll(cx) {
                let server = *server;
                drop(self.exchanges.remove(index));
                return Poll::Ready(heard(server, Transport::Tcp, received));
            }
        }
        Poll::Pending
    }
}

fn heard(server: IpAddr, transport: Transport, received: io::Result<Vec<u8>>) -> Heard {
    match received {
        Ok(bytes) => Heard::Reply(server, transport, bytes),
        Err(_) => Heard::Failure(server, transport),
    }
}

/// Asks over a TCP connection of its own; each message stands behind its length (RFC 1035 section 4.2.2).
async fn exchange(to: SocketAddr, message: Vec<u8>) -> io::Result<Vec<u8>> {
    let connected = Stream::connect(to, StreamOptions::default()).await;
    let mut stream = TcpStream::of_simulated(connected.map_err(|(error, _)| error)?);
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(&message);
    stream.write_all(&framed).await?;
    let mut reply = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut reply).await?;
    Ok(reply)
}
