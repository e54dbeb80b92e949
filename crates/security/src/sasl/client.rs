//! The client's end.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::scram::credential::{check_iterations, client_proof, salted, same};
use super::scram::message::{self, ClientFinal, ClientFirst, ServerFirst};
use super::{Mechanism, SaslError, plain};
use crate::randomness::Randomness;

/// Who a client says it is. Clones share the salted password, which is calculated once per salt.
#[derive(Clone)]
pub struct Login {
    mechanism: Mechanism,
    user: String,
    password: String,
    salted: Arc<Mutex<Option<Salted>>>,
}

struct Salted {
    salt: Vec<u8>,
    iterations: u32,
    salted: Vec<u8>,
}

impl Login {
    /// A user with its password.
    pub fn new(mechanism: Mechanism, user: impl Into<String>, password: impl Into<String>) -> Login {
        Login { mechanism, user: user.into(), password: password.into(), salted: Arc::new(Mutex::new(None)) }
    }

    /// The mechanism.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// The user.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The password.
    pub fn password(&self) -> &str {
        &self.password
    }

    fn salted(&self, salt: &[u8], iterations: u32) -> Vec<u8> {
        let mut known = self.salted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.as_ref()
            && known.salt == salt
            && known.iterations == iterations
        {
            return known.salted.clone();
        }
        let salted = salted(self.mechanism, &self.password, salt, iterations);
        *known = Some(Salted { salt: salt.to_vec(), iterations, salted: salted.clone() });
        salted
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Login({} as {:?})", self.mechanism, self.user)
    }
}

impl PartialEq for Login {
    fn eq(&self, other: &Login) -> bool {
        (self.mechanism, &self.user, &self.password) == (other.mechanism, &other.user, &other.password)
    }
}

impl Eq for Login {}

/// One authentication.
pub struct ClientSession {
    login: Login,
    state: State,
}

enum State {
    First(ClientFirst),
    Proven { server_signature: Vec<u8> },
    Plain,
    Over,
}

/// What a client does with a server's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientStep {
    /// Send this and wait for the next message.
    Respond(Vec<u8>),
    /// The server has accepted the client, and is who it says.
    Done,
}

impl ClientSession {
    /// An authentication and its first message; the nonce comes from `randomness`.
    pub fn start(login: Login, randomness: &Randomness) -> (ClientSession, Vec<u8>) {
        ClientSession::with_nonce(login, &randomness.nonce())
    }

    fn with_nonce(login: Login, nonce: &str) -> (ClientSession, Vec<u8>) {
        if login.mechanism == Mechanism::Plain {
            let token = plain::message(&login.user, &login.password);
            return (ClientSession { login, state: State::Plain }, token);
        }
        let first = ClientFirst::new(&login.user, nonce);
        let token = first.to_bytes();
        (ClientSession { login, state: State::First(first) }, token)
    }

    /// Takes a server's message.
    ///
    /// # Errors
    /// The authentication has failed and is over.
    pub fn step(&mut self, token: &[u8]) -> Result<ClientStep, SaslError> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Plain => Ok(ClientStep::Done),
            State::First(first) => self.prove(&first, token),
            State::Proven { server_signature } => {
                if same(&message::parse_server_final(token)?, &server_signature) {
                    return Ok(ClientStep::Done);
                }
                Err(SaslError::ServerUnproven)
            }
            State::Over => Err(SaslError::Malformed("the authentication is over")),
        }
    }

    fn prove(&mut self, first: &ClientFirst, token: &[u8]) -> Result<ClientStep, SaslError> {
        let server = ServerFirst::parse(token)?;
        if !server.nonce.starts_with(&first.nonce) || server.nonce.len() == first.nonce.len() {
            return Err(SaslError::Malformed("the server's nonce does not begin with the client's"));
        }
        let salted = self.login.salted(&server.salt, check_iterations(server.iterations)?);
        let mut last = ClientFinal::new(&first.binding, &server.nonce);
        // What the server has sent is signed as it came.
        let server_first = String::from_utf8_lossy(token);
        let auth_message = message::auth_message(&first.bare, &server_first, &last.without_proof);
        let (proof, server_signature) = client_proof(self.login.mechanism, &salted, &auth_message);
        last.proof = proof;
        self.state = State::Proven { server_signature };
        Ok(ClientStep::Respond(last.to_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sasl::{ITERATIONS_DEFAULT, ScramCredential, ServerSession, ServerStep, Users};

    /// The exchange of RFC 7677, section 3.
    #[test]
    fn the_example_of_rfc_7677() {
        let login = Login::new(Mechanism::ScramSha256, "user", "pencil");
        let (mut session, first) = ClientSession::with_nonce(login, "rOprNGfwEbeRWgbNEkqO");
        assert_eq!(first, b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let challenge =
            b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let expected = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(session.step(challenge), Ok(ClientStep::Respond(expected.as_bytes().to_vec())));
        let last = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(session.step(last), Ok(ClientStep::Done));
        assert!(session.step(last).is_err());
    }

    struct One(ScramCredential);

    impl Users for One {
        fn credential(&self, user: &str, mechanism: Mechanism) -> Option<ScramCredential> {
            (user == "a,b=ü" && mechanism == self.0.mechanism).then(|| self.0.clone())
        }
    }

    #[test]
    fn both_ends_agree_by_both_hashes_and_a_wrong_password_is_told() {
        for mechanism in [Mechanism::ScramSha256, Mechanism::ScramSha512] {
            let randomness = Randomness::from_seed(3);
            let users = One(ScramCredential::new(mechanism, "s€cret", ITERATIONS_DEFAULT, &randomness));
            let attempt = |password: &str| {
                let login = Login::new(mechanism, "a,b=ü", password);
                let (mut client, first) = ClientSession::start(login, &randomness);
                let mut server = ServerSession::new(mechanism, &randomness);
                let ServerStep::Challenge(challenge) = server.step(&first, &users)? else { unreachable!() };
                let ClientStep::Respond(last) = client.step(&challenge)? else { unreachable!() };
                let ServerStep::Done { token, user } = server.step(&last, &users)? else { unreachable!() };
                assert_eq!(client.step(&token)?, ClientStep::Done);
                Ok::<_, SaslError>(user)
            };
            assert_eq!(attempt("s€cret").as_deref(), Ok("a,b=ü"));
            assert_eq!(attempt("secret"), Err(SaslError::WrongCredentials));
        }
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_found_out() {
        let login = Login::new(Mechanism::ScramSha256, "user", "pencil");
        let start = || ClientSession::with_nonce(login.clone(), "abc").0;
        let mut session = start();
        session.step(b"r=abcd,s=QQ==,i=4096").unwrap();
        assert_eq!(session.step(b"v=QQ=="), Err(SaslError::ServerUnproven));
        for bad in [&b"r=abd,s=QQ==,i=4096"[..], b"r=abc,s=QQ==,i=4096", b"r=abcd,s=QQ==,i=99999999"] {
            assert!(matches!(start().step(bad), Err(SaslError::Malformed(_))));
        }
    }
}
