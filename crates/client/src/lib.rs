//! A Kafka client that routes as real ones do and records every request.
//!
//! It begins at any bootstrap address, learns the brokers' advertised addresses, opens a connection per broker,
//! sends each request to the partition's leader, and after a failure refreshes its metadata and tries again until
//! the delivery timeout. Each attempt gives a [`RequestRecord`]: where it went, by which hops, how long resolving,
//! connecting and the request took, and whether the broker reached is the one that advertised the address.
//!
//! It sees the network as sockets only (`hopwise_fabric::net`), so the same code runs in virtual time and on the
//! machine's own sockets. [`trial`] tries one listener at a time, for `hopwise check`.
//!
//! How it waits, retries, resolves and connects is a [`Behaviour`], of which each [`Profile`] is one.
//!
//! Left out: consumer groups, offsets in transactions, fetching from the closest replica (KIP-392),
//! compression; see [`Behaviour`] for what profiles leave out.

mod address;
mod addresses;
mod attempt;
mod backoff;
mod batch;
pub mod behaviour;
mod bugs;
mod call;
mod candidates;
mod client;
mod cluster;
mod connection;
mod consumer;
mod dial;
mod error;
mod frame;
mod handshake;
mod hint;
mod idempotent;
mod lane;
mod link;
mod operations;
mod options;
mod outcome;
mod producer;
pub mod profiles;
mod record;
mod refresh;
mod security;
mod suspicion;
pub mod trial;

pub use address::{AddressError, HostPort};
pub use batch::{FetchedRecord, Record};
pub use behaviour::Behaviour;
#[cfg(feature = "bugs")]
pub use bugs::Bugs;
pub use client::Client;
pub use cluster::{AdvertisedBroker, Cluster, PartitionView, TopicView};
pub use consumer::{Consumer, Reset};
pub use error::{ClientError, meaning as error_meaning};
pub use handshake::ApiVersions;
pub use idempotent::IdempotentProducer;
pub use operations::{Acks, Coordinator, FetchOptions, Fetched, OffsetSpec};
pub use options::{Names, Options, Whois};
pub use outcome::{Failure, Outcome};
pub use producer::{Delivery, Producer, partition_of};
pub use profiles::Profile;
pub use record::{Counters, Observer, Operation, RequestRecord};
pub use security::Security;
