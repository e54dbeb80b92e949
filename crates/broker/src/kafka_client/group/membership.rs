//! What a member of a group is and does next, by what the coordinator says.

use kafka_protocol::ResponseError;

use crate::kafka_client::KafkaError;

/// A member's standing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Membership {
    /// Empty until the coordinator gave one.
    pub member_id: String,
    /// -1 outside the group.
    pub generation: i32,
}

impl Default for Membership {
    fn default() -> Self {
        Membership { member_id: String::new(), generation: -1 }
    }
}

/// What follows an error of the coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Join (again), at once.
    Join,
    /// Look for the coordinator, then go on.
    FindCoordinator,
    /// Wait a little, then go on.
    Wait,
    /// Give up.
    Fail,
}

impl Membership {
    /// Takes an error in; the standing may be lost (Kafka protocol guide, "Error codes"; KIP-394).
    pub fn after(&mut self, error: &KafkaError) -> Next {
        let Some(code) = error.code() else {
            return match error {
                KafkaError::Unreachable(_) => Next::FindCoordinator,
                _ => Next::Fail,
            };
        };
        match code {
            ResponseError::RebalanceInProgress | ResponseError::MemberIdRequired => Next::Join,
            ResponseError::IllegalGeneration => {
                self.generation = -1;
                Next::Join
            }
            ResponseError::UnknownMemberId => {
                *self = Membership::default();
                Next::Join
            }
            ResponseError::NotCoordinator | ResponseError::CoordinatorNotAvailable => Next::FindCoordinator,
            code if code.is_retriable() => Next::Wait,
            _ => Next::Fail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_lead_back_into_the_group_or_out_of_it() {
        let joined = Membership { member_id: "m".to_owned(), generation: 4 };
        let after = |code| {
            let mut membership = joined.clone();
            let next = membership.after(&KafkaError::refused(code, ""));
            (next, membership.member_id, membership.generation)
        };
        let m = || "m".to_owned();
        assert_eq!(after(ResponseError::RebalanceInProgress), (Next::Join, m(), 4));
        assert_eq!(after(ResponseError::IllegalGeneration), (Next::Join, m(), -1));
        assert_eq!(after(ResponseError::UnknownMemberId), (Next::Join, String::new(), -1));
        assert_eq!(after(ResponseError::NotCoordinator), (Next::FindCoordinator, m(), 4));
        assert_eq!(after(ResponseError::CoordinatorLoadInProgress), (Next::Wait, m(), 4));
        assert_eq!(after(ResponseError::GroupAuthorizationFailed), (Next::Fail, m(), 4));
        let mut membership = joined.clone();
        assert_eq!(membership.after(&KafkaError::Unreachable(String::new())), Next::FindCoordinator);
        assert_eq!(membership.after(&KafkaError::Malformed(String::new())), Next::Fail);
    }
}
