//! Who leads which partition, on brokers that have no replica of it too.
//!
//! A broker learns of leaders from its own replicas, and from news: a new leader's broker pushes what changed to all
//! others at every `metadata_dissemination_interval_ms`, and a broker that starts pulls the whole table
//! (redpanda.md 3.5: update_leadership, get_leadership; 4.4). Clients may learn earlier, by asking the wrong
//! broker.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};

use crate::cluster::members::Member;
use crate::node::{Node, PartitionKey};
use crate::rpc::{Reply, Request};

/// How long a peer may take to answer with its table or to take news.
const TIMEOUT: Duration = Duration::from_secs(2);
/// redpanda.md 4.4: news that a broker did not take are tried again, `metadata_dissemination_retry_delay_ms`.
const RETRY: Duration = Duration::from_millis(500);
/// redpanda.md 4.4: so many times.
const RETRIES: u32 = 30;

/// What is known of a partition's leader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leadership {
    pub leader: Option<i32>,
    pub epoch: i32,
    /// Who led before the leader was lost (redpanda.md 4.2).
    pub former: Option<i32>,
}

/// One line of news.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct News {
    pub key: PartitionKey,
    pub leader: i32,
    pub epoch: i32,
}

/// The table.
pub(crate) struct Leaders {
    table: Mutex<Table>,
    /// Rises when a leader becomes known.
    changes: watch::Sender<u64>,
}

impl Default for Leaders {
    fn default() -> Leaders {
        Leaders { table: Mutex::default(), changes: watch::Sender::new(0) }
    }
}

#[derive(Default)]
struct Table {
    known: BTreeMap<PartitionKey, Leadership>,
    /// Leaderships that began here, to be told.
    news: BTreeMap<PartitionKey, News>,
}

impl Leaders {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn get(&self, key: PartitionKey) -> Leadership {
        self.table().known.get(&key).copied().unwrap_or_default()
    }

    /// Waits until a partition's leader is known; whether that was before `deadline`.
    pub async fn wait(&self, key: PartitionKey, deadline: Instant) -> bool {
        let mut changes = self.changes.subscribe();
        while self.get(key).leader.is_none() {
            if !matches!(timeout_at(deadline, changes.changed()).await, Ok(Ok(()))) {
                return false;
            }
        }
        true
    }

    fn tell(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// A replica here knows the leader, or has lost it. `serves` if it is the leader itself, which is news.
    pub fn learn(&self, key: PartitionKey, leader: Option<i32>, epoch: i32, serves: bool) {
        let mut table = self.table();
        let known = table.known.entry(key).or_default();
        if epoch < known.epoch {
            return;
        }
        let former = leader.or(known.leader).or(known.former);
        *known = Leadership { leader, epoch, former };
        if let Some(leader) = leader.filter(|_| serves) {
            table.news.insert(key, News { key, leader, epoch });
        }
        drop(table);
        if leader.is_some() {
            self.tell();
        }
    }

    /// Takes over what other brokers tell.
    pub fn take(&self, news: &[News]) {
        let mut table = self.table();
        for News { key, leader, epoch } in news {
            let known = table.known.entry(*key).or_default();
            if *epoch > known.epoch || (*epoch == known.epoch && known.leader.is_none()) {
                *known = Leadership { leader: Some(*leader), epoch: *epoch, former: Some(*leader) };
            }
        }
        drop(table);
        self.tell();
    }

    /// The whole table, for a broker that starts.
    pub fn all(&self) -> Vec<News> {
        let table = self.table();
        let known = table.known.iter();
        known
            .filter_map(|(key, known)| Some(News { key: *key, leader: known.leader?, epoch: known.epoch }))
            .collect()
    }

    fn take_news(&self) -> Vec<News> {
        std::mem::take(&mut self.table().news).into_values().collect()
    }

    /// A topic is gone.
    pub fn forget(&self, key: PartitionKey) {
        let mut table = self.table();
        table.known.remove(&key);
        table.news.remove(&key);
    }
}

fn others(node: &Node) -> Vec<Member> {
    let own = node.id();
    node.with_cluster(|cluster| cluster.members.all().filter(|member| member.id != own).cloned().collect())
}

/// Pulls the table from the first broker that answers, and then tells news, for ever.
pub(crate) async fn run(node: Arc<Node>) {
    for member in others(&node) {
        if let Ok((Reply::Leaders(news), _)) = node.call(&member, Request::GetLeaders, &[], TIMEOUT).await {
            node.raft.leaders.take(&news);
            break;
        }
    }
    let mut ticks = interval(node.config.cluster.metadata_dissemination_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let news = node.raft.leaders.take_news();
        if news.is_empty() {
            continue;
        }
        for member in others(&node) {
            node.tasks.spawn(tell(Arc::clone(&node), member, news.clone()));
        }
    }
}

async fn tell(node: Arc<Node>, member: Member, news: Vec<News>) {
    for _ in 0..RETRIES {
        let request = Request::UpdateLeaders(news.clone());
        if node.call(&member, request, &[], TIMEOUT).await.is_ok() {
            return;
        }
        let alive = node.with_cluster(|cluster| cluster.members.reachable(member.id, Instant::now()));
        if !alive {
            // It asks for the whole table when it starts.
            return;
        }
        sleep(RETRY).await;
    }
}
