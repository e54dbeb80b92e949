//! What keeps a broker's replicas going: one task for all of them, and one for their heartbeats.
//!
//! A replica that something happened to is marked. The driver takes all that are marked at an instant, writes what
//! they want written, begins the syncs, sends what may leave at once, and sends what had to wait for a sync when that has
//! ended: proposals of one instant share an append and a sync. A disk's latency is slept in a task of its own, so that one
//! slow log holds up nobody else ([`syncs`]). Replicas wait for deadlines in one ordered set; an idle replica is looked at
//! once in an election timeout. Messages for one peer leave in one frame.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use raft::eraftpb::{Message, MessageType};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::leaders::Leaders;
use super::partition::Partition;
use super::syncs::{self, Syncs};
use super::throttle::Throttle;
use crate::cluster::controller;
use crate::config::ClusterProperties;
use crate::gathered::Outgoing;
use crate::node::{Node, PartitionKey};
use crate::raft::{Output, Role, Timeouts, broker_id, raft_id};
use crate::rpc::lanes::{Lane, Lanes, Receiver};
use crate::rpc::raft_frame::{Beat, RaftFrame, Received, Route};
use crate::security::listener_tls::ListenerTls;
use crate::status::BrokerStatus;
use crate::tasks::Tasks;

/// Bytes of entries in one frame, unless a single message has more.
const FRAME_BYTES_MAX: usize = 4 << 20;
/// How long a replica that could not write waits before its log is opened again.
const REOPEN_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

/// What a broker's replicas share.
pub(crate) struct Driver {
    pub timeouts: Timeouts,
    pub leaders: Leaders,
    /// Where it is told what this broker leads.
    pub status: BrokerStatus,
    /// This broker's id, once it has one.
    own: AtomicI32,
    lanes: Lanes,
    /// For replicas that are being filled.
    throttle: Throttle,
    marked: Mutex<BTreeSet<PartitionKey>>,
    wake: Notify,
    timers: Mutex<Timers>,
    /// The replicas that lead.
    led: Mutex<BTreeSet<PartitionKey>>,
    /// By peer, the connection that its last messages came on: answers go back there.
    inbound: Mutex<BTreeMap<i32, mpsc::Sender<Outgoing>>>,
    beats: Mutex<Beats>,
    pub(super) syncs: Syncs,
}

/// When replicas are to be looked at though nothing happens.
#[derive(Default)]
struct Timers {
    due: BTreeSet<(Instant, PartitionKey)>,
    armed: BTreeMap<PartitionKey, Instant>,
}

/// Heartbeat frames that are not answered yet.
#[derive(Default)]
struct Beats {
    next: u64,
    sent: BTreeMap<i32, VecDeque<SentBeats>>,
}

struct SentBeats {
    number: u64,
    at: Instant,
    keys: Vec<PartitionKey>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Timers {
    /// Moves a replica's timer to an earlier time; a later one is looked up when the earlier is due.
    fn arm(&mut self, key: PartitionKey, at: Instant) -> bool {
        if self.armed.get(&key).is_some_and(|armed| *armed <= at) {
            return false;
        }
        if let Some(armed) = self.armed.insert(key, at) {
            self.due.remove(&(armed, key));
        }
        self.due.insert((at, key));
        true
    }

    fn take_due(&mut self, now: Instant) -> Vec<PartitionKey> {
        let mut keys = Vec::new();
        while let Some((at, key)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, key));
            self.armed.remove(&key);
            keys.push(key);
        }
        keys
    }
}

impl Driver {
    /// `tls` if the brokers speak it with each other.
    pub fn new(
        properties: &ClusterProperties,
        tasks: Tasks,
        tls: Option<Arc<ListenerTls>>,
        status: BrokerStatus,
    ) -> Driver {
        let timeouts = properties.raft_timeouts();
        Driver {
            timeouts,
            leaders: Leaders::default(),
            status,
            own: AtomicI32::new(-1),
            lanes: Lanes::new(tasks, timeouts.heartbeat, tls),
            throttle: Throttle::new(properties.raft_learner_recovery_rate),
            marked: Mutex::default(),
            wake: Notify::new(),
            timers: Mutex::default(),
            led: Mutex::default(),
            inbound: Mutex::default(),
            beats: Mutex::default(),
            syncs: Syncs::default(),
        }
    }

    /// This broker's id; -1 before it has one.
    pub fn own(&self) -> i32 {
        self.own.load(Ordering::Relaxed)
    }

    /// Something happened to a replica.
    pub fn mark(&self, key: PartitionKey) {
        if lock(&self.marked).insert(key) {
            self.wake.notify_one();
        }
    }

