//! Who a connection's client is.

use std::fmt;

/// A client's identity, as access rules name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Principal {
    /// Nobody has proved anything.
    Anonymous,
    /// A user who has proved who they are, by password or by certificate.
    User(String),
}

impl fmt::Display for Principal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Principal::Anonymous => formatter.write_str("User:ANONYMOUS"),
            Principal::User(name) => write!(formatter, "User:{name}"),
        }
    }
}
