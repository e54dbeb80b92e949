//! Requests that give partitions other replicas (KIP-455).

pub(super) mod alter;
pub(super) mod list;