    /// A replica is gone.
    pub fn forget(&self, key: PartitionKey) {
        lock(&self.led).remove(&key);
        let mut timers = lock(&self.timers);
        if let Some(armed) = timers.armed.remove(&key) {
            timers.due.remove(&(armed, key));
        }
    }

    /// The replicas that lead.
    pub fn led(&self) -> Vec<PartitionKey> {
        lock(&self.led).iter().copied().collect()
    }
}

/// Frames from peers, for a broker that may be gone.
pub(crate) struct Inbox(pub Weak<Node>);

impl Receiver for Inbox {
    fn receive(&self, kind: u8, content: Bytes) {
        if let Some(node) = self.0.upgrade() {
            receive(&node, kind, content, None);
        }
    }

    fn lost(&self, peer: i32) {
        let Some(node) = self.0.upgrade() else { return };
        for key in node.raft.led() {
            if let Some(replica) = node.replica(key) {
                // A replica without a log has no peers.
                let _ = replica.with_group(|group| group.peer_lost(raft_id(peer)));
            }
        }
    }
}

/// Starts the tasks.
pub(crate) fn start(node: &Arc<Node>) {
    node.raft.own.store(node.id(), Ordering::Relaxed);
    node.tasks.spawn(run(Arc::clone(node)));
    node.tasks.spawn(beat(Arc::clone(node)));
}

async fn run(node: Arc<Node>) {
    let driver = Arc::clone(&node.raft);
    loop {
        let next = lock(&driver.timers).due.first().map(|(at, _)| *at);
        let timer = async {
            match next {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = driver.wake.notified() => {}
            () = timer => {}
        }
        let now = Instant::now();
        for key in lock(&driver.timers).take_due(now) {
            if let Some(replica) = node.replica(key) {
                let _ = replica.with_group(|group| group.on_deadline(now));
            }
        }
        let marked = std::mem::take(&mut *lock(&driver.marked));
        round(&node, marked, now);
    }
}

/// Looks after one replica at once: a broker that starts applies what it has before it goes on.
pub(crate) fn settle(node: &Arc<Node>, key: PartitionKey) {
    round(node, BTreeSet::from([key]), Instant::now());
}

/// Writes, sends, syncs, and sends what followed from that, until the replicas have come to rest.
fn round(node: &Arc<Node>, mut marked: BTreeSet<PartitionKey>, now: Instant) {
    while !marked.is_empty() {
        let mut outbox = Outbox::default();
        let replicas: Vec<Arc<Partition>> = marked.iter().filter_map(|key| node.replica(*key)).collect();
        marked.clear();
        for replica in &replicas {
            drive(node, replica, now, &mut outbox);
            // Not after all are written: what a simulated file system does costs more the more is not synced. A disk that
            // takes time does not keep the frames waiting, its syncs only begin here.
            if syncs::sync(node, replica, now) {
                marked.insert(replica.key);
            }
        }
        outbox.send(node);
    }
}

/// One replica: what it wants written is written, what it wants sent goes to the outbox, what is committed is
/// applied.
fn drive(node: &Arc<Node>, replica: &Arc<Partition>, now: Instant, outbox: &mut Outbox) {
    let driver = &node.raft;
    let mut core = replica.core();
    let Ok(group) = &mut core.group else { return };
    let Output { messages, committed, installed, received } = group.drive(now);
    let failed = group.failed().is_some();
    let leads = group.role() == Role::Leader;
    let deadlines = [group.deadline(), group.sync_deadline()];
    let leadership = (group.leader().and_then(broker_id), group.term());
    let serves = group.serves();
    let learners = group.configuration().learners.clone();
    replica.note_progress(&core);
    replica.note_tenure(&mut core);
    let told = (leadership.0, leadership.1 as i32, serves);
    // What a replica that could not write believes is not on its disk: it may take part in an older term again, and a term that
    // was told once would outlive that.
    let news = !failed && core.told != told;
    if news {
        core.told = told;
    }
    drop(core);
    if news {
        driver.leaders.learn(replica.key, told.0, told.1, serves);
        if replica.key == controller::CONTROLLER {
            node.with_cluster(|cluster| cluster.members.set_controller(told.0));
        }
    }
    let changed = match leads {
        true => lock(&driver.led).insert(replica.key),
        false => lock(&driver.led).remove(&replica.key),
    };
    if changed {
        tracing::debug!(partition = ?replica.key, leads, term = leadership.1, "leadership");
    }
    for at in deadlines.into_iter().flatten() {
        if lock(&driver.timers).arm(replica.key, at) {
            driver.wake.notify_one();
        }
    }
    for message in messages {
        let fills = learners.contains(&message.to) && way(&message) == Way::Lane(Lane::Data);
        match fills {
            true => outbox.fill(replica.key, message),
            false => outbox.add(replica.key, message),
        }
    }
    received.into_iter().for_each(|(to, term, index)| outbox.received(replica.key, to, term, index));
    if installed.is_some() || !committed.is_empty() {
        controller::apply(node, replica.key, installed, committed);
    }
    if failed {
        reopen_later(node, replica);
    }
}

/// Opens a replica's log again after a while.
pub(super) fn reopen_later(node: &Arc<Node>, replica: &Arc<Partition>) {
    node.status.add(crate::status::Counter::StorageErrors, 1);
    let (node, replica) = (Arc::clone(node), Arc::clone(replica));
    node.clone().tasks.spawn(async move {
        tokio::time::sleep(REOPEN_AFTER).await;
        super::reopen(&node, &replica);
    });
}

/// What leaves together.
#[derive(Default)]
struct Outbox {
    /// By peer and by the way it takes.
    messages: BTreeMap<(i32, Way), Vec<(PartitionKey, Message)>>,
    received: BTreeMap<i32, Vec<Received>>,
    /// For replicas that are being filled.
    fills: Vec<(i32, PartitionKey, Message)>,
}

/// How a message reaches its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Lane(Lane),
    /// Back on the connection that the peer's messages come on.
    Back,
}

