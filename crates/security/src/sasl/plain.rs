//! PLAIN (RFC 4616): one message, `[authorization identity] NUL user NUL password`.

use super::SaslError;

/// The client's message.
pub(super) fn message(user: &str, password: &str) -> Vec<u8> {
    let mut message = vec![0];
    message.extend_from_slice(user.as_bytes());
    message.push(0);
    message.extend_from_slice(password.as_bytes());
    message
}

/// User and password of a client's message. An authorization identity other than the user is refused: nobody
/// may act as somebody else.
pub(super) fn parse(message: &[u8]) -> Result<(&str, &str), SaslError> {
    let text = std::str::from_utf8(message).map_err(|_| SaslError::Malformed("PLAIN is UTF-8"))?;
    let mut parts = text.split('\0');
    let (Some(identity), Some(user), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(SaslError::Malformed("PLAIN has three parts"));
    };
    if user.is_empty() || password.is_empty() {
        return Err(SaslError::Malformed("PLAIN has a user and a password"));
    }
    if !identity.is_empty() && identity != user {
        return Err(SaslError::WrongCredentials);
    }
    Ok((user, password))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_garbage_is_not() {
        assert_eq!(parse(&message("tim", "tanstaaftanstaaf")), Ok(("tim", "tanstaaftanstaaf")));
        // RFC 4616, section 4, and its identity made equal to the user.
        assert_eq!(parse(b"Ursel\0Kurt\0xipj3plmq"), Err(SaslError::WrongCredentials));
        assert_eq!(parse(b"Kurt\0Kurt\0xipj3plmq"), Ok(("Kurt", "xipj3plmq")));
        for garbage in [&b""[..], b"\0a", b"\0\0\0", b"\0a\0", b"\0\0b", b"\0a\0b\0c", b"\0\xff\0b"] {
            assert!(matches!(parse(garbage), Err(SaslError::Malformed(_))), "{garbage:?}");
        }
    }
}
