//! How a broker comes to its cluster: found it with the other seeds, or join it.
//!
//! Source: redpanda.md 2.3. A broker whose own advertised RPC address is in the seed list asks every seed
//! until all have answered. If none has a cluster, they found one, with ids by place in the list; every
//! founder computes the same cluster id from the founders' uuids. If one has, the broker is either a founder
//! that is late (its uuid is among the founders) or a joiner, who gets the next free id from the controller.
//! A broker with a membership on its volume asks nobody. Every broker that starts registers with the controller
//! (`update_node_configuration`), which makes its addresses known to all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use super::command::{Applied, Command};
use super::identity::Membership;
use super::members::Member;
use super::submit::submit;
use crate::config::HostPort;
use crate::node::Node;
use crate::rpc::client::CallError;
use crate::rpc::{JoiningMember, Refusal, Reply, Request};
use crate::start::BrokerError;

/// redpanda.md 2.3: `cluster_bootstrap_info` and `join_node` have 2 s.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two rounds over seeds that did not answer.
const FOUND_RETRY: Duration = Duration::from_millis(250);
/// Between two attempts to register that were refused at once.
const REGISTER_RETRY: Duration = Duration::from_millis(200);
/// redpanda.md 4.4: `join_retry_timeout_ms`.
const JOIN_RETRY: Duration = Duration::from_secs(5);

/// What a seed says of itself.
#[derive(Clone)]
struct Seed {
    member: Member,
    wanted_id: Option<i32>,
    seed_servers: Vec<HostPort>,
    membership: Option<Membership>,
    members: Vec<Member>,
}

/// Answers `BootstrapInfo`.
pub(crate) fn bootstrap_info(node: &Node) -> Reply {
    Reply::BootstrapInfo {
        member: node.as_member(),
        wanted_id: node.config.node_id,
        seed_servers: node.config.seed_servers.clone(),
        membership: node.membership(),
        members: node.with_cluster(|cluster| cluster.members.to_vec()),
    }
}

/// Takes over what is known of other brokers, and keeps it on the volume.
pub(crate) fn remember(node: &Arc<Node>, members: Vec<Member>) {
    node.with_cluster(|cluster| cluster.unsaved |= cluster.members.merge(members));
    super::take_over_members(node);
}

/// Makes the broker a member of its cluster. Waits as long as that takes.
///
/// # Errors
/// What no waiting can mend: see [`BrokerError`].
pub(crate) async fn find_cluster(node: &Arc<Node>) -> Result<(), BrokerError> {
    if let Some(membership) = node.membership() {
        return match node.config.node_id {
            Some(id) if id != membership.id => {
                Err(BrokerError::NodeIdChanged { configured: id, persisted: membership.id })
            }
            _ => Ok(()),
        };
    }
    let seeds = &node.config.seed_servers;
    if seeds.is_empty() {
        if !node.config.empty_seed_starts_cluster {
            return Err(BrokerError::NoSeeds);
        }
        return found(node, vec![own_seed(node)]);
    }
    if !seeds.contains(&node.config.advertised_rpc_api) {
        return join(node).await;
    }
    let answers = ask_all(node).await;
    for seed in answers.values() {
        let Some(membership) = &seed.membership else { continue };
        let own = node.identity().uuid;
        let Some((_, id)) = membership.founders.iter().find(|(uuid, _)| *uuid == own) else {
            return join(node).await;
        };
        // A founder that the others did not wait for takes its place.
        remember(node, seed.members.clone());
        let membership = Membership { id: *id, ..membership.clone() };
        return node.become_member(membership).map_err(BrokerError::Volume);
    }
    let founders = seeds.iter().filter_map(|address| answers.get(address).cloned()).collect::<Vec<_>>();
    if let Some((address, _)) = answers.iter().find(|(_, seed)| seed.seed_servers != *seeds) {
        return Err(BrokerError::SeedsDiffer { seed: address.clone() });
    }
    found(node, founders)
}

fn own_seed(node: &Node) -> Seed {
    Seed {
        member: node.as_member(),
        wanted_id: node.config.node_id,
        seed_servers: node.config.seed_servers.clone(),
        membership: None,
        members: Vec::new(),
    }
}

/// Asks every seed until all have answered, or one has a cluster.
async fn ask_all(node: &Arc<Node>) -> BTreeMap<HostPort, Seed> {
    let own = &node.config.advertised_rpc_api;
    let mut answers = BTreeMap::from([(own.clone(), own_seed(node))]);
    loop {
        let missing: Vec<&HostPort> =
            node.config.seed_servers.iter().filter(|address| !answers.contains_key(address)).collect();
        if missing.is_empty() {
            return answers;
        }
        let asked = missing.into_iter().map(|address| async move {
            let answer = node.call_address(address, None, Request::BootstrapInfo, &[], ASK_TIMEOUT).await;
            (address.clone(), answer)
        });
        for (address, answer) in join_all(asked).await {
            match answer {
                Ok((Reply::BootstrapInfo { member, wanted_id, seed_servers, membership, members }, _)) => {
                    answers.insert(address, Seed { member, wanted_id, seed_servers, membership, members });
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "a seed does not answer yet"),
            }
        }
        if answers.values().any(|seed| seed.membership.is_some()) {
            return answers;
        }
        if answers.len() < node.config.seed_servers.len() {
            sleep(FOUND_RETRY).await;
        }
    }
}