fn way(message: &Message) -> Way {
    match message.msg_type {
        MessageType::MsgAppend | MessageType::MsgSnapshot => Way::Lane(Lane::Data),
        MessageType::MsgAppendResponse
        | MessageType::MsgRequestVoteResponse
        | MessageType::MsgRequestPreVoteResponse
        | MessageType::MsgHeartbeatResponse => Way::Back,
        _ => Way::Lane(Lane::Control),
    }
}

impl Outbox {
    fn add(&mut self, key: PartitionKey, message: Message) {
        if let Some(peer) = broker_id(message.to) {
            self.messages.entry((peer, way(&message))).or_default().push((key, message));
        }
    }

    fn fill(&mut self, key: PartitionKey, message: Message) {
        if let Some(peer) = broker_id(message.to) {
            self.fills.push((peer, key, message));
        }
    }

    fn received(&mut self, key: PartitionKey, to: u64, term: u64, index: u64) {
        if let Some(peer) = broker_id(to) {
            self.received.entry(peer).or_default().push(Received { key, term, index });
        }
    }

    fn send(self, node: &Arc<Node>) {
        for (peer, received) in self.received {
            post(node, peer, Way::Back, RaftFrame::Received(received));
        }
        for (peer, key, message) in self.fills {
            let (now, bytes) = (Instant::now(), bytes_of(&message));
            let at = node.raft.throttle.admit(now, bytes);
            let way = way(&message);
            if at <= now {
                post_messages(node, peer, way, vec![(key, message)]);
                continue;
            }
            let node = Arc::clone(node);
            node.clone().tasks.spawn(async move {
                sleep_until(at).await;
                post_messages(&node, peer, way, vec![(key, message)]);
            });
        }
        for ((peer, way), messages) in self.messages {
            let mut frame = Vec::new();
            let mut bytes = 0;
            for (key, message) in messages {
                let size = bytes_of(&message);
                if !frame.is_empty() && bytes + size > FRAME_BYTES_MAX {
                    post_messages(node, peer, way, std::mem::take(&mut frame));
                    bytes = 0;
                }
                bytes += size;
                frame.push((key, message));
            }
            post_messages(node, peer, way, frame);
        }
    }
}

fn bytes_of(message: &Message) -> usize {
    let entries: usize = message.get_entries().iter().map(|entry| entry.data.len()).sum();
    entries + message.get_snapshot().data.len()
}

/// Sends messages; those that cannot be are lost, and their groups know.
fn post_messages(node: &Arc<Node>, peer: i32, way: Way, messages: Vec<(PartitionKey, Message)>) {
    let keys: Vec<PartitionKey> = messages.iter().map(|(key, _)| *key).collect();
    if post(node, peer, way, RaftFrame::Messages(messages)) || way != Way::Lane(Lane::Data) {
        return;
    }
    for key in keys {
        if let Some(replica) = node.replica(key) {
            let _ = replica.with_group(|group| group.peer_lost(raft_id(peer)));
        }
    }
}

fn post(node: &Arc<Node>, peer: i32, way: Way, content: RaftFrame) -> bool {
    let Some((own, cluster)) = node.place() else { return false };
    let frame = content.encode(Route { from: own, to: peer, cluster }).outgoing();
    match way {
        Way::Back => {
            let inbound = lock(&node.raft.inbound);
            inbound.get(&peer).is_some_and(|connection| connection.try_send(frame).is_ok())
        }
        Way::Lane(lane) => {
            let receiver = || Arc::new(Inbox(Arc::downgrade(node))) as Arc<dyn Receiver>;
            node.with_cluster(|cluster| {
                let address = cluster.members.get(peer).map(|peer| &peer.rpc);
                address.is_some_and(|address| node.raft.lanes.post((peer, lane), address, frame, receiver))
            })
        }
    }
}

