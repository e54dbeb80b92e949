//! A consumer that is a member of a group.
//!
//! [`assignment`] shares partitions out, [`membership`] says what a member does next, both pure; [`requests`]
//! asks the coordinator; [`consumer`] puts them together. Source: Kafka protocol guide, "Group Membership
//! API"; redpanda.md 2.1 (`consumer_*`). Left out: static membership, cooperative rebalancing.

pub(crate) mod assignment;
mod consumer;
mod membership;
mod requests;

pub(crate) use consumer::Consumer;
