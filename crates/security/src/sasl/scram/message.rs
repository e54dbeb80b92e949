//! The four messages of SCRAM (RFC 5802, section 7) as text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::sasl::SaslError;

/// "n,," of the client's first message in base64: no channel binding, no other identity.
const NO_BINDING: &str = "biws";

/// The client's first message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ClientFirst {
    pub user: String,
    pub nonce: String,
    /// The part that is signed: everything after the header.
    pub bare: String,
    /// What the client's last message must repeat.
    pub binding: String,
}

/// The server's first message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ServerFirst {
    pub nonce: String,
    pub salt: Vec<u8>,
    pub iterations: u32,
}

/// The client's last message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ClientFinal {
    pub binding: String,
    pub nonce: String,
    pub proof: Vec<u8>,
    /// The part that is signed: everything before the proof.
    pub without_proof: String,
}

fn text(message: &[u8]) -> Result<&str, SaslError> {
    std::str::from_utf8(message).map_err(|_| SaslError::Malformed("SCRAM messages are UTF-8"))
}

fn attribute<'a>(part: Option<&'a str>, name: &str, missing: &'static str) -> Result<&'a str, SaslError> {
    let value = part.and_then(|part| part.strip_prefix(name)?.strip_prefix('='));
    value.ok_or(SaslError::Malformed(missing))
}

fn decoded(value: &str) -> Result<Vec<u8>, SaslError> {
    STANDARD.decode(value).map_err(|_| SaslError::Malformed("not base64"))
}

/// A user name may hold neither `,` nor `=` on the wire.
fn escaped(user: &str) -> String {
    user.replace('=', "=3D").replace(',', "=2C")
}

fn unescaped(name: &str) -> Result<String, SaslError> {
    let mut user = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, after)) = rest.split_once('=') {
        user.push_str(before);
        let (code, after) = after.split_at_checked(2).ok_or(SaslError::Malformed("a broken user name"))?;
        user.push(match code {
            "2C" => ',',
            "3D" => '=',
            _ => return Err(SaslError::Malformed("a broken user name")),
        });
        rest = after;
    }
    user.push_str(rest);
    Ok(user)
}

impl ClientFirst {
    pub fn new(user: &str, nonce: &str) -> ClientFirst {
        ClientFirst {
            user: user.to_owned(),
            nonce: nonce.to_owned(),
            bare: format!("n={},r={nonce}", escaped(user)),
            binding: NO_BINDING.to_owned(),
        }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        format!("n,,{}", self.bare).into_bytes()
    }

    pub fn parse(message: &[u8]) -> Result<ClientFirst, SaslError> {
        let text = text(message)?;
        let mut header = text.splitn(3, ',');
        let (binding, identity) = (header.next(), header.next());
        let bare = header.next().ok_or(SaslError::Malformed("the header has three parts"))?;
        let binding = match binding {
            Some("n") => "n",
            Some("y") => "y",
            _ => return Err(SaslError::Malformed("channel binding is not offered")),
        };
        let identity = identity.unwrap_or_default();
        let mut parts = bare.split(',');
        let user = unescaped(attribute(parts.next(), "n", "the user is missing")?)?;
        let nonce = attribute(parts.next(), "r", "the nonce is missing")?;
        if user.is_empty() || nonce.is_empty() {
            return Err(SaslError::Malformed("the user or the nonce is empty"));
        }
        if !identity.is_empty()
            && unescaped(attribute(Some(identity), "a", "the identity is broken")?)? != user
        {
            return Err(SaslError::WrongCredentials);
        }
        let header = format!("{binding},{identity},");
        Ok(ClientFirst {
            user,
            nonce: nonce.to_owned(),
            bare: bare.to_owned(),
            binding: STANDARD.encode(header),
        })
    }
}

impl ServerFirst {
    pub fn to_text(&self) -> String {
        format!("r={},s={},i={}", self.nonce, STANDARD.encode(&self.salt), self.iterations)
    }