fn found(node: &Arc<Node>, seeds: Vec<Seed>) -> Result<(), BrokerError> {
    let id = |index: usize, seed: &Seed| seed.wanted_id.unwrap_or(index as i32);
    let founders: Vec<(Uuid, i32)> =
        seeds.iter().enumerate().map(|(index, seed)| (seed.member.uuid, id(index, seed))).collect();
    let own = node.identity().uuid;
    let own_id = founders.iter().find(|(uuid, _)| *uuid == own).map_or(0, |(_, id)| *id);
    let mut ids: Vec<i32> = founders.iter().map(|(_, id)| *id).collect();
    ids.sort_unstable();
    if let Some(twice) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(BrokerError::JoinRefused {
            reason: format!("two founders are configured as id {}", twice[0]),
        });
    }
    let members = seeds.into_iter().zip(&founders).map(|(seed, (_, id))| Member { id: *id, ..seed.member });
    remember(node, members.collect());
    let membership = Membership { cluster: cluster_uuid(&founders), id: own_id, founders };
    node.become_member(membership).map_err(BrokerError::Volume)
}

/// The same for every founder.
fn cluster_uuid(founders: &[(Uuid, i32)]) -> Uuid {
    let mix = |sum: u128, (uuid, _): &(Uuid, i32)| {
        (sum ^ uuid.as_u128()).wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645)
    };
    let mixed = founders.iter().fold(founders.len() as u128, mix);
    uuid::Builder::from_random_bytes(mixed.to_be_bytes()).into_uuid()
}

async fn join(node: &Arc<Node>) -> Result<(), BrokerError> {
    let joining = JoiningMember { wanted_id: node.config.node_id, member: node.as_member() };
    let others =
        node.config.seed_servers.iter().filter(|address| **address != node.config.advertised_rpc_api);
    let others: Vec<&HostPort> = others.collect();
    loop {
        for address in &others {
            let request = Request::Join(joining.clone());
            match node.call_address(address, None, request, &[], ASK_TIMEOUT).await {
                Ok((Reply::Joined { id, cluster, members }, _)) => {
                    remember(node, members);
                    let membership = Membership { cluster, id, founders: Vec::new() };
                    return node.become_member(membership).map_err(BrokerError::Volume);
                }
                Ok(_) => {}
                Err(CallError::Refused { refusal: Refusal::Invalid(reason), .. }) => {
                    return Err(BrokerError::JoinRefused { reason });
                }
                Err(error) => tracing::debug!(%error, "cannot join yet"),
            }
        }
        sleep(JOIN_RETRY).await;
    }
}

/// Lets a broker in: the controller registers it.
pub(crate) async fn admit(node: &Arc<Node>, joining: JoiningMember) -> Result<Reply, Refusal> {
    let member = Member { id: joining.wanted_id.unwrap_or(-1), ..joining.member };
    let deadline = Instant::now() + ASK_TIMEOUT;
    let Applied::Member(member) = submit(node, Command::RegisterMember { member }, deadline).await? else {
        return Err(Refusal::NotController);
    };
    let cluster = node.membership().map(|membership| membership.cluster).ok_or(Refusal::NotReady)?;
    let members = node.with_cluster(|cluster| cluster.members.to_vec());
    Ok(Reply::Joined { id: member.id, cluster, members })
}

/// Registers the broker with the controller, again and again until that has an effect. A broker that is registered
/// already does not wait for it; one that is not waits for its own membership (redpanda.md 2.3).
///
/// # Errors
/// The cluster does not take the broker.
pub(crate) async fn register(node: &Arc<Node>) -> Result<(), BrokerError> {
    let own = node.id();
    let is_known = node.with_cluster(|cluster| cluster.state.members.contains_key(&own));
    if is_known {
        let node = Arc::clone(node);
        node.clone().tasks.spawn(async move {
            if let Err(error) = register_and_wait(&node).await {
                tracing::error!(%error, "the cluster does not take over this broker's addresses");
            }
        });
        return Ok(());
    }
    register_and_wait(node).await
}

async fn register_and_wait(node: &Arc<Node>) -> Result<(), BrokerError> {
    loop {
        let started = Instant::now();
        let command = Command::RegisterMember { member: node.as_member() };
        match submit(node, command, started + JOIN_RETRY).await {
            Ok(_) => return Ok(()),
            Err(Refusal::Invalid(reason)) => return Err(BrokerError::JoinRefused { reason }),
            Err(refusal) => tracing::debug!(%refusal, "not registered yet"),
        }
        sleep_until(started + REGISTER_RETRY).await;
    }
}
