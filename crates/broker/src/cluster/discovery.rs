//! How a broker comes to its cluster: found it with the other seeds, or join it.
//!
//! Source: redpanda.md 2.3. A broker whose own advertised RPC address is in the seed list asks every seed
//! until all have answered. If none has a cluster, they found one, with ids by place in the list; every
//! founder computes the same cluster id from the founders' uuids. If one has, the broker is either a founder
//! that is late (its uuid is among the founders) or a joiner, who gets the next free id from the controller.
//! A broker with a membership on its volume asks nobody.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::gossip;
use super::identity::Membership;
use super::members::Member;
use super::state::State;
use crate::config::HostPort;
use crate::node::Node;
use crate::rpc::client::CallError;
use crate::rpc::{JoiningMember, Refusal, Reply, Request};
use crate::start::BrokerError;

/// redpanda.md 2.3: `cluster_bootstrap_info` and `join_node` have 2 s.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two rounds over seeds that did not answer.
const FOUND_RETRY: Duration = Duration::from_millis(250);
/// redpanda.md 4.4: `join_retry_timeout_ms`.
const JOIN_RETRY: Duration = Duration::from_secs(5);

/// What a seed says of itself.
#[derive(Clone)]
struct Seed {
    member: Member,
    wanted_id: Option<i32>,
    seed_servers: Vec<HostPort>,
    membership: Option<Membership>,
}

/// Answers `BootstrapInfo`.
pub(crate) fn bootstrap_info(node: &Node) -> Reply {
    Reply::BootstrapInfo {
        member: node.as_member(),
        wanted_id: node.config.node_id,
        seed_servers: node.config.seed_servers.clone(),
        membership: node.membership(),
    }
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
    for (address, seed) in &answers {
        let Some(membership) = &seed.membership else { continue };
        let own = node.identity().uuid;
        return match membership.founders.iter().find(|(uuid, _)| *uuid == own) {
            Some((_, id)) => adopt(node, address, Membership { id: *id, ..membership.clone() }).await,
            None => join(node).await,
        };
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
                Ok((Reply::BootstrapInfo { member, wanted_id, seed_servers, membership }, _)) => {
                    answers.insert(address, Seed { member, wanted_id, seed_servers, membership });
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
    gossip::remember(node, members.collect(), State::default());
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

/// A founder that the others did not wait for: takes its place, and their tables.
async fn adopt(node: &Arc<Node>, address: &HostPort, membership: Membership) -> Result<(), BrokerError> {
    let own = Member { id: membership.id, ..node.as_member() };
    loop {
        let request = Request::Sync { members: vec![own.clone()], state: State::default() };
        match node.call_address(address, None, request, &[], ASK_TIMEOUT).await {
            Ok((Reply::Synced { members, state }, _)) => {
                gossip::remember(node, members, state);
                return node.become_member(membership).map_err(BrokerError::Volume);
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "the cluster's tables are not there yet"),
        }
        sleep(FOUND_RETRY).await;
    }
}

async fn join(node: &Arc<Node>) -> Result<(), BrokerError> {
    let joining =
        JoiningMember { wanted_id: node.config.node_id, forwarded: false, member: node.as_member() };
    let others =
        node.config.seed_servers.iter().filter(|address| **address != node.config.advertised_rpc_api);
    let others: Vec<&HostPort> = others.collect();
    loop {
        for address in &others {
            let request = Request::Join(joining.clone());
            match node.call_address(address, None, request, &[], ASK_TIMEOUT).await {
                Ok((Reply::Joined { id, cluster, members, state }, _)) => {
                    gossip::remember(node, members, state);
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

/// Lets a broker in, as the controller; any other broker passes the request on.
pub(crate) async fn admit(node: &Arc<Node>, joining: JoiningMember) -> Result<Reply, Refusal> {
    let own_id = node.id();
    let controller = node.with_cluster(|cluster| {
        let id = cluster.members.controller(Instant::now())?;
        cluster.members.get(id).cloned()
    });
    let controller = controller.ok_or(Refusal::NotReady)?;
    if controller.id != own_id {
        if joining.forwarded {
            return Err(Refusal::NotController);
        }
        let request = Request::Join(JoiningMember { forwarded: true, ..joining });
        return match node.call(&controller, request, &[], ASK_TIMEOUT).await {
            Ok((reply, _)) => Ok(reply),
            Err(error) => Err(error.refusal().cloned().unwrap_or(Refusal::TimedOut)),
        };
    }
    let member = assign(node, joining)?;
    let tables = gossip::tables(node);
    gossip::push(node);
    let cluster = node.membership().map(|membership| membership.cluster).ok_or(Refusal::NotReady)?;
    Ok(Reply::Joined { id: member.id, cluster, members: tables.members, state: tables.state })
}

fn assign(node: &Arc<Node>, joining: JoiningMember) -> Result<Member, Refusal> {
    let member = node.with_cluster(|cluster| {
        let known = cluster.members.by_uuid(joining.member.uuid).map(|member| member.id);
        let id = known.or(joining.wanted_id).unwrap_or_else(|| cluster.members.next_id());
        let taken = cluster.members.get(id).is_some_and(|member| member.uuid != joining.member.uuid);
        if taken || joining.wanted_id.is_some_and(|wanted| wanted != id) {
            let wanted = joining.wanted_id.unwrap_or(id);
            return Err(Refusal::Invalid(format!(
                "id {wanted} belongs to another volume, or this volume to another id"
            )));
        }
        let member = Member { id, ..joining.member };
        cluster.unsaved |= cluster.members.merge(vec![member.clone()]);
        Ok(member)
    })?;
    node.save_tables().map_err(|error| Refusal::Storage(error.to_string()))?;
    Ok(member)
}
