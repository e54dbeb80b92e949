//! Moving replicas: away from brokers that are lost, to racks that lack one, and to brokers that are new.
//!
//! With mode `off` nothing moves; with `node_add` replicas are spread evenly when a broker has come; with
//! `continuous` the replicas of a broker that is dead for `partition_autobalancing_node_availability_timeout_sec`
//! move to others too, and racks are repaired. A broker that is dead longer than the (normally unset) timeout of
//! `partition_autobalancing_node_autodecommission_timeout_sec` is removed, unless it is in maintenance. While a
//! broker is in maintenance nothing is balanced. Disks that fill up are left out. Source: redpanda.md 4.4, 4.5.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{SUBMIT_TIMEOUT, duration, is_controller, milliseconds, placeable};
use crate::cluster::command::Command;
use crate::cluster::placement::{Loads, Placeable};
use crate::cluster::reassignment::Reason;
use crate::cluster::state::State;
use crate::cluster::submit::submit;
use crate::node::Node;

/// When replicas are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Off,
    NodeAdd,
    Continuous,
}

/// What the balancer goes by.
struct Settings {
    mode: Mode,
    /// Moves under way at a time.
    moves_max: usize,
    availability_timeout: Duration,
    autodecommission_timeout: Option<Duration>,
    racks: bool,
    /// Whether replicas are to be spread evenly, because a broker has come or somebody has asked for it.
    even: bool,
}

/// What the balancer has found.
#[derive(Debug, Default, PartialEq)]
struct Plan {
    commands: Vec<Command>,
    /// Brokers that are dead for too long.
    unavailable: Vec<i32>,
    /// There is something to move and no place for it.
    stalled: bool,
    /// Nothing is left that would make the spread more even.
    is_even: bool,
}

/// What to move. `dead_for` says of the brokers that are not alive since when.
fn plan(state: &State, dead_for: &BTreeMap<i32, Duration>, places: &Placeable, settings: &Settings) -> Plan {
    let mut plan = Plan::default();
    let dead = |limit: Duration| {
        let over = move |(id, silence): (&i32, &Duration)| (*silence >= limit).then_some(*id);
        dead_for.iter().filter_map(over).filter(|id| state.members.contains_key(id))
    };
    if let Some(limit) = settings.autodecommission_timeout {
        let leaves = |id: &i32| state.members[id].takes_replicas() && !state.members[id].maintenance;
        plan.commands.extend(dead(limit).filter(leaves).map(|id| Command::Decommission { id }));
    }
    if settings.mode == Mode::Continuous {
        plan.unavailable = dead(settings.availability_timeout).collect();
    }
    if settings.mode == Mode::Off || state.members.values().any(|member| member.maintenance) {
        plan.is_even = settings.mode == Mode::Off;
        return plan;
    }
    let mut moves = Moves {
        state,
        places,
        loads: Loads::of(state),
        room: settings.moves_max.saturating_sub(state.all_reassignments().count()),
        planned: BTreeSet::new(),
        plan,
    };
    let unavailable: BTreeSet<i32> = moves.plan.unavailable.iter().copied().collect();
    moves.replace(&unavailable);
    if settings.mode == Mode::Continuous && settings.racks {
        moves.repair_racks();
    }
    if settings.even {
        moves.spread();
    } else {
        moves.plan.is_even = true;
    }
    moves.plan
}

/// Moves as they are being planned.
struct Moves<'a> {
    state: &'a State,
    places: &'a Placeable,
    loads: Loads,
    room: usize,
    planned: BTreeSet<(&'a str, i32)>,
    plan: Plan,
}

impl<'a> Moves<'a> {
    /// The partitions that nobody is moving.
    fn at_rest(&self) -> Vec<(&'a str, i32, &'a [i32])> {
        let state = self.state;
        let mut resting = Vec::new();
        for topic in state.topics.all() {
            for (index, replicas) in topic.partitions.iter().enumerate() {
                let place = (topic.name.as_str(), index as i32);
                if state.reassignment(place.0, place.1).is_none() && !self.planned.contains(&place) {
                    resting.push((place.0, place.1, replicas.as_slice()));
                }
            }
        }
        resting
    }

    fn begin(&mut self, topic: &'a str, partition: i32, replicas: Vec<i32>) {
        self.room -= 1;
        self.planned.insert((topic, partition));
        let topic = topic.to_owned();
        self.plan.commands.push(Command::Reassign { topic, partition, replicas, reason: Reason::Balance });
    }

    fn replace(&mut self, lost: &BTreeSet<i32>) {
        for (topic, partition, replicas) in self.at_rest() {
            if self.room == 0 {
                return;
            }
            if !replicas.iter().any(|id| lost.contains(id)) {
                continue;
            }
            match self.places.replace(replicas, lost, &mut self.loads) {
                Some(replicas) => self.begin(topic, partition, replicas),
                None => self.plan.stalled = true,
            }
        }
    }

