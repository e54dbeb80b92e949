//! What a heartbeat asks for, and what it changes.
//!
//! A heartbeat may change the member's subscription; that, or a change of the topics, raises the group's epoch; a
//! target assignment that is older than the group's epoch is made anew; and the member takes its next step to its
//! target. Nothing is changed here: the decision is a list of changes that are to be written first.
//!
//! Source: KIP-848, "Heartbeat Handling"; validation as in Apache Kafka's `GroupMetadataManager`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafka_protocol::ResponseError;

use super::assignors::{self, Candidate};
use super::change::Change;
use super::membership::{AWAY, JOINS, Place};
use super::reconciliation::{Target, reconcile};
use super::subscription::{Resolved, Subscription, TopicImage, Visible, compile, metadata_hash};
use super::{Assignment, ConsumerGroup};

/// ConsumerGroupHeartbeat. What is `None` is as it was.
#[derive(Clone, Debug)]
pub(crate) struct HeartbeatRequest {
    pub group: String,
    pub member: String,
    /// 0 joins, -1 leaves, -2 leaves for a while.
    pub epoch: i32,
    pub instance: Option<String>,
    pub rack: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub rebalance_timeout_ms: Option<i32>,
    pub topics: Option<BTreeSet<String>>,
    /// Empty for none any more.
    pub regex: Option<String>,
    pub assignor: Option<String>,
    /// What the member has.
    pub owned: Option<Assignment>,
    /// The topics at the time of the request.
    pub image: Arc<TopicImage>,
    /// Which of them a regular expression may stand for.
    pub visible: Visible,
}

/// The answer to a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeartbeatAnswer {
    pub member: String,
    pub epoch: i32,
    /// What the member may use, if it is to be told.
    pub assignment: Option<Assignment>,
}

/// Why a heartbeat is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub error: ResponseError,
    pub message: String,
}

/// What a heartbeat comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// To be written and applied, in this order.
    pub changes: Vec<Change>,
    pub answer: HeartbeatAnswer,
    /// The version of the topics that the group is compared with now.
    pub checked: Option<u64>,
}

pub(super) fn refuse(error: ResponseError, message: impl Into<String>) -> Refused {
    Refused { error, message: message.into() }
}

impl HeartbeatRequest {
    /// Whether it makes sense by itself.
    ///
    /// # Errors
    /// `INVALID_REQUEST`, `UNSUPPORTED_ASSIGNOR`, `INVALID_REGULAR_EXPRESSION`.
    pub fn check(&self, subscription_bytes_max: usize) -> Result<(), Refused> {
        let invalid = |message: &str| Err(refuse(ResponseError::InvalidRequest, message));
        let is_empty = |text: &Option<String>| text.as_ref().is_some_and(String::is_empty);
        if self.group.is_empty() {
            return invalid("GroupId can't be empty.");
        }
        if self.member.is_empty() {
            return invalid("MemberId can't be empty.");
        }
        if is_empty(&self.instance) {
            return invalid("InstanceId can't be empty.");
        }
        if is_empty(&self.rack) {
            return invalid("RackId can't be empty.");
        }
        if self.epoch < AWAY {
            return invalid("MemberEpoch is invalid.");
        }
        if self.epoch == AWAY && self.instance.is_none() {
            return invalid("InstanceId can't be null.");
        }
        if self.epoch == JOINS {
            if self.rebalance_timeout_ms.is_none() {
                return invalid("RebalanceTimeoutMs must be provided in first request.");
            }
            if self.owned.as_ref().is_none_or(|owned| !owned.is_empty()) {
                return invalid("TopicPartitions must be empty when (re-)joining.");
            }
            if self.topics.is_none() && self.regex.is_none() {
                return invalid(
                    "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
                );
            }
        }
        if self.subscription_bytes() > subscription_bytes_max {
            return invalid("The subscription is too large.");
        }
        self.check_names()
    }

    fn check_names(&self) -> Result<(), Refused> {
        if let Some(name) = self.assignor.as_deref().filter(|name| !assignors::ALL.contains(name)) {
            let known = assignors::ALL.join(", ");
            let message = format!("the assignor '{name}' is not supported; the broker has {known}");
            return Err(refuse(ResponseError::UnsupportedAssignor, message));
        }
        if let Some(Err(error)) = self.regex.as_deref().map(compile) {
            let message = format!("SubscribedTopicRegex is not a valid regular expression: {error}");
            return Err(refuse(ResponseError::InvalidRegularExpression, message));
        }
        Ok(())
    }

