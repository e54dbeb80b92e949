//! One connection to one broker: several requests in flight, answered in order.
//!
//! A task owns the socket, writes frames as they come and matches each answer with the oldest request without
//! one (brokers answer a connection's requests in their order, Kafka protocol guide, "Network"). When the
//! connection breaks, every request in flight fails with what was seen. The handshake is in `handshake`.

use std::collections::VecDeque;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use hopwise_engine::Span;
use hopwise_fabric::Route;
use kafka_protocol::protocol::Request;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::security::{Stream, route};
use crate::{Failure, Outcome, frame};

/// Room for one read; an idle connection keeps this much. A longer answer makes room for itself.
const READ_BYTES: usize = 4 * 1024;

/// What a connection needs to know.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionOptions {
    pub client_id: String,
    pub request_timeout: Duration,
    pub max_in_flight: usize,
    pub receive_bytes_max: u32,
}

/// The client's end of an open connection. Dropping every clone closes it.
#[derive(Clone)]
pub(crate) struct Connection {
    commands: mpsc::UnboundedSender<Command>,
    permits: Arc<Semaphore>,
    broken: Arc<OnceLock<(Instant, Failure)>>,
    options: Arc<ConnectionOptions>,
}

/// An answer with what the network told about it.
pub(crate) struct Answer<T> {
    pub response: T,
    pub route: Option<Route>,
    pub took: Span,
}

/// A request that got no answer.
#[derive(Clone, Debug)]
pub(crate) struct Unanswered {
    pub failure: Failure,
    pub route: Option<Route>,
    pub took: Span,
}

type Reply = oneshot::Sender<Result<Answer<Bytes>, Unanswered>>;

enum Command {
    Send { frame: Bytes, answered: bool, started: Instant, reply: Reply },
    Break(Failure),
}

impl Connection {
    /// Takes over an open socket; its task belongs to the current host.
    pub fn new(stream: Stream, options: ConnectionOptions) -> Connection {
        let (commands, queue) = mpsc::unbounded_channel();
        let broken = Arc::new(OnceLock::new());
        let driver = Driver {
            stream,
            queue,
            queue_closed: false,
            output: VecDeque::new(),
            input: BytesMut::new(),
            unwritten: VecDeque::new(),
            in_flight: VecDeque::new(),
            next_id: 0,
            broken: broken.clone(),
            receive_bytes_max: options.receive_bytes_max,
        };
        tokio::spawn(driver.run());
        Connection {
            commands,
            permits: Arc::new(Semaphore::new(options.max_in_flight.max(1))),
            broken,
            options: Arc::new(options),
        }
    }

    /// How long a request of no particular kind may wait for its answer.
    pub fn request_timeout(&self) -> Duration {
        self.options.request_timeout
    }

    /// Whether it can carry another request.
    pub fn is_open(&self) -> bool {
        self.broken.get().is_none()
    }

    /// When it broke, if it did.
    pub fn broken_at(&self) -> Option<Instant> {
        self.broken.get().map(|(at, _)| *at)
    }

    /// Requests without an answer.
    pub fn in_flight(&self) -> usize {
        self.options.max_in_flight.max(1) - self.permits.available_permits()
    }

    /// Sends `request` and waits as long as for any for its answer.
    pub async fn request<R: Request>(
        &self,
        request: &R,
        version: i16,
    ) -> Result<Answer<R::Response>, Unanswered> {
        self.request_within(request, version, self.options.request_timeout).await
    }

    /// Sends `request` and waits for its answer; without an answer in time the connection is given up.
    pub async fn request_within<R: Request>(
        &self,
        request: &R,
        version: i16,
        longest: Duration,
    ) -> Result<Answer<R::Response>, Unanswered> {
        let answer = self.exchange(request, version, true, longest).await?;
        match frame::decode::<R>(answer.response, version) {
            Ok(response) => Ok(Answer { response, route: answer.route, took: answer.took }),
            Err(failure) => {
                self.give_up(failure.clone());
                Err(Unanswered { failure, route: answer.route, took: answer.took })
            }
        }
    }

