//! A group as it comes back from the log.

use std::time::Duration;

use super::effects::Context;
use super::group::{Group, State};
use super::member::Member;
use super::records::{StoredGroup, StoredMember};

impl Group {
    /// Takes over what the log says of the group. Its offsets have records of their own.
    pub(super) fn restore(&mut self, stored: StoredGroup, context: &Context<'_>) {
        self.members.clear();
        self.static_members.clear();
        self.generation = stored.generation;
        self.protocol_type = Some(stored.protocol_type).filter(|name| !name.is_empty());
        self.protocol = stored.protocol;
        self.leader = stored.leader;
        self.state_since_ms = stored.state_since_ms;
        let empty = stored.members.is_empty();
        self.state = if empty { State::Empty } else { State::Stable };
        for member in stored.members {
            let member = restored(member, self.protocol.as_deref(), context);
            if let Some(instance) = &member.instance {
                self.static_members.insert(instance.clone(), member.id.clone());
            }
            self.members.insert(member.id.clone(), member);
        }
    }

    /// The coordinator works from now on: each member has its session time-out to be heard.
    pub(super) fn resume(&mut self, context: &mut Context<'_>) {
        let ids: Vec<String> = self.members.keys().cloned().collect();
        ids.iter().for_each(|id| self.touch(id, context));
    }
}

fn restored(stored: StoredMember, protocol: Option<&str>, context: &Context<'_>) -> Member {
    let millis = |millis: i32| Duration::from_millis(u64::try_from(millis).unwrap_or(0));
    Member {
        id: stored.id,
        instance: stored.instance,
        client_id: stored.client_id,
        client_host: stored.client_host,
        session_timeout: millis(stored.session_timeout_ms),
        rebalance_timeout: millis(stored.rebalance_timeout_ms),
        protocols: vec![(protocol.unwrap_or_default().to_owned(), stored.subscription)],
        assignment: stored.assignment,
        joining: None,
        syncing: None,
        is_new: false,
        expires: context.now.instant,
        timer: None,
    }
}