    pub fn parse(message: &[u8]) -> Result<ServerFirst, SaslError> {
        let text = text(message)?;
        if let Some(error) = text.strip_prefix("e=") {
            return Err(SaslError::Refused(error.to_owned()));
        }
        let mut parts = text.split(',');
        let nonce = attribute(parts.next(), "r", "the nonce is missing")?;
        let salt = decoded(attribute(parts.next(), "s", "the salt is missing")?)?;
        let iterations = attribute(parts.next(), "i", "the number of iterations is missing")?;
        let iterations =
            iterations.parse().map_err(|_| SaslError::Malformed("not a number of iterations"))?;
        if salt.is_empty() {
            return Err(SaslError::Malformed("the salt is empty"));
        }
        Ok(ServerFirst { nonce: nonce.to_owned(), salt, iterations })
    }
}

impl ClientFinal {
    pub fn new(binding: &str, nonce: &str) -> ClientFinal {
        ClientFinal {
            binding: binding.to_owned(),
            nonce: nonce.to_owned(),
            proof: Vec::new(),
            without_proof: format!("c={binding},r={nonce}"),
        }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        format!("{},p={}", self.without_proof, STANDARD.encode(&self.proof)).into_bytes()
    }

    pub fn parse(message: &[u8]) -> Result<ClientFinal, SaslError> {
        let text = text(message)?;
        let (without_proof, proof) =
            text.rsplit_once(",p=").ok_or(SaslError::Malformed("the proof is missing"))?;
        let mut parts = without_proof.split(',');
        let binding = attribute(parts.next(), "c", "the channel binding is missing")?;
        let nonce = attribute(parts.next(), "r", "the nonce is missing")?;
        Ok(ClientFinal {
            binding: binding.to_owned(),
            nonce: nonce.to_owned(),
            proof: decoded(proof)?,
            without_proof: without_proof.to_owned(),
        })
    }
}

/// The server's last message.
pub(crate) fn server_final(signature: &[u8]) -> Vec<u8> {
    format!("v={}", STANDARD.encode(signature)).into_bytes()
}

/// The server's signature in its last message.
pub(crate) fn parse_server_final(message: &[u8]) -> Result<Vec<u8>, SaslError> {
    let text = text(message)?;
    if let Some(error) = text.strip_prefix("e=") {
        return Err(SaslError::Refused(error.to_owned()));
    }
    decoded(attribute(text.split(',').next(), "v", "the server's signature is missing")?)
}

/// What both ends sign.
pub(crate) fn auth_message(client_first_bare: &str, server_first: &str, without_proof: &str) -> Vec<u8> {
    format!("{client_first_bare},{server_first},{without_proof}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_commas_and_equals_signs_survive() {
        let first = ClientFirst::new("a,b=c", "nonce");
        assert_eq!(first.bare, "n=a=2Cb=3Dc,r=nonce");
        assert_eq!(ClientFirst::parse(&first.to_bytes()).unwrap(), first);
        for broken in ["n,,n=a=2,r=x", "n,,n=a=,r=x", "n,,n=a=2D,r=x"] {
            assert!(ClientFirst::parse(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    #[test]
    fn headers_are_repeated_and_other_identities_refused() {
        assert_eq!(ClientFirst::parse(b"y,,n=u,r=x").unwrap().binding, "eSws");
        assert_eq!(ClientFirst::parse(b"n,a=u,n=u,r=x,tokenauth=true").unwrap().binding, "bixhPXUs");
        assert_eq!(ClientFirst::parse(b"n,a=v,n=u,r=x"), Err(SaslError::WrongCredentials));
    }

    #[test]
    fn garbage_is_refused() {
        for garbage in ["", "n", "n,,", "p=tls-unique,,n=u,r=x", "n,,m=ext,n=u,r=x", "n,,n=u", "n,,n=,r=x"] {
            assert!(ClientFirst::parse(garbage.as_bytes()).is_err(), "{garbage}");
        }
        for garbage in ["", "r=x", "r=x,s=!,i=1", "r=x,s=QQ==,i=-1", "r=x,s=,i=4096"] {
            assert!(ServerFirst::parse(garbage.as_bytes()).is_err(), "{garbage}");
        }
        for garbage in ["", "c=biws,r=x", "c=biws,p=QQ==", "r=x,c=biws,p=QQ==", "c=biws,r=x,p=!"] {
            assert!(ClientFinal::parse(garbage.as_bytes()).is_err(), "{garbage}");
        }
        assert_eq!(parse_server_final(b"e=other-error"), Err(SaslError::Refused("other-error".to_owned())));
        assert!(parse_server_final(b"\xff").is_err());
    }
}