    /// Sends `request`, to which the protocol has no answer (Produce with acks=0), and waits until it is written.
    pub async fn send<R: Request>(
        &self,
        request: &R,
        version: i16,
        longest: Duration,
    ) -> Result<Answer<()>, Unanswered> {
        let answer = self.exchange(request, version, false, longest).await?;
        Ok(Answer { response: (), route: answer.route, took: answer.took })
    }

    /// As [`Connection::request`], with the answer's bytes.
    pub async fn exchange<R: Request>(
        &self,
        request: &R,
        version: i16,
        answered: bool,
        longest: Duration,
    ) -> Result<Answer<Bytes>, Unanswered> {
        let started = Instant::now();
        let unanswered = |failure| Unanswered { failure, route: None, took: crate::dial::since(started) };
        // The correlation id is set by the task, which knows the order on the wire.
        let frame = frame::encode(request, version, 0, &self.options.client_id).map_err(|problem| {
            unanswered(Failure::new(
                Outcome::ProtocolMismatch,
                format!("the request cannot be encoded: {problem}"),
            ))
        })?;
        let (until, waited) = (started + longest, longest);
        let Ok(_permit) = timeout_at(until, self.permits.acquire()).await else {
            let explanation = format!("the requests before it were not answered within {waited:?}");
            return Err(unanswered(Failure::new(Outcome::Timeout, explanation)));
        };
        let (reply, mut wait) = oneshot::channel();
        let command = Command::Send { frame, answered, started, reply };
        if self.commands.send(command).is_err() {
            return Err(unanswered(self.why_broken()));
        }
        let answer = match timeout_at(until, &mut wait).await {
            Ok(answer) => answer,
            Err(_) => {
                let explanation =
                    format!("the broker took the connection and did not answer within {waited:?}");
                self.give_up(Failure::new(Outcome::Timeout, explanation));
                // The task fails the request with that, and knows the route.
                wait.await
            }
        };
        answer.unwrap_or_else(|_| Err(unanswered(self.why_broken())))
    }

    /// Closes the connection; what is in flight fails with `failure`, as the Java client and librdkafka do after a
    /// request timeout, since later answers on it would come late too.
    pub fn give_up(&self, failure: Failure) {
        let _ = self.broken.set((Instant::now(), failure.clone()));
        let _ = self.commands.send(Command::Break(failure));
    }

    fn why_broken(&self) -> Failure {
        let unknown = || Failure::new(Outcome::Refused, "the connection is closed");
        self.broken.get().map_or_else(unknown, |(_, failure)| failure.clone())
    }
}

struct Pending {
    correlation_id: i32,
    started: Instant,
    reply: Reply,
}

/// A request of which bytes are still to be written, and who waits for no more than that.
struct Unwritten {
    bytes: usize,
    unanswered: Option<(Instant, Reply)>,
}

struct Driver {
    stream: Stream,
    queue: mpsc::UnboundedReceiver<Command>,
    queue_closed: bool,
    output: VecDeque<Bytes>,
    unwritten: VecDeque<Unwritten>,
    input: BytesMut,
    in_flight: VecDeque<Pending>,
    next_id: i32,
    broken: Arc<OnceLock<(Instant, Failure)>>,
    receive_bytes_max: u32,
}

impl Driver {
    async fn run(mut self) {
        let end = std::future::poll_fn(|cx| self.poll(cx)).await;
        let Err(failure) = end else { return };
        let _ = self.broken.set((Instant::now(), failure.clone()));
        self.queue.close();
        let route = route(&self.stream);
        let unwritten = self.unwritten.drain(..).filter_map(|request| request.unanswered);
        let in_flight = self.in_flight.drain(..).map(|pending| (pending.started, pending.reply));
        for (started, reply) in in_flight.chain(unwritten) {
            let took = crate::dial::since(started);
            let _ = reply.send(Err(Unanswered { failure: failure.clone(), route: route.clone(), took }));
        }
    }

    /// Moves what can be moved; ready when the connection is over (`Ok` if nobody needs it any more).
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.take_commands(cx)?;
        self.write(cx)?;
        self.read(cx)?;
        let awaited = self.in_flight.iter().any(|pending| !pending.reply.is_closed());
        if self.queue_closed && !awaited && self.unwritten.is_empty() {
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }

