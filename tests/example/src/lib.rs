//! Two small clients as somebody's own project has them, written over any stream of bytes: in production over
//! `tokio::net::TcpStream`, in the tests of this crate over `hopwise::net::TcpStream`.

pub mod http;
pub mod kafka;
