//! Watches: who is told of which change.
//!
//! Each watch has a feed of its own, so that a change costs by the watches that want it, and a watch by the changes
//! it gets. As in the real API, a watch that fell behind the log of changes has to list again.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::api::Api;
use crate::store::{CHANGES_KEPT_DEFAULT, Change, Kind, Object, pod_state};

/// One reader of the store's changes.
pub struct Watch {
    api: Api,
    feed: Rc<Feed>,
}

/// What a watch has seen.
pub enum Changes {
    /// These changes, oldest first.
    Some(Vec<Change>),
    /// Too many to tell: everything may have changed.
    All,
}

/// What a watch has not read yet.
pub struct Feed {
    pending: RefCell<Pending>,
    news: Notify,
}

enum Pending {
    All,
    Some(Vec<Change>),
}

/// The feeds of all watches, by what they want.
#[derive(Default)]
pub struct Subscriptions {
    by_kind: BTreeMap<Kind, Vec<Weak<Feed>>>,
    by_node: BTreeMap<String, Vec<Weak<Feed>>>,
}

impl Watch {
    pub(super) fn new(api: Api, feed: Rc<Feed>) -> Watch {
        Watch { api, feed }
    }

    /// Waits until an object of these kinds has changed since the last call, then for `lag` more, in which
    /// further changes are gathered. A watch that has fallen behind the log is told that all may have changed. While the
    /// API server is out of reach it does not return.
    pub async fn next(&mut self, lag: Duration) -> Changes {
        loop {
            self.api.reachable().await;
            if self.feed.is_empty() {
                self.feed.news.notified().await;
                continue;
            }
            tokio::time::sleep(lag).await;
            if self.api.is_reachable() {
                return self.take();
            }
        }
    }

    fn take(&self) -> Changes {
        match self.feed.pending.replace(Pending::Some(Vec::new())) {
            Pending::Some(changes) if changes.first().is_none_or(|first| self.api.keeps(first)) => {
                Changes::Some(changes)
            }
            _ => Changes::All,
        }
    }
}

impl Feed {
    fn is_empty(&self) -> bool {
        matches!(&*self.pending.borrow(), Pending::Some(changes) if changes.is_empty())
    }

    fn push(&self, change: &Change) {
        let mut pending = self.pending.borrow_mut();
        if let Pending::Some(changes) = &mut *pending {
            if changes.len() < CHANGES_KEPT_DEFAULT {
                changes.push(change.clone());
            } else {
                *pending = Pending::All;
            }
        }
        self.news.notify_one();
    }
}

impl Subscriptions {
    pub(super) fn subscribe(&mut self, kinds: &'static [Kind]) -> Rc<Feed> {
        let feed = new_feed();
        for kind in kinds {
            add(self.by_kind.entry(*kind).or_default(), &feed);
        }
        feed
    }

    pub(super) fn subscribe_to_node(&mut self, node: &str) -> Rc<Feed> {
        let feed = new_feed();
        add(self.by_node.entry(node.to_owned()).or_default(), &feed);
        feed
    }

    /// Tells those who want it of a change.
    pub(super) fn tell(&mut self, change: &Change) {
        if let Some(feeds) = self.by_kind.get(&change.key.kind) {
            feeds.iter().filter_map(Weak::upgrade).for_each(|feed| feed.push(change));
        }
        // A pod is bound once: what it was before needs no look.
        if let Object::Pod(pod) = &change.object
            && let Some(feeds) = pod_state::node_name(pod).and_then(|node| self.by_node.get(node))
        {
            feeds.iter().filter_map(Weak::upgrade).for_each(|feed| feed.push(change));
        }
    }

    /// Tells everybody that more has changed than can be told.
    pub(super) fn tell_all(&mut self) {
        for feed in self.by_kind.values().chain(self.by_node.values()).flatten().filter_map(Weak::upgrade) {
            feed.pending.replace(Pending::All);
            feed.news.notify_one();
        }
    }
}

fn new_feed() -> Rc<Feed> {
    Rc::new(Feed { pending: RefCell::new(Pending::All), news: Notify::new() })
}

/// Adds a feed; those whose watches are gone go.
fn add(feeds: &mut Vec<Weak<Feed>>, feed: &Rc<Feed>) {
    if feeds.len() >= 8 && feeds.len().is_power_of_two() {
        feeds.retain(|feed| feed.strong_count() > 0);
    }
    feeds.push(Rc::downgrade(feed));
}