    fn take_commands(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        while !self.queue_closed {
            match self.queue.poll_recv(cx) {
                Poll::Ready(Some(Command::Send { frame, answered, started, reply })) => {
                    self.enqueue(frame, answered, started, reply);
                }
                Poll::Ready(Some(Command::Break(failure))) => return Err(failure),
                Poll::Ready(None) => self.queue_closed = true,
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    fn enqueue(&mut self, frame: Bytes, answered: bool, started: Instant, reply: Reply) {
        self.next_id = self.next_id.wrapping_add(1) & i32::MAX;
        let correlation_id = self.next_id;
        // The request header is: length (4 bytes), API key (2), version (2), correlation id (4).
        let mut frame = BytesMut::from(frame);
        if let Some(field) = frame.get_mut(8..12) {
            field.copy_from_slice(&correlation_id.to_be_bytes());
        }
        let bytes = frame.len();
        self.output.push_back(frame.freeze());
        if answered {
            self.in_flight.push_back(Pending { correlation_id, started, reply });
            self.unwritten.push_back(Unwritten { bytes, unanswered: None });
        } else {
            self.unwritten.push_back(Unwritten { bytes, unanswered: Some((started, reply)) });
        }
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        while let Some(chunk) = self.output.front_mut() {
            match Pin::new(&mut self.stream).poll_write(cx, chunk) {
                Poll::Ready(Ok(0)) => return Err(self.lost(&io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => {
                    chunk.advance(written);
                    if chunk.is_empty() {
                        self.output.pop_front();
                    }
                    self.note_written(written);
                }
                Poll::Ready(Err(error)) => return Err(self.lost(&error)),
                Poll::Pending => break,
            }
        }
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(Err(error)) => Err(self.lost(&error)),
            _ => Ok(()),
        }
    }

    fn note_written(&mut self, mut written: usize) {
        while let Some(request) = self.unwritten.front_mut() {
            let part = request.bytes.min(written);
            request.bytes -= part;
            written -= part;
            if request.bytes > 0 {
                return;
            }
            if let Some((started, reply)) = self.unwritten.pop_front().and_then(|request| request.unanswered)
            {
                let (route, took) = (route(&self.stream), crate::dial::since(started));
                let _ = reply.send(Ok(Answer { response: Bytes::new(), route, took }));
            }
        }
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        loop {
            self.input.reserve(READ_BYTES);
            match pin!(self.stream.read_buf(&mut self.input)).poll(cx) {
                Poll::Ready(Ok(0)) => return Err(self.ended()),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Err(self.lost(&error)),
                Poll::Pending => return Ok(()),
            }
            while let Some(frame) = frame::take(&mut self.input, self.receive_bytes_max)? {
                self.answer(frame)?;
            }
        }
    }

    fn answer(&mut self, frame: Bytes) -> Result<(), Failure> {
        let received = frame::correlation_id(&frame);
        let expected = self.in_flight.front().map(|pending| pending.correlation_id);
        let Some(pending) = self.in_flight.pop_front_if(|pending| pending.correlation_id == received) else {
            let expected =
                expected.map_or("no request is in flight".to_owned(), |id| format!("{id} was expected"));
            return Err(Failure::new(
                Outcome::ProtocolMismatch,
                format!("the answer is not Kafka: it has correlation id {received}, {expected}"),
            ));
        };
        let (route, took) = (route(&self.stream), crate::dial::since(pending.started));
        let _ = pending.reply.send(Ok(Answer { response: frame, route, took }));
        Ok(())
    }

    fn lost(&self, error: &io::Error) -> Failure {
        Failure::of_io(
            error,
            format!("the connection broke with {} requests in flight: {error}", self.in_flight.len()),
        )
    }

    fn ended(&self) -> Failure {
        let rest = match self.input.len() {
            0 => String::new(),
            bytes => format!(
                ", after {bytes} bytes that are no whole answer; {}",
                frame::read_as_text(&self.input)
            ),
        };
        let explanation =
            format!("the peer closed the connection with {} requests in flight{rest}", self.in_flight.len());
        let outcome = match self.input.first_chunk() {
            // Less than a frame arrived, but its beginning is already no Kafka.
            Some(b"HTTP" | [0x15 | 0x16, 3, ..]) => Outcome::ProtocolMismatch,
            _ => Outcome::Refused,
        };
        Failure::new(outcome, explanation)
    }
}