    fn subscription_bytes(&self) -> usize {
        let topics: usize = self.topics.iter().flatten().map(String::len).sum();
        topics + self.regex.as_ref().map_or(0, String::len)
    }

    /// Whether it tells everything, as after a connection was lost: it is answered with the assignment then.
    fn is_full(&self) -> bool {
        let subscribed = self.topics.is_some() || self.regex.is_some();
        self.epoch == JOINS || (self.rebalance_timeout_ms.is_some() && subscribed && self.owned.is_some())
    }

    fn update(&self, before: &Subscription) -> Subscription {
        let or = |new: &Option<String>, old: &Option<String>| new.clone().or_else(|| old.clone());
        Subscription {
            instance: or(&self.instance, &before.instance),
            rack: or(&self.rack, &before.rack),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            topics: self.topics.as_ref().unwrap_or(&before.topics).clone(),
            regex: or(&self.regex, &before.regex).filter(|regex| !regex.is_empty()),
            rebalance_timeout_ms: self.rebalance_timeout_ms.unwrap_or(before.rebalance_timeout_ms),
            assignor: or(&self.assignor, &before.assignor),
        }
    }
}

impl ConsumerGroup {
    /// What a heartbeat comes to.
    ///
    /// # Errors
    /// As [`ConsumerGroup::place`] and [`ConsumerGroup::leave`].
    pub(super) fn decide(
        &self,
        request: &HeartbeatRequest,
        members_max: usize,
        unix_ms: i64,
    ) -> Result<Decision, Refused> {
        if request.epoch < JOINS {
            return self.leave(request);
        }
        let place = self.place(request, members_max)?;
        let subscription = request.update(&place.member.subscription);
        let mut step = Step { group: self, request, place: &place, subscription, changes: Vec::new() };
        step.take_place();
        let resubscribed = step.subscribe();
        let epoch = step.epoch(resubscribed, unix_ms);
        let (target_epoch, target) = step.target(epoch);
        let before = &place.member.current;
        let wanted = Target { epoch: target_epoch, assignment: &target };
        let is_taken = |partition| self.owners.contains_key(&partition);
        let current = reconcile(before, &wanted, request.owned.as_ref(), is_taken);
        let told = request.is_full() || current.assigned != before.assigned;
        let answer = HeartbeatAnswer {
            member: request.member.clone(),
            epoch: current.epoch,
            assignment: told.then(|| current.assigned.clone()),
        };
        if current != *before {
            step.changes.push(Change::Current(request.member.clone(), Some(current)));
        }
        let looked = resubscribed || self.is_older_than(request);
        let checked = if looked { Some(request.image.version) } else { self.checked };
        Ok(Decision { changes: step.changes, answer, checked })
    }
}

impl ConsumerGroup {
    /// Whether the group has not been compared with the topics that the request knows.
    fn is_older_than(&self, request: &HeartbeatRequest) -> bool {
        self.checked < Some(request.image.version)
    }
}

/// One heartbeat on its way.
struct Step<'a> {
    group: &'a ConsumerGroup,
    request: &'a HeartbeatRequest,
    place: &'a Place,
    /// As it is with this heartbeat.
    subscription: Subscription,
    changes: Vec<Change>,
}

