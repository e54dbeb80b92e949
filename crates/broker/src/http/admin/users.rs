//! The users that SASL knows. Source: redpanda.md 3.1.1, 3.1.3 (writes are sent on to the controller).

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::routing::{get, put};
use hopwise_security::sasl::{ITERATIONS_DEFAULT, Mechanism, ScramCredential as Scram, Users};
use serde::Deserialize;
use tokio::time::Instant;

use super::access::Access;
use super::answer::{AdminError, Answer, empty, ok, read};
use super::redirect::{Origin, to_controller};
use crate::cluster::command::Command;
use crate::cluster::users::ScramCredential;
use crate::node::Node;
use crate::rpc::Refusal;
use crate::security::users::{ClusterUsers, stored};

/// Longest name and password, bytes.
const TEXT_BYTES_MAX: usize = 1024;

pub(super) fn routes(access: &Access) -> Router<Arc<Node>> {
    Router::new()
        .route("/v1/security/users", access.superuser(get(list).post(create)))
        .route("/v1/security/users/{user}", access.superuser(put(update).delete(remove)))
}

/// `include_ephemeral` adds users that brokers make for each other for a moment; there are none.
async fn list(State(node): State<Arc<Node>>) -> Answer {
    ok(node.with_cluster(|cluster| cluster.state.users.keys().cloned().collect::<Vec<_>>()))
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
    password: String,
    algorithm: String,
}

impl User {
    fn mechanism(&self) -> Result<Mechanism, AdminError> {
        match self.algorithm.as_str() {
            "SCRAM-SHA-256" => Ok(Mechanism::ScramSha256),
            "SCRAM-SHA-512" => Ok(Mechanism::ScramSha512),
            other => Err(AdminError::bad_request(format!(
                "the algorithm is SCRAM-SHA-256 or SCRAM-SHA-512, not \"{other}\""
            ))),
        }
    }

    fn check(&self, name: &str) -> Result<(), AdminError> {
        let bad =
            |text: &str| text.is_empty() || text.len() > TEXT_BYTES_MAX || text.contains(char::is_control);
        if bad(name) || bad(&self.password) {
            return Err(AdminError::bad_request(format!(
                "a name and a password have 1 to {TEXT_BYTES_MAX} bytes and no control characters"
            )));
        }
        self.mechanism().map(|_| ())
    }

    fn credential(&self, node: &Node) -> Result<ScramCredential, AdminError> {
        let made = Scram::new(self.mechanism()?, &self.password, ITERATIONS_DEFAULT, &node.randomness);
        Ok(stored(made))
    }
}

/// Whether a user has this password under this algorithm already.
fn is_same(node: &Node, name: &str, user: &User) -> bool {
    let known = user.mechanism().ok().and_then(|mechanism| ClusterUsers(node).credential(name, mechanism));
    known.is_some_and(|known| known.matches(&user.password))
}

/// The same user again is no error; one with another password is.
async fn create(State(node): State<Arc<Node>>, origin: Origin, body: Bytes) -> Answer {
    if let Some(redirect) = to_controller(&node, &origin)? {
        return Ok(redirect);
    }
    let user: User = read(&body)?;
    user.check(&user.username)?;
    let (name, credential) = (user.username.clone(), user.credential(&node)?);
    match super::submit(&node, Command::CreateUser { name, credential }).await {
        Err(_) if is_same(&node, &user.username, &user) => empty(),
        Err(error) => Err(error),
        Ok(_) => empty(),
    }
}

async fn update(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    origin: Origin,
    body: Bytes,
) -> Answer {
    if let Some(redirect) = to_controller(&node, &origin)? {
        return Ok(redirect);
    }
    let user: User = read(&body)?;
    user.check(&name)?;
    if node.with_cluster(|cluster| !cluster.state.users.contains_key(&name)) {
        return Err(AdminError::not_found(format!("there is no user '{name}'")));
    }
    let credential = user.credential(&node)?;
    super::submit(&node, Command::UpsertUser { name, credential }).await?;
    empty()
}

/// A user that is not there is as good as removed.
async fn remove(State(node): State<Arc<Node>>, Path(name): Path<String>, origin: Origin) -> Answer {
    if let Some(redirect) = to_controller(&node, &origin)? {
        return Ok(redirect);
    }
    if node.with_cluster(|cluster| !cluster.state.users.contains_key(&name)) {
        return empty();
    }
    let command = Command::DeleteUser { name, mechanism: None };
    let deadline = Instant::now() + super::SUBMIT_TIMEOUT;
    match crate::cluster::submit::submit(&node, command, deadline).await {
        // Somebody else was faster.
        Err(Refusal::Kafka(code, _)) if code == kafka_protocol::ResponseError::ResourceNotFound.code() => {
            empty()
        }
        Err(refusal) => Err(refusal.into()),
        Ok(_) => empty(),
    }
}
