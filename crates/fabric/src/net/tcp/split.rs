//! The two halves of a TCP stream.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::TcpStream;

/// The reading half of a stream, borrowed. Mirrors `tokio::net::tcp::ReadHalf`.
#[derive(Debug)]
pub struct ReadHalf<'a>(&'a TcpStream);

/// The writing half of a stream, borrowed. Mirrors `tokio::net::tcp::WriteHalf`.
#[derive(Debug)]
pub struct WriteHalf<'a>(&'a TcpStream);

/// The reading half of a stream. Mirrors `tokio::net::tcp::OwnedReadHalf`.
#[derive(Debug)]
pub struct OwnedReadHalf(Arc<TcpStream>);

/// The writing half of a stream; dropping it sends FIN. Mirrors `tokio::net::tcp::OwnedWriteHalf`.
#[derive(Debug)]
pub struct OwnedWriteHalf {
    stream: Arc<TcpStream>,
    shut_down_on_drop: bool,
}

/// The two halves are of different streams; both are given back.
#[derive(Debug)]
pub struct ReuniteError(pub OwnedReadHalf, pub OwnedWriteHalf);

impl fmt::Display for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the two halves are of different streams")
    }
}

impl std::error::Error for ReuniteError {}

pub(super) fn split(stream: &mut TcpStream) -> (ReadHalf<'_>, WriteHalf<'_>) {
    (ReadHalf(stream), WriteHalf(stream))
}

pub(super) fn into_split(stream: TcpStream) -> (OwnedReadHalf, OwnedWriteHalf) {
    let stream = Arc::new(stream);
    (OwnedReadHalf(stream.clone()), OwnedWriteHalf { stream, shut_down_on_drop: true })
}

impl OwnedReadHalf {
    /// Puts the halves together again.
    ///
    /// # Errors
    /// [`ReuniteError`] if they are of different streams.
    pub fn reunite(self, mut other: OwnedWriteHalf) -> Result<TcpStream, ReuniteError> {
        if !Arc::ptr_eq(&self.0, &other.stream) {
            return Err(ReuniteError(self, other));
        }
        other.shut_down_on_drop = false;
        drop(other);
        Ok(Arc::into_inner(self.0).expect("a stream has two halves"))
    }
}

impl OwnedWriteHalf {
    /// Puts the halves together again.
    ///
    /// # Errors
    /// [`ReuniteError`] if they are of different streams.
    pub fn reunite(self, other: OwnedReadHalf) -> Result<TcpStream, ReuniteError> {
        other.reunite(self)
    }

    /// Drops the half without sending FIN.
    pub fn forget(mut self) {
        self.shut_down_on_drop = false;
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        if self.shut_down_on_drop {
            // Nobody is left to hear of an error.
            let _ = self.stream.shut_down_shared();
        }
    }
}

/// What both owned and borrowed halves offer of the stream's own methods.
macro_rules! stream_of {
    ($half:ty, $self:ident => $stream:expr) => {
        impl $half {
            /// The peer's address.
            ///
            /// # Errors
            /// As [`TcpStream::peer_addr`].
            pub fn peer_addr(&$self) -> io::Result<SocketAddr> {
                $stream.peer_addr()
            }

            /// The local address.
            ///
            /// # Errors
            /// As [`TcpStream::local_addr`].
            pub fn local_addr(&$self) -> io::Result<SocketAddr> {
                $stream.local_addr()
            }
        }

        impl AsRef<TcpStream> for $half {
            fn as_ref(&$self) -> &TcpStream {
                &$stream
            }
        }
    };
}

stream_of!(ReadHalf<'_>, self => self.0);
stream_of!(WriteHalf<'_>, self => self.0);
stream_of!(OwnedReadHalf, self => self.0);
stream_of!(OwnedWriteHalf, self => self.stream);

macro_rules! reads {
    ($half:ty) => {
        impl $half {
            /// Waits for bytes and copies them without taking them.
            ///
            /// # Errors
            /// As [`TcpStream::peek`].
            pub async fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0.peek(buffer).await
            }

            /// Waits until a read does not wait.
            ///
            /// # Errors
            /// As [`TcpStream::readable`].
            pub async fn readable(&self) -> io::Result<()> {
                self.0.readable().await
            }

            /// Reads without waiting.
            ///
            /// # Errors
            /// As [`TcpStream::try_read`].
            pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0.try_read(buffer)
            }
        }

        impl AsyncRead for $half {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                self.0.poll_read_shared(cx, buffer)
            }
        }
    };
}

reads!(ReadHalf<'_>);
reads!(OwnedReadHalf);

fn stream(half: &impl AsRef<TcpStream>) -> &TcpStream {
    half.as_ref()
}

macro_rules! writes {
    ($half:ty) => {
        impl $half {
            /// Waits until a write does not wait.
            ///
            /// # Errors
            /// As [`TcpStream::writable`].
            pub async fn writable(&self) -> io::Result<()> {
                self.as_ref().writable().await
            }

            /// Writes without waiting.
            ///
            /// # Errors
            /// As [`TcpStream::try_write`].
            pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
                self.as_ref().try_write(bytes)
            }
        }

        impl AsyncWrite for $half {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                stream(&*self).poll_write_shared(cx, bytes)
            }

            fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(stream(&*self).shut_down_shared())
            }
        }
    };
}

writes!(WriteHalf<'_>);
writes!(OwnedWriteHalf);