impl Step<'_> {
    /// A static member that is back takes over what the one before it had.
    fn take_place(&mut self) {
        let Some(old) = &self.place.replaces else { return };
        let id = &self.request.member;
        self.changes.extend(Change::removal(old));
        self.changes.push(Change::Member(id.clone(), Some(self.subscription.clone())));
        let target = self.group.targets.get(old).cloned();
        self.changes.extend(target.map(|target| Change::Target(id.clone(), Some(target))));
        self.changes.push(Change::Current(id.clone(), Some(self.place.member.current.clone())));
    }

    /// Keeps the subscription; whether the member is subscribed to other topics now.
    fn subscribe(&mut self) -> bool {
        let before = &self.place.member.subscription;
        let written = self.place.replaces.is_some();
        if !written && (self.place.is_new || self.subscription != *before) {
            self.changes.push(Change::Member(self.request.member.clone(), Some(self.subscription.clone())));
        }
        let changed = before.topics != self.subscription.topics || before.regex != self.subscription.regex;
        if changed
            && let Some(regex) = &before.regex
            && !self.group.others_use(&self.request.member, regex)
            && self.subscription.regex.as_ref() != Some(regex)
        {
            self.changes.push(Change::Regex(regex.clone(), None));
        }
        changed || self.place.is_new
    }

    /// Every member's subscription, with this heartbeat's.
    fn subscriptions(&self) -> impl Iterator<Item = (&String, &Subscription)> {
        let others = self.group.others(&self.request.member, self.place.replaces.as_deref());
        others.chain([(&self.request.member, &self.subscription)])
    }

    /// The group's epoch, raised if members or topics have changed.
    fn epoch(&mut self, resubscribed: bool, unix_ms: i64) -> i32 {
        let unchecked = self.group.is_older_than(self.request);
        if !resubscribed && !unchecked {
            return self.group.epoch;
        }
        self.resolve(unchecked, unix_ms);
        let hash = metadata_hash(&self.subscribed(), &self.request.image);
        if !resubscribed && hash == self.group.metadata_hash {
            return self.group.epoch;
        }
        let epoch = self.group.epoch.saturating_add(1);
        self.changes.push(Change::Epoch(Some((epoch, hash))));
        epoch
    }

    /// Looks which topics the regular expressions stand for: all of them if the topics have changed, otherwise
    /// those that are new.
    fn resolve(&mut self, all: bool, unix_ms: i64) {
        let regexes: BTreeSet<&String> =
            self.subscriptions().filter_map(|(_, subscription)| subscription.regex.as_ref()).collect();
        let image = &self.request.image;
        let mut resolved = Vec::new();
        for regex in regexes {
            let known = self.group.regexes.get(regex);
            if known.is_some() && !all {
                continue;
            }
            let topics = image.matching(regex, &self.request.visible);
            if known.is_none_or(|known| known.topics != topics) {
                let found = Resolved { topics, version: image.version, resolved_ms: unix_ms };
                resolved.push(Change::Regex(regex.clone(), Some(found)));
            }
        }
        self.changes.extend(resolved);
    }

    /// What a regular expression stands for, with this heartbeat's changes.
    fn resolved(&self, regex: &str) -> Option<&BTreeSet<String>> {
        let new = self.changes.iter().rev().find_map(|change| match change {
            Change::Regex(changed, Some(found)) if changed == regex => Some(found),
            _ => None,
        });
        new.or_else(|| self.group.regexes.get(regex)).map(|resolved| &resolved.topics)
    }

    fn topics<'a>(&'a self, subscription: &'a Subscription) -> impl Iterator<Item = &'a String> {
        let resolved = subscription.regex.as_ref().and_then(|regex| self.resolved(regex));
        subscription.topics.iter().chain(resolved.into_iter().flatten())
    }

    fn subscribed(&self) -> BTreeSet<String> {
        self.subscriptions().flat_map(|(_, subscription)| self.topics(subscription)).cloned().collect()
    }

    /// The target's epoch and the member's part, made anew if the group has moved on.
    fn target(&mut self, epoch: i32) -> (i32, Assignment) {
        let id = &self.request.member;
        let before = |id: &String| {
            let old = self.place.replaces.as_ref().filter(|_| *id == self.request.member);
            self.group.targets.get(old.unwrap_or(id)).cloned()
        };
        if epoch <= self.group.target_epoch {
            return (self.group.target_epoch, before(id).unwrap_or_default());
        }
        let candidate = |(id, subscription): (&String, &Subscription)| {
            let outlines = self.topics(subscription).filter_map(|name| self.request.image.topics.get(name));
            let candidate = Candidate {
                instance: subscription.instance.clone(),
                topics: outlines.map(|topic| (topic.id, topic.partitions)).collect(),
                before: before(id).unwrap_or_default(),
            };
            (id.clone(), candidate)
        };
        let candidates: BTreeMap<String, Candidate> = self.subscriptions().map(candidate).collect();
        let assignor = assignors::preferred(self.subscriptions().map(|(_, subscription)| subscription));
        let targets = assignors::assign(assignor, &candidates);
        let own = targets.get(id).cloned().unwrap_or_default();
        let changed = targets.into_iter().filter(|(id, target)| before(id).as_ref() != Some(target));
        let changed: Vec<Change> = changed.map(|(id, target)| Change::Target(id, Some(target))).collect();
        self.changes.extend(changed);
        self.changes.push(Change::TargetEpoch(Some(epoch)));
        (epoch, own)
    }
}
