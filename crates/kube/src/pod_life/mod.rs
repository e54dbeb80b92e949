//! The life of a pod's containers as the kubelet decides it: probes, restarts, termination, phase.
//!
//! Pure state machines: the instant is an argument, nothing runs by itself. `cluster` performs what they ask for.
//! Source: kubernetes.md 1.8, 8, 9.1, 9.2.

pub mod back_off;
pub mod phase;
pub mod probe;
pub mod termination;
