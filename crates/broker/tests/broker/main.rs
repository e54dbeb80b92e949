//! Brokers on the machine's loopback addresses, with volumes in memory, asked over real sockets.

mod access;
mod cluster;
mod config;
mod configurations;
mod elections;
mod fetching;
mod groups;
mod hostile;
mod http;
mod metadata;
mod records;
mod rest;
mod restart;
mod sasl;
mod schema_registry;
mod support;
mod tls;
mod topics;
mod transactions;
