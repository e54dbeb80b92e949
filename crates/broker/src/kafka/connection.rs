//! One connection: frames in, answers out, in the order of the requests.
//!
//! Produce requests may overlap, so that one that waits for its followers does not hold up the next; they are
//! started in order, which keeps the order of the records. Every other request waits until those before it
//! are answered, as brokers do. While requests run at most one more is read, so a connection costs a bounded
//! amount of memory. A client that goes away ends its waiting Fetch; all else that it asked for is completed.
//! A throttled connection is not read for as long as its client was told (KIP-219).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{FuturesOrdered, StreamExt};
use kafka_protocol::messages::ApiKey;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until};

use super::sasl::{Gate, Passed};
use super::{ConnectionError, Session, answer};
use crate::status::Counter;

/// Produce requests of one connection that run at the same time.
const OVERLAPPING_MAX: usize = 64;
/// Bytes of overlapping Produce requests; a single one may be larger.
const OVERLAPPING_BYTES_MAX: usize = 16 << 20;
/// Bytes that are read at a time at least.
const READ_BYTES: usize = 16 << 10;
/// Key, version and correlation id are there in every request.
const REQUEST_BYTES_MIN: usize = 8;
/// Memory that a frame's claimed length is given before its bytes arrive.
const ADVANCE_BYTES_MAX: usize = 1 << 20;

type Running = Pin<Box<dyn Future<Output = Finished> + Send>>;

struct Finished {
    answer: Result<Option<Bytes>, ConnectionError>,
    frame_bytes: usize,
}

/// Requests that were started and not yet answered.
struct InFlight {
    requests: FuturesOrdered<Running>,
    bytes: usize,
    /// The key they have in common, if there are any.
    key: i16,
}

impl InFlight {
    /// Whether a request of this key and size may start before the others are answered.
    fn admits(&self, key: i16, bytes: usize) -> bool {
        let produce = ApiKey::Produce as i16;
        self.requests.is_empty()
            || (self.key == produce
                && key == produce
                && self.requests.len() < OVERLAPPING_MAX
                && self.bytes + bytes <= OVERLAPPING_BYTES_MAX)
    }

    fn start(&mut self, session: &Session, frame: Bytes) {
        self.key = key(&frame);
        self.bytes += frame.len();
        let (session, key, begun) = (session.clone(), self.key, Instant::now());
        self.requests.push_back(Box::pin(async move {
            let (node, frame_bytes) = (Arc::clone(&session.node), frame.len());
            let answer = answer(session, frame).await;
            let answer_bytes = answer.as_ref().ok().and_then(Option::as_ref).map_or(0, Bytes::len);
            node.metrics.kafka_answered(key, frame_bytes, answer_bytes, begun.elapsed());
            Finished { answer, frame_bytes }
        }));
    }

    async fn next(&mut self) -> Option<Finished> {
        let finished = self.requests.next().await?;
        self.bytes -= finished.frame_bytes;
        Some(finished)
    }
}

/// The key of a request; every frame that is taken has one (see [`Frames::next`]).
fn key(frame: &[u8]) -> i16 {
    frame.first_chunk().map_or(-1, |bytes| i16::from_be_bytes(*bytes))
}

/// Answers a connection's requests until the client closes it.
///
/// # Errors
/// Why the broker closes it.
pub(super) async fn answer_all<S>(
    session: &Session,
    stream: &mut S,
    mut gate: Gate,
) -> Result<(), ConnectionError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut frames = Frames::new(session.node.config.cluster.kafka_request_max_bytes);
    let mut in_flight = InFlight { requests: FuturesOrdered::new(), bytes: 0, key: -1 };
    let mut waiting: Option<Bytes> = None;
    let mut muted_until: Option<Instant> = None;
    loop {
        if waiting.is_none() {
            frames.bytes_min = if gate.takes_tokens() { 0 } else { REQUEST_BYTES_MIN };
            waiting = frames.next()?;
        }
        if let Some(frame) = waiting.take_if(|frame| in_flight.admits(key(frame), frame.len())) {
            // Muted or not: what was read before is answered.
            match gate.take(session, frame)? {
                Passed::Through(frame) => in_flight.start(session, frame),
                Passed::Answered(answer) => {
                    write(session, stream, Finished { answer: Ok(Some(answer)), frame_bytes: 0 }).await?;
                    continue;
                }
            }
        }
        let reads = waiting.is_none() && muted_until.is_none();
        tokio::select! {
            biased;
            Some(finished) = in_flight.next(), if !in_flight.requests.is_empty() => {
                write(session, stream, finished).await?;
                muted_until = later(muted_until, session.take_throttle());
            }
            read = frames.fill(stream), if reads => {
                if read? == 0 {
                    return finish(session, stream, &frames, in_flight).await;
                }
            }
            () = sleep_until(muted_until.unwrap_or_else(Instant::now)), if muted_until.is_some() => {
                muted_until = None;
            }
        }
    }
}

