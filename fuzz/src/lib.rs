//! Hostile bytes for every listener of a running broker.
//!
//! Three brokers run in this process on loopback addresses. Records are produced to a replicated topic; then one
//! broker's listeners are sent good requests that were damaged: cut off, with flipped bits, with lengths and counts
//! that claim more than there is, spliced, repeated, nested deeply, or left open. What must hold all the time:
//! nothing panics, the brokers go on to acknowledge records, memory stays bounded, and at the end every record that
//! was acknowledged is there.
//!
//! The damage is drawn from a seed. A run is bound by time and so is not repeated exactly; the inputs before a
//! failure are therefore written to a file. These are plain programs rather than libFuzzer targets: what is tested
//! is a set of tasks behind sockets, which an in-process function of bytes would not reach (decision 006).

pub mod cluster;
pub mod corpus;
pub mod memory;
pub mod mutation;
pub mod run;
