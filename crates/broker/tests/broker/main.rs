//! Brokers on the machine's loopback addresses, with volumes in memory, asked over real sockets.

mod cluster;
mod config;
mod fake_kafka;
mod groups;
mod hostile;
mod http;
mod http_proxy;
mod metadata;
mod records;
mod rest;
mod restart;
mod sasl;
mod schema_registry;
mod support;
mod tls;
mod transactions;