    fn repair_racks(&mut self) {
        for (topic, partition, replicas) in self.at_rest() {
            if self.room == 0 {
                return;
            }
            if let Some(replicas) = self.places.spread_racks(replicas, &mut self.loads) {
                self.begin(topic, partition, replicas);
            }
        }
    }

    fn spread(&mut self) {
        self.plan.is_even = true;
        for (topic, partition, replicas) in self.at_rest() {
            let Some(replicas) = self.places.even_out(replicas, &mut self.loads) else { continue };
            if self.room == 0 {
                self.plan.is_even = false;
                return;
            }
            self.begin(topic, partition, replicas);
        }
    }
}

/// The balancer of one broker, of use while it is the controller's leader.
#[derive(Default)]
pub(crate) struct Balancer(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    last_tick: Option<Instant>,
    /// The members of the last tick.
    members: Option<BTreeSet<i32>>,
    even_wanted: bool,
    unavailable: Vec<i32>,
    stalled: bool,
}

impl Balancer {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replicas are spread evenly with the next tick.
    pub fn want_even(&self) {
        self.seen().even_wanted = true;
    }
}

impl Seen {
    /// Notes who belongs to the cluster; somebody new has to get replicas.
    fn meet(&mut self, members: BTreeSet<i32>) {
        if self.members.as_ref().is_some_and(|known| members.iter().any(|id| !known.contains(id))) {
            self.even_wanted = true;
        }
        self.members = Some(members);
    }
}

/// What the Admin API tells about the balancer.
pub(crate) struct BalancerStatus {
    pub word: &'static str,
    pub unavailable: Vec<i32>,
    pub seconds_since_last_tick: Option<u64>,
    pub reassignments: usize,
}

/// The status of the balancer on the controller's leader.
pub(crate) fn status(node: &Node) -> BalancerStatus {
    let reassignments = node.with_cluster(|cluster| cluster.state.all_reassignments().count());
    let off = mode(node) == Mode::Off;
    let seen = node.control.balancer.seen();
    let word = match seen.last_tick {
        _ if off => "off",
        None => "starting",
        Some(_) if reassignments > 0 => "in_progress",
        Some(_) if seen.stalled => "stalled",
        Some(_) => "ready",
    };
    let unavailable = seen.unavailable.clone();
    let seconds_since_last_tick = seen.last_tick.map(|at| Instant::now().duration_since(at).as_secs());
    BalancerStatus { word, unavailable, seconds_since_last_tick, reassignments }
}

fn mode(node: &Node) -> Mode {
    match node.property("partition_autobalancing_mode").as_str() {
        Some("off") => Mode::Off,
        Some("node_add") => Mode::NodeAdd,
        _ => Mode::Continuous,
    }
}

fn settings(node: &Node, even: bool) -> Settings {
    let seconds = Duration::from_secs(1);
    let moves_max = node.property("partition_autobalancing_concurrent_moves").as_u64();
    Settings {
        mode: mode(node),
        moves_max: moves_max.and_then(|count| usize::try_from(count).ok()).unwrap_or(50),
        availability_timeout: duration(
            node,
            "partition_autobalancing_node_availability_timeout_sec",
            seconds,
        )
        .unwrap_or(Duration::MAX),
        autodecommission_timeout: duration(
            node,
            "partition_autobalancing_node_autodecommission_timeout_sec",
            seconds,
        ),
        racks: node.property("enable_rack_awareness") == true,
        even,
    }
}

/// Balances as long as this broker is the controller's leader, for ever.
pub(crate) async fn run(node: Arc<Node>) {
    loop {
        let tick = milliseconds(&node, "partition_autobalancing_tick_interval_ms");
        // Woken or not: it is time to look.
        let _ = timeout(tick, node.control.wake_balancer.notified()).await;
        if !is_controller(&node) {
            *node.control.balancer.seen() = Seen::default();
            continue;
        }
        for command in look(&node) {
            if let Err(refusal) = submit(&node, command, Instant::now() + SUBMIT_TIMEOUT).await {
                tracing::info!(%refusal, "a move of the balancer is refused; it is planned anew");
            }
        }
    }
}

