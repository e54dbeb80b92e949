//! The server's end.

use super::scram::message::{self, ClientFinal, ClientFirst, ServerFirst};
use super::{Mechanism, SaslError, ScramCredential, plain};
use crate::randomness::Randomness;

/// The users that a server knows.
pub trait Users {
    /// What is kept of a user's password for one SCRAM mechanism.
    fn credential(&self, user: &str, mechanism: Mechanism) -> Option<ScramCredential>;
}

/// One authentication.
pub struct ServerSession {
    mechanism: Mechanism,
    nonce: String,
    state: State,
}

enum State {
    First,
    Challenged(Box<Challenged>),
    Over,
}

struct Challenged {
    client: ClientFirst,
    credential: ScramCredential,
    nonce: String,
    server_first: String,
}

/// What a server does with a client's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerStep {
    /// Send this and wait for the next message.
    Challenge(Vec<u8>),
    /// The client is who it says. Send this (it may be empty).
    Done {
        /// The last token.
        token: Vec<u8>,
        /// Who the client is.
        user: String,
    },
}

impl ServerSession {
    /// An authentication by a mechanism; its nonce comes from `randomness`.
    pub fn new(mechanism: Mechanism, randomness: &Randomness) -> ServerSession {
        ServerSession::with_nonce(mechanism, randomness.nonce())
    }

    fn with_nonce(mechanism: Mechanism, nonce: String) -> ServerSession {
        ServerSession { mechanism, nonce, state: State::First }
    }

    /// The mechanism.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// Takes a client's message.
    ///
    /// # Errors
    /// The authentication has failed and is over.
    pub fn step(&mut self, token: &[u8], users: &dyn Users) -> Result<ServerStep, SaslError> {
        match (self.mechanism, std::mem::replace(&mut self.state, State::Over)) {
            (Mechanism::Plain, State::First) => check_plain(token, users),
            (_, State::First) => self.challenge(token, users),
            (_, State::Challenged(challenged)) => finish(token, &challenged),
            (_, State::Over) => Err(SaslError::Malformed("the authentication is over")),
        }
    }

    fn challenge(&mut self, token: &[u8], users: &dyn Users) -> Result<ServerStep, SaslError> {
        let client = ClientFirst::parse(token)?;
        let credential = users.credential(&client.user, self.mechanism).ok_or(SaslError::WrongCredentials)?;
        let nonce = format!("{}{}", client.nonce, self.nonce);
        let server_first = ServerFirst {
            nonce: nonce.clone(),
            salt: credential.salt.clone(),
            iterations: credential.iterations,
        }
        .to_text();
        let challenge = server_first.clone().into_bytes();
        self.state = State::Challenged(Box::new(Challenged { client, credential, nonce, server_first }));
        Ok(ServerStep::Challenge(challenge))
    }
}

fn finish(token: &[u8], challenged: &Challenged) -> Result<ServerStep, SaslError> {
    let Challenged { client, credential, nonce, server_first } = challenged;
    let last = ClientFinal::parse(token)?;
    if !is_nonce(&last.nonce, nonce) || last.binding != client.binding {
        return Err(SaslError::Malformed("the nonce or the channel binding is another"));
    }
    let auth_message = message::auth_message(&client.bare, server_first, &last.without_proof);
    if !credential.accepts(&last.proof, &auth_message) {
        return Err(SaslError::WrongCredentials);
    }
    let token = message::server_final(&credential.server_signature(&auth_message));
    Ok(ServerStep::Done { token, user: client.user.clone() })
}

/// Whether a client's last message has the nonce that it was sent, which is the client's own and then the server's.
///
/// RFC 5802 (5.1) wants exactly that nonce. librdkafka before 2.6.1 puts its own before it once more
/// (confluentinc/librdkafka#4895), and distributions still ship it (Debian 12: 2.0.2). Kafka 3.8.1 to 3.9, which
/// check the nonce because of CVE-2024-56128, let such clients in: it is enough that the nonce ends with the one
/// that was sent. Kafka 4.0 no longer does (edenhill/kcat#462); Redpanda does (redpanda-data/redpanda#3015), so that
/// is the rule here. What a replay would lack, the nonce that was sent, is there in full either way.
fn is_nonce(answered: &str, sent: &str) -> bool {
    answered.ends_with(sent)
}

