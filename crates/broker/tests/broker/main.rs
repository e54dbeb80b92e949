//! Brokers on the machine's loopback addresses, with volumes in memory, asked over real sockets.

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
