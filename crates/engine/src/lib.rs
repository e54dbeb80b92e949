//! The lowest floor of hopwise: virtual time, the event queue, hosts and their tasks, named randomness and the
//! event log.
//!
//! The engine knows nothing of IP. What moves in virtual time is a [`World`] (the fabric is the one there is);
//! the engine drives it and tokio's clock together, so that a task reads exact virtual time from
//! `tokio::time::Instant::now()`.

mod queue;
mod time;

pub use queue::Queue;
pub use time::{Span, Time};