/// PLAIN is checked against what is kept for either SCRAM mechanism.
fn check_plain(token: &[u8], users: &dyn Users) -> Result<ServerStep, SaslError> {
    let (user, password) = plain::parse(token)?;
    let known = [Mechanism::ScramSha256, Mechanism::ScramSha512];
    let mut known = known.into_iter().filter_map(|mechanism| users.credential(user, mechanism));
    if known.any(|credential| credential.matches(password)) {
        return Ok(ServerStep::Done { token: Vec::new(), user: user.to_owned() });
    }
    Err(SaslError::WrongCredentials)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::sasl::scram::credential;

    struct One(ScramCredential);

    impl Users for One {
        fn credential(&self, user: &str, mechanism: Mechanism) -> Option<ScramCredential> {
            (user == "user" && mechanism == self.0.mechanism).then(|| self.0.clone())
        }
    }

    /// The exchange of RFC 7677, section 3.
    #[test]
    fn the_example_of_rfc_7677() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let users = One(ScramCredential::with_salt(Mechanism::ScramSha256, "pencil", 4096, salt));
        let mut session =
            ServerSession::with_nonce(Mechanism::ScramSha256, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".to_owned());
        let challenge = session.step(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", &users).unwrap();
        let expected =
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        assert_eq!(challenge, ServerStep::Challenge(expected.as_bytes().to_vec()));
        let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let done = session.step(last.as_bytes(), &users).unwrap();
        let token = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".to_vec();
        assert_eq!(done, ServerStep::Done { token, user: "user".to_owned() });
        assert!(session.step(last.as_bytes(), &users).is_err());
    }

    /// What a server whose part of the nonce is `srv` says to a client that knows the password, whose own part is
    /// `own` and whose last message has the nonce `answered`, correctly proved.
    fn with_nonce_answered(answered: &str) -> Result<ServerStep, SaslError> {
        let mechanism = Mechanism::ScramSha256;
        let users = One(ScramCredential::with_salt(mechanism, "pencil", 1, vec![1]));
        let mut session = ServerSession::with_nonce(mechanism, "srv".to_owned());
        let client = ClientFirst::new("user", "own");
        let ServerStep::Challenge(challenge) = session.step(&client.to_bytes(), &users).unwrap() else {
            panic!("no challenge")
        };
        let mut last = ClientFinal::new(&client.binding, answered);
        let challenge = String::from_utf8(challenge).unwrap();
        let auth_message = message::auth_message(&client.bare, &challenge, &last.without_proof);
        let salted = credential::salted(mechanism, "pencil", &[1], 1);
        last.proof = credential::client_proof(mechanism, &salted, &auth_message).0;
        session.step(&last.to_bytes(), &users)
    }

    /// confluentinc/librdkafka#4895: before 2.6.1 the client's part is there twice.
    #[test]
    fn a_nonce_may_repeat_the_clients_part_and_no_other_is_accepted() {
        for accepted in ["ownsrv", "ownownsrv"] {
            assert!(matches!(with_nonce_answered(accepted), Ok(ServerStep::Done { .. })), "{accepted}");
        }
        for refused in ["own", "srv", "ownown", "ownsrw", "wonsrv", "ownsrvown", ""] {
            assert!(matches!(with_nonce_answered(refused), Err(SaslError::Malformed(_))), "{refused}");
        }
    }

    #[test]
    fn a_repeated_or_wrong_proof_is_refused() {
        let users = One(ScramCredential::with_salt(Mechanism::ScramSha512, "pencil", 1, vec![1]));
        let mut session = ServerSession::with_nonce(Mechanism::ScramSha512, "s".to_owned());
        assert_eq!(session.step(b"n,,n=other,r=c", &users), Err(SaslError::WrongCredentials));
        let mut session = ServerSession::with_nonce(Mechanism::ScramSha512, "s".to_owned());
        session.step(b"n,,n=user,r=c", &users).unwrap();
        assert_eq!(session.step(b"c=biws,r=cs,p=QQ==", &users), Err(SaslError::WrongCredentials));
        let mut session = ServerSession::with_nonce(Mechanism::ScramSha512, "s".to_owned());
        session.step(b"n,,n=user,r=c", &users).unwrap();
        assert!(matches!(session.step(b"c=biws,r=cx,p=QQ==", &users), Err(SaslError::Malformed(_))));
    }

    #[test]
    fn plain_is_checked_against_either_kind() {
        for mechanism in [Mechanism::ScramSha256, Mechanism::ScramSha512] {
            let users = One(ScramCredential::with_salt(mechanism, "pencil", 1, vec![1]));
            let step = |token: &[u8]| {
                ServerSession::new(Mechanism::Plain, &Randomness::from_seed(1)).step(token, &users)
            };
            assert_eq!(
                step(b"\0user\0pencil"),
                Ok(ServerStep::Done { token: Vec::new(), user: "user".to_owned() })
            );
            assert_eq!(step(b"\0user\0pen"), Err(SaslError::WrongCredentials));
            assert_eq!(step(b"\0nobody\0pencil"), Err(SaslError::WrongCredentials));
        }
    }
}
