//! TLS and SASL for both ends of a connection, and the certificates that they need.