/// The later end of being muted.
fn later(until: Option<Instant>, throttle: Duration) -> Option<Instant> {
    if throttle.is_zero() { until } else { until.max(Some(Instant::now() + throttle)) }
}

/// The client sends nothing more: what it asked for is completed, and answered if it still listens.
async fn finish<S: AsyncWrite + Unpin>(
    session: &Session,
    stream: &mut S,
    frames: &Frames,
    mut in_flight: InFlight,
) -> Result<(), ConnectionError> {
    if !frames.is_empty() {
        let error = io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended within a request");
        return Err(error.into());
    }
    if in_flight.key == ApiKey::Fetch as i16 {
        return Ok(());
    }
    let mut listens = true;
    while let Some(finished) = in_flight.next().await {
        if listens {
            listens = write(session, stream, finished).await.is_ok();
        }
    }
    Ok(())
}

async fn write<S: AsyncWrite + Unpin>(
    session: &Session,
    stream: &mut S,
    finished: Finished,
) -> Result<(), ConnectionError> {
    let answer = finished.answer?;
    session.node.status.add(Counter::KafkaRequests, 1);
    if let Some(answer) = answer {
        stream.write_all(&answer).await?;
        stream.flush().await?;
    }
    Ok(())
}

/// Bytes on their way to becoming frames.
struct Frames {
    buffer: BytesMut,
    bytes_min: usize,
    bytes_max: usize,
}

impl Frames {
    fn new(bytes_max: u32) -> Frames {
        Frames { buffer: BytesMut::new(), bytes_min: REQUEST_BYTES_MIN, bytes_max: bytes_max as usize }
    }

    fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The claimed length of the next frame.
    fn length(&self) -> Result<Option<usize>, ConnectionError> {
        let Some(length) = self.buffer.first_chunk() else { return Ok(None) };
        let claimed = i32::from_be_bytes(*length);
        match usize::try_from(claimed) {
            Ok(length) if (self.bytes_min..=self.bytes_max).contains(&length) => Ok(Some(length)),
            _ => Err(ConnectionError::Malformed(format!(
                "a request claims {claimed} bytes; {} to {} are taken",
                self.bytes_min, self.bytes_max
            ))),
        }
    }

    /// The next frame, if all of it has arrived.
    fn next(&mut self) -> Result<Option<Bytes>, ConnectionError> {
        let Some(length) = self.length()? else { return Ok(None) };
        if self.buffer.len() < 4 + length {
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(4 + length).freeze();
        Ok(Some(frame.split_off(4)))
    }

    /// Reads what there is; 0 at the end. Memory grows with what arrives, not with what a length claims. May
    /// be dropped and called again.
    async fn fill<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> Result<usize, ConnectionError> {
        let missing = self.length()?.map_or(0, |length| (4 + length).saturating_sub(self.buffer.len()));
        let advance = missing.min(ADVANCE_BYTES_MAX.max(self.buffer.len()));
        self.buffer.reserve(advance.max(READ_BYTES));
        Ok(stream.read_buf(&mut self.buffer).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_from_what_arrives() {
        let mut frames = Frames::new(100);
        frames.buffer.extend_from_slice(&[0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7]);
        assert!(frames.next().unwrap().is_none());
        frames.buffer.extend_from_slice(&[8, 0, 0]);
        assert_eq!(frames.next().unwrap().unwrap()[..], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert!(frames.next().unwrap().is_none());
        assert!(!frames.is_empty());
    }

    #[test]
    fn a_length_out_of_range_is_refused_as_soon_as_it_is_read() {
        for length in [-1i32, 0, 7, 101, i32::MAX] {
            let mut frames = Frames::new(100);
            frames.buffer.extend_from_slice(&length.to_be_bytes());
            assert!(frames.next().is_err(), "{length}");
        }
    }

    #[test]
    fn only_produce_overlaps_and_only_so_far() {
        let waiting = || -> Running { Box::pin(std::future::pending()) };
        let mut in_flight = InFlight { requests: FuturesOrdered::new(), bytes: 0, key: -1 };
        assert!(in_flight.admits(3, usize::MAX));
        in_flight.key = 0;
        in_flight.requests.push_back(waiting());
        assert!(in_flight.admits(0, 10) && !in_flight.admits(1, 10));
        assert!(!in_flight.admits(0, OVERLAPPING_BYTES_MAX + 1));
        (1..OVERLAPPING_MAX).for_each(|_| in_flight.requests.push_back(waiting()));
        assert!(!in_flight.admits(0, 10));
        in_flight.key = 1;
        assert!(!in_flight.admits(0, 10) && !in_flight.admits(1, 10));
    }
}
