//! An RPC listener: a connection, and a greeting if the caller knows how brokers greet each other.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::{Answer, Exchanged, Trial, TrialOptions, attempt};
use crate::security::{Stream, route};
use crate::{Failure, HostPort, Outcome, frame};

/// No greeting is longer.
const REPLY_BYTES_MAX: usize = 1024 * 1024;

/// What the bytes so far are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The beginning of a reply.
    More,
    /// The whole reply.
    Accepted,
    /// No reply to the greeting, and why.
    Rejected(String),
}

/// Judges the bytes that came back so far.
pub type ReplyCheck = Arc<dyn Fn(&[u8]) -> Reply + Send + Sync>;

/// A greeting and how its reply is known.
#[derive(Clone)]
pub struct RpcExchange {
    /// The bytes to send.
    pub greeting: Bytes,
    /// Judges the bytes that came back so far.
    pub judge: ReplyCheck,
}

/// Tries an RPC listener; without an exchange, an open connection is all that is asked.
pub async fn try_rpc(address: &HostPort, greeting: Option<&RpcExchange>, options: &TrialOptions) -> Trial {
    attempt(address, options, async |mut stream| {
        let result = match greeting {
            None => Ok(Bytes::new()),
            Some(exchange) => timeout(options.request_timeout, greet(&mut stream, exchange))
                .await
                .unwrap_or_else(|_| Err(silent(options))),
        };
        Exchanged { result: result.map(Answer::Rpc), seen: None, route: route(&stream) }
    })
    .await
}

async fn greet(stream: &mut Stream, exchange: &RpcExchange) -> Result<Bytes, Failure> {
    let lost = |error: io::Error| {
        Failure::of_io(&error, format!("the connection broke during the greeting: {error}"))
    };
    stream.write_all(&exchange.greeting).await.map_err(lost)?;
    stream.flush().await.map_err(lost)?;
    let mut reply = BytesMut::new();
    loop {
        if stream.read_buf(&mut reply).await.map_err(lost)? == 0 {
            let bytes = reply.len();
            return Err(Failure::new(
                Outcome::Refused,
                format!("the peer closed the connection after {bytes} bytes of its reply to the greeting"),
            ));
        }
        match (exchange.judge)(&reply) {
            Reply::Accepted => return Ok(reply.freeze()),
            Reply::More if reply.len() < REPLY_BYTES_MAX => {}
            Reply::More => {
                let explanation =
                    format!("no reply to the greeting within its first {REPLY_BYTES_MAX} bytes");
                return Err(Failure::new(Outcome::ProtocolMismatch, explanation));
            }
            Reply::Rejected(why) => {
                let explanation =
                    format!("the reply to the greeting is not one: {why}; {}", frame::read_as_text(&reply));
                return Err(Failure::new(Outcome::ProtocolMismatch, explanation));
            }
        }
    }
}

fn silent(options: &TrialOptions) -> Failure {
    let explanation = format!(
        "the peer took the connection and did not answer the greeting within {:?}",
        options.request_timeout
    );
    Failure::new(Outcome::Timeout, explanation)
}
