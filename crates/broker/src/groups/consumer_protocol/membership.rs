//! Who a heartbeat comes from: a member, a new one, or one that takes the place of another; and leaving.
//!
//! Source: KIP-848, "Member Fencing", "Static Membership"; the codes are those of Apache Kafka's coordinator.

use kafka_protocol::ResponseError;

use super::change::Change;
use super::heartbeat::{Decision, HeartbeatAnswer, HeartbeatRequest, Refused, refuse};
use super::reconciliation::{Current, MemberState};
use super::subscription::Subscription;
use super::{Assignment, ConsumerGroup, Member};

/// The epoch with which a member joins.
pub(crate) const JOINS: i32 = 0;
/// The epoch with which a member leaves.
pub(crate) const LEAVES: i32 = -1;
/// The epoch with which a static member leaves for a while.
pub(crate) const AWAY: i32 = -2;

/// Where a member stands before its heartbeat counts.
#[derive(Debug)]
pub(super) struct Place {
    pub member: Member,
    pub is_new: bool,
    /// The member id whose place it takes.
    pub replaces: Option<String>,
}

impl ConsumerGroup {
    /// The place of whoever sends the heartbeat, which is no farewell.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`, `FENCED_MEMBER_EPOCH`, `FENCED_INSTANCE_ID`, `UNRELEASED_INSTANCE_ID`,
    /// `GROUP_MAX_SIZE_REACHED`.
    pub(super) fn place(&self, request: &HeartbeatRequest, members_max: usize) -> Result<Place, Refused> {
        let holder = request.instance.as_ref().and_then(|instance| self.static_members.get(instance));
        match (holder, self.members.get(&request.member)) {
            (Some(holder), _) if *holder != request.member => self.replace(holder, request),
            (Some(_), Some(member)) if request.epoch == JOINS && member.current.epoch == AWAY => {
                Ok(Place { member: back(member), is_new: false, replaces: None })
            }
            (_, Some(member)) => {
                check_epoch(&member.current, request)?;
                Ok(Place { member: member.clone(), is_new: false, replaces: None })
            }
            (_, None) if request.epoch != JOINS => Err(unknown(&request.member)),
            (_, None) if self.members.len() >= members_max => {
                let message = format!("the group has {members_max} members and takes no more");
                Err(refuse(ResponseError::GroupMaxSizeReached, message))
            }
            (_, None) => Ok(Place { member: Member::default(), is_new: true, replaces: None }),
        }
    }

    /// Another process with the same instance id.
    fn replace(&self, holder: &str, request: &HeartbeatRequest) -> Result<Place, Refused> {
        let Some(member) = self.members.get(holder) else { return Err(unknown(holder)) };
        if request.epoch != JOINS {
            let message = format!("the instance id belongs to member '{holder}' now");
            return Err(refuse(ResponseError::FencedInstanceId, message));
        }
        if member.current.epoch != AWAY {
            let message = format!("member '{holder}' has the instance id and has not left");
            return Err(refuse(ResponseError::UnreleasedInstanceId, message));
        }
        Ok(Place { member: back(member), is_new: false, replaces: Some(holder.to_owned()) })
    }

    /// A member leaves, for good or, if it is static, for a while.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`, `FENCED_INSTANCE_ID`.
    pub(super) fn leave(&self, request: &HeartbeatRequest) -> Result<Decision, Refused> {
        let holder = request.instance.as_ref().and_then(|instance| self.static_members.get(instance));
        if let Some(holder) = holder.filter(|holder| **holder != request.member) {
            let message = format!("the instance id belongs to member '{holder}' now");
            return Err(refuse(ResponseError::FencedInstanceId, message));
        }
        let member = self.members.get(&request.member).ok_or_else(|| unknown(&request.member))?;
        let changes = if request.epoch == AWAY {
            let away = Current {
                epoch: AWAY,
                previous_epoch: member.current.epoch,
                state: MemberState::Stable,
                assigned: member.current.assigned.clone(),
                revoking: Assignment::new(),
            };
            vec![Change::Current(request.member.clone(), Some(away))]
        } else {
            self.removal(&request.member)
        };
        let answer =
            HeartbeatAnswer { member: request.member.clone(), epoch: request.epoch, assignment: None };
        Ok(Decision { changes, answer, checked: None })
    }

    /// What takes a member out: the others are assigned anew.
    pub(super) fn removal(&self, id: &str) -> Vec<Change> {
        let mut changes = Vec::from(Change::removal(id));
        let regex = self.members.get(id).and_then(|member| member.subscription.regex.clone());
        changes.extend(
            regex.filter(|regex| !self.others_use(id, regex)).map(|regex| Change::Regex(regex, None)),
        );
        changes.push(Change::Epoch(Some((self.epoch.saturating_add(1), self.metadata_hash))));
        changes
    }

    /// Whether a member beside this one is subscribed to the regular expression.
    pub(super) fn others_use(&self, id: &str, regex: &str) -> bool {
        let others = self.members.iter().filter(|(other, _)| *other != id);
        others.into_iter().any(|(_, member)| member.subscription.regex.as_deref() == Some(regex))
    }

    /// Whether the subscriptions are those of others, too: of all members but this one and the one it replaces.
    pub(super) fn others<'a>(
        &'a self,
        id: &'a str,
        replaced: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a String, &'a Subscription)> {
        let others =
            self.members.iter().filter(move |(other, _)| *other != id && Some(other.as_str()) != replaced);
        others.map(|(other, member)| (other, &member.subscription))
    }
}

/// A static member that was away, with what it had.
fn back(member: &Member) -> Member {
    let current = Current { epoch: JOINS, previous_epoch: JOINS, ..member.current.clone() };
    Member { current, ..member.clone() }
}

/// Whether a member comes with its epoch, or with the one before because it did not get the last answer.
fn check_epoch(current: &Current, request: &HeartbeatRequest) -> Result<(), Refused> {
    let (told, known) = (request.epoch, current.epoch);
    let within = |owned: &Assignment| {
        owned.iter().all(|(topic, indexes)| {
            indexes.is_empty() || current.assigned.get(topic).is_some_and(|has| indexes.is_subset(has))
        })
    };
    let repeated = told == current.previous_epoch && request.owned.as_ref().is_some_and(within);
    if told == known || (told < known && repeated) {
        return Ok(());
    }
    let message =
        format!("the member's epoch is {known} and not {told}; it is to give up all and join again");
    Err(refuse(ResponseError::FencedMemberEpoch, message))
}

fn unknown(member: &str) -> Refused {
    refuse(ResponseError::UnknownMemberId, format!("the group has no member '{member}'"))
}
