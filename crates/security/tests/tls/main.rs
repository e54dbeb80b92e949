//! Handshakes between our two ends, over a pipe whose bytes are kept.

mod determinism;
mod failures;
mod handshakes;
mod key_log;
mod support;
