//! Users that exist without anybody asking the broker for them: the one of `RP_BOOTSTRAP_USER`, and those that
//! a sidecar creates from the file of users that is mounted into it.
//!
//! A user that exists is left alone, as both do. Every broker of a cluster tries; the first one wins.

use std::sync::Arc;
use std::time::Duration;

use hopwise_security::sasl::{ITERATIONS_DEFAULT, Mechanism, ScramCredential};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::users::stored;
use crate::cluster::command::Command;
use crate::cluster::submit::submit;
use crate::node::Node;

/// Between two attempts to create users that failed.
const RETRY: Duration = Duration::from_secs(1);
/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A user with its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootstrapUser {
    /// Its name.
    pub name: String,
    /// Its password.
    pub password: String,
    /// For which SCRAM mechanism.
    pub mechanism: Mechanism,
}

impl BootstrapUser {
    /// Reads `user:password[:mechanism]`; `None` for anything else. Without a mechanism it is `default`.
    pub fn parse(text: &str, default: Mechanism) -> Option<BootstrapUser> {
        let text = text.trim();
        let (name, rest) = text.split_once(':').filter(|(name, _)| !name.is_empty())?;
        // A password may hold colons; what follows the last one is a mechanism if it is the name of one.
        let last = rest.rsplit_once(':').and_then(|(password, name)| Some((password, name.parse().ok()?)));
        let (password, mechanism) = last.unwrap_or((rest, default));
        if password.is_empty() || mechanism == Mechanism::Plain {
            return None;
        }
        Some(BootstrapUser { name: name.to_owned(), password: password.to_owned(), mechanism })
    }
}

/// Makes the users exist, now and whenever they change.
pub(crate) async fn keep(node: Arc<Node>, mut users: watch::Receiver<Vec<BootstrapUser>>) {
    loop {
        let wanted = users.borrow_and_update().clone();
        for user in wanted {
            while !exists(&node, &user.name) && !create(&node, &user).await {
                sleep(RETRY).await;
            }
        }
        if users.changed().await.is_err() {
            return;
        }
    }
}

fn exists(node: &Node, name: &str) -> bool {
    node.with_cluster(|cluster| cluster.state.users.contains_key(name))
}

async fn create(node: &Arc<Node>, user: &BootstrapUser) -> bool {
    let credential =
        ScramCredential::new(user.mechanism, &user.password, ITERATIONS_DEFAULT, &node.randomness);
    let command = Command::UpsertUser { name: user.name.clone(), credential: stored(credential) };
    match submit(node, command, Instant::now() + PATIENCE).await {
        Ok(_) => true,
        Err(refusal) => {
            tracing::warn!(user = user.name, %refusal, "the user could not be created yet");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_read_with_and_without_a_mechanism() {
        let parse = |text| BootstrapUser::parse(text, Mechanism::ScramSha512);
        let user = |name: &str, password: &str, mechanism| {
            Some(BootstrapUser { name: name.to_owned(), password: password.to_owned(), mechanism })
        };
        assert_eq!(parse("a:b"), user("a", "b", Mechanism::ScramSha512));
        assert_eq!(parse(" a:b:SCRAM-SHA-256\n"), user("a", "b", Mechanism::ScramSha256));
        assert_eq!(parse("a:b:c"), user("a", "b:c", Mechanism::ScramSha512));
        for text in ["", "a", ":b", "a:", "a::SCRAM-SHA-256", "a:b:PLAIN"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
