//! The errors of Linux's socket calls.
//!
//! Source of the numbers: include/uapi/asm-generic/errno-base.h and errno.h.

use std::io;

use crate::icmp::Unreachable;

/// An error number of Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(i32);

impl Errno {
    pub(crate) const EACCES: Errno = Errno(13);
    pub(crate) const EINVAL: Errno = Errno(22);
    pub(crate) const EPIPE: Errno = Errno(32);
    pub(crate) const EDESTADDRREQ: Errno = Errno(89);
    pub(crate) const EMSGSIZE: Errno = Errno(90);
    pub(crate) const EAFNOSUPPORT: Errno = Errno(97);
    pub(crate) const EADDRINUSE: Errno = Errno(98);
    pub(crate) const EADDRNOTAVAIL: Errno = Errno(99);
    pub(crate) const ENETUNREACH: Errno = Errno(101);
    pub(crate) const ECONNRESET: Errno = Errno(104);
    pub(crate) const ENOTCONN: Errno = Errno(107);
    pub(crate) const ETIMEDOUT: Errno = Errno(110);
    pub(crate) const ECONNREFUSED: Errno = Errno(111);
    pub(crate) const EHOSTUNREACH: Errno = Errno(113);

    /// What Linux makes of an ICMP error (net/ipv4/icmp.c `icmp_err_convert`, net/ipv6/icmp.c `tab_unreach`);
    /// `None` for what is no error of the socket.
    pub(crate) fn of_icmp(why: Unreachable, v6: bool) -> Option<Errno> {
        match why {
            Unreachable::Network => Some(Errno::ENETUNREACH),
            Unreachable::Host | Unreachable::TimeExceeded => Some(Errno::EHOSTUNREACH),
            Unreachable::Port => Some(Errno::ECONNREFUSED),
            Unreachable::Prohibited if v6 => Some(Errno::EACCES),
            Unreachable::Prohibited => Some(Errno::EHOSTUNREACH),
            Unreachable::TooBig { .. } => None,
        }
    }

    fn kind(self) -> io::ErrorKind {
        match self {
            Errno::EACCES => io::ErrorKind::PermissionDenied,
            Errno::EINVAL => io::ErrorKind::InvalidInput,
            Errno::EPIPE => io::ErrorKind::BrokenPipe,
            Errno::EADDRINUSE => io::ErrorKind::AddrInUse,
            Errno::EADDRNOTAVAIL => io::ErrorKind::AddrNotAvailable,
            Errno::ENETUNREACH => io::ErrorKind::NetworkUnreachable,
            Errno::ECONNRESET => io::ErrorKind::ConnectionReset,
            Errno::ENOTCONN => io::ErrorKind::NotConnected,
            Errno::ETIMEDOUT => io::ErrorKind::TimedOut,
            Errno::ECONNREFUSED => io::ErrorKind::ConnectionRefused,
            Errno::EHOSTUNREACH => io::ErrorKind::HostUnreachable,
            _ => io::ErrorKind::Other,
        }
    }
}

impl From<Errno> for io::Error {
    /// On Linux the error is the very one that tokio returns; elsewhere the numbers differ, and the kind is kept.
    fn from(errno: Errno) -> io::Error {
        if cfg!(target_os = "linux") { io::Error::from_raw_os_error(errno.0) } else { errno.kind().into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn numbers_and_kinds_agree_with_the_machine() {
        let with_kinds = [
            Errno::EACCES,
            Errno::EINVAL,
            Errno::EPIPE,
            Errno::EADDRINUSE,
            Errno::EADDRNOTAVAIL,
            Errno::ENETUNREACH,
            Errno::ECONNRESET,
            Errno::ENOTCONN,
            Errno::ETIMEDOUT,
            Errno::ECONNREFUSED,
            Errno::EHOSTUNREACH,
        ];
        for errno in with_kinds {
            assert_eq!(io::Error::from(errno).kind(), errno.kind(), "{errno:?}");
        }
    }
}
