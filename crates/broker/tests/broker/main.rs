//! Brokers on the machine's loopback addresses, with volumes in memory, asked over real sockets.

mod admin;
mod admin_brokers;
mod admin_config;
mod admin_metrics;
mod admin_partitions;
mod admin_redirects;
mod admin_security;
mod cluster;
mod config;
mod groups;
mod hostile;
mod http;
mod metadata;
mod records;
mod restart;
mod sasl;
mod support;
mod tls;
mod transactions;