/// Takes a frame from a peer. `back` is the connection that it came on, if the peer opened that.
pub(crate) fn receive(
    node: &Arc<Node>,
    kind: u8,
    content: Bytes,
    back: Option<&mpsc::Sender<Outgoing>>,
) -> bool {
    let Some((route, content)) = RaftFrame::decode(kind, content) else { return false };
    if node.place() != Some((route.to, route.cluster)) {
        return true;
    }
    let now = Instant::now();
    node.with_cluster(|cluster| cluster.members.heard(route.from, now));
    if let Some(back) = back {
        lock(&node.raft.inbound).insert(route.from, back.clone());
    }
    match content {
        RaftFrame::Messages(messages) => {
            for (key, message) in messages {
                let sound = message.from == raft_id(route.from);
                if let Some(replica) = node.replica(key).filter(|_| sound) {
                    // A replica without a log cannot answer.
                    let _ = replica.with_group(|group| group.step(now, message));
                }
            }
        }
        RaftFrame::Heartbeat { number, beats } => answer_heartbeat(node, route.from, number, &beats, now),
        RaftFrame::HeartbeatAnswer { number, differ } => beaten(node, route.from, number, &differ),
        RaftFrame::Received(received) => {
            for Received { key, term, index } in received {
                if let Some(replica) = node.replica(key) {
                    let _ = replica.with_group(|group| group.received(raft_id(route.from), term, index));
                }
            }
        }
    }
    true
}

fn answer_heartbeat(node: &Arc<Node>, from: i32, number: u64, beats: &[Beat], now: Instant) {
    let mut differ = Vec::new();
    for beat in beats {
        let agrees = node.replica(beat.key).is_some_and(|replica| {
            let mut core = replica.core();
            let Ok(group) = &mut core.group else { return false };
            let agrees = group.heartbeat(now, raft_id(from), beat.term, beat.commit);
            if group.wants_drive() {
                node.raft.mark(beat.key);
            }
            agrees
        });
        if !agrees {
            differ.push(beat.key);
        }
    }
    post(node, from, Way::Back, RaftFrame::HeartbeatAnswer { number, differ });
}

fn beaten(node: &Arc<Node>, peer: i32, number: u64, differ: &[PartitionKey]) {
    let sent = {
        let mut beats = lock(&node.raft.beats);
        let Some(sent) = beats.sent.get_mut(&peer) else { return };
        let Some(place) = sent.iter().position(|sent| sent.number == number) else { return };
        sent.drain(..=place).next_back()
    };
    let Some(SentBeats { at, keys, .. }) = sent else { return };
    for key in keys.into_iter().filter(|key| !differ.contains(key)) {
        let Some(replica) = node.replica(key) else { continue };
        let mut core = replica.core();
        let Ok(group) = &mut core.group else { continue };
        group.beaten(at, raft_id(peer));
        if group.wants_drive() {
            node.raft.mark(key);
        }
    }
}

/// Sends each peer, at every interval, one frame with the heartbeats of all groups that are led here.
async fn beat(node: Arc<Node>) {
    let driver = Arc::clone(&node.raft);
    let unanswered_max = (driver.timeouts.heartbeat.as_nanos()
        / driver.timeouts.heartbeat_interval.as_nanos().max(1)) as usize
        + 1;
    let mut ticks = interval(driver.timeouts.heartbeat_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = Instant::now();
        let own = node.id();
        let mut frames: BTreeMap<i32, Vec<Beat>> = BTreeMap::new();
        for key in driver.led() {
            let Some(replica) = node.replica(key) else { continue };
            let mut core = replica.core();
            let Ok(group) = &mut core.group else { continue };
            if !group.beat(now) {
                node.raft.mark(key);
                continue;
            }
            let term = group.term();
            for id in group.configuration().members().iter().copied() {
                let Some(peer) = broker_id(id).filter(|peer| *peer != own) else { continue };
                let commit = group.commit_for(id).unwrap_or(0);
                frames.entry(peer).or_default().push(Beat { key, term, commit });
            }
        }
        for (peer, beats) in frames {
            let keys = beats.iter().map(|beat| beat.key).collect();
            let number = {
                let mut outstanding = lock(&driver.beats);
                outstanding.next += 1;
                let number = outstanding.next;
                let sent = outstanding.sent.entry(peer).or_default();
                sent.push_back(SentBeats { number, at: now, keys });
                if sent.len() > unanswered_max {
                    sent.pop_front();
                }
                number
            };
            post(&node, peer, Way::Lane(Lane::Control), RaftFrame::Heartbeat { number, beats });
        }
    }
}