fn look(node: &Node) -> Vec<Command> {
    let (own, now) = (node.id(), Instant::now());
    let (state, dead_for) = node.with_cluster(|cluster| {
        let others = cluster.members.all().map(|member| member.id).filter(|id| *id != own);
        let dead = others.filter(|id| !cluster.members.reachable(*id, now));
        let dead_for = dead.map(|id| (id, cluster.members.silent_since_start(id, now))).collect();
        (cluster.state.clone(), dead_for)
    });
    let mut seen = node.control.balancer.seen();
    seen.meet(state.members.keys().copied().collect());
    let even = seen.even_wanted;
    drop(seen);
    let found = plan(&state, &dead_for, &placeable(node), &settings(node, even));
    let mut seen = node.control.balancer.seen();
    seen.last_tick = Some(now);
    seen.unavailable = found.unavailable;
    seen.stalled = found.stalled;
    seen.even_wanted = even && !found.is_even;
    found.commands
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::placement::tests::{cluster, in_racks, places};

    const TIMEOUT: Duration = Duration::from_secs(900);

    fn settings(mode: Mode) -> Settings {
        Settings {
            mode,
            moves_max: 50,
            availability_timeout: TIMEOUT,
            autodecommission_timeout: None,
            racks: true,
            even: false,
        }
    }

    fn targets(plan: &Plan) -> Vec<Vec<i32>> {
        let target = |command: &Command| match command {
            Command::Reassign { replicas, reason: Reason::Balance, .. } => replicas.clone(),
            other => panic!("{other:?}"),
        };
        plan.commands.iter().map(target).collect()
    }

    #[test]
    fn a_broker_that_is_lost_for_long_is_replaced() {
        let state = cluster(4, &[&[0, 1, 2], &[1, 2, 3]]);
        let mut places = places(&state);
        places.candidates.retain(|candidate| candidate.id != 2);
        let dead = |silence| BTreeMap::from([(2, silence)]);
        let early = plan(&state, &dead(TIMEOUT / 2), &places, &settings(Mode::Continuous));
        assert_eq!((early.commands.len(), early.unavailable.len()), (0, 0));
        let late = plan(&state, &dead(TIMEOUT), &places, &settings(Mode::Continuous));
        assert_eq!(late.unavailable, [2]);
        assert_eq!(targets(&late), [[0, 1, 3], [1, 0, 3]]);
        assert_eq!(plan(&state, &dead(TIMEOUT), &places, &settings(Mode::NodeAdd)).commands, []);
        assert_eq!(plan(&state, &dead(TIMEOUT), &places, &settings(Mode::Off)).commands, []);
    }

    #[test]
    fn without_a_place_the_balancer_is_stalled_and_in_maintenance_it_rests() {
        let mut state = cluster(3, &[&[0, 1, 2]]);
        let mut free = places(&state);
        free.candidates.retain(|candidate| candidate.id != 2);
        let dead = BTreeMap::from([(2, TIMEOUT)]);
        assert!(plan(&state, &dead, &free, &settings(Mode::Continuous)).stalled);
        state.apply(&Command::SetMaintenance { id: 1, on: true }).unwrap();
        let resting = plan(&state, &dead, &free, &settings(Mode::Continuous));
        assert!(!resting.stalled && resting.commands.is_empty());
    }

    #[test]
    fn racks_are_repaired() {
        let state = in_racks(&["a", "a", "b"], &[&[0, 1]]);
        let found = plan(&state, &BTreeMap::new(), &places(&state), &settings(Mode::Continuous));
        assert_eq!(targets(&found), [[0, 2]]);
        let off = Settings { racks: false, ..settings(Mode::Continuous) };
        assert_eq!(plan(&state, &BTreeMap::new(), &places(&state), &off).commands, []);
    }

    #[test]
    fn a_new_broker_gets_its_share() {
        let state = cluster(3, &[&[0], &[1], &[0], &[1], &[0], &[1]]);
        let even = Settings { even: true, ..settings(Mode::NodeAdd) };
        let found = plan(&state, &BTreeMap::new(), &places(&state), &even);
        assert_eq!(targets(&found), [[2], [2]]);
        assert!(found.is_even);
        let slow = Settings { moves_max: 1, ..even };
        let found = plan(&state, &BTreeMap::new(), &places(&state), &slow);
        assert!(found.commands.len() == 1 && !found.is_even);
    }

    #[test]
    fn a_dead_broker_is_removed_only_if_that_is_configured() {
        let mut state = cluster(4, &[]);
        let dead = BTreeMap::from([(3, TIMEOUT)]);
        let places = places(&state);
        let on = Settings { autodecommission_timeout: Some(TIMEOUT), ..settings(Mode::Off) };
        assert_eq!(plan(&state, &dead, &places, &on).commands, [Command::Decommission { id: 3 }]);
        assert_eq!(plan(&state, &dead, &places, &settings(Mode::Off)).commands, []);
        state.apply(&Command::SetMaintenance { id: 3, on: true }).unwrap();
        assert_eq!(plan(&state, &dead, &places, &on).commands, []);
    }

    #[test]
    fn somebody_new_makes_the_balancer_want_an_even_spread() {
        let mut seen = Seen::default();
        seen.meet(BTreeSet::from([0, 1]));
        assert!(!seen.even_wanted, "nobody is new to a controller that has just begun");
        seen.meet(BTreeSet::from([0, 1, 2]));
        assert!(seen.even_wanted);
    }
}
