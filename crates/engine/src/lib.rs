//! The lowest floor of hopwise: virtual time, the event queue, hosts and their tasks, named randomness and the
//! event log.
//!
//! The engine knows nothing of IP. What moves in virtual time is a [`World`] (the fabric is the one there is);
//! the engine drives it and tokio's clock together, so that a task reads exact virtual time from
//! `tokio::time::Instant::now()`, and `tokio::time::sleep`, `timeout`, `tokio::sync` and `select!` work as usual
//! (timers keep tokio's step of 1 ms; events do not).
//!
//! ```
//! use hopwise_engine::{Simulation, Span};
//!
//! let slept = Simulation::new(1).run((), || async {
//!     tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
//!     hopwise_engine::now()
//! });
//! assert_eq!(slept.unwrap(), hopwise_engine::Time::ZERO + Span::from_secs(3600));
//! ```

pub mod clock;
mod context;
mod driver;
pub mod host;
pub mod log;
mod queue;
pub mod random;
pub mod scheduling;
mod simulation;
mod time;
mod turns;

pub use context::{
    Clock, is_running, keep_wall_time, notable, notable_events, now, record, seed, stream, trace_hash,
    watch_notable, with_log,
};
pub use driver::World;
pub use host::HostId;
pub use queue::Queue;
pub use simulation::{Pace, Simulation, Stalled};
pub use time::{Span, Time};
