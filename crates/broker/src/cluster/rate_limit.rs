//! How many commands per second the controller takes, by kind.
//!
//! Only while `enable_controller_log_rate_limiting` is on. A kind that has used up its allowance is refused until
//! it has grown again; an allowance is that of one second at most. Source: redpanda.md 3.1.2 (too many: 429);
//! Redpanda's `rps_limit_*` properties.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use kafka_protocol::ResponseError;
use tokio::time::Instant;

use super::command::Command;
use crate::rpc::Refusal;

/// Kinds of commands that have an allowance of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Topics,
    Security,
    Members,
    Moves,
    Configuration,
}

impl Kind {
    /// The kind of a command; `None` for those that brokers need for themselves.
    pub fn of(command: &Command) -> Option<Kind> {
        match command {
            Command::CreateTopic(_)
            | Command::DeleteTopic { .. }
            | Command::CreatePartitions { .. }
            | Command::AlterTopicConfigs { .. }
            | Command::DisablePartitions { .. } => Some(Kind::Topics),
            Command::CreateUser { .. }
            | Command::UpsertUser { .. }
            | Command::DeleteUser { .. }
            | Command::CreateRole { .. }
            | Command::DeleteRole { .. }
            | Command::UpdateRole { .. }
            | Command::CreateAcls { .. }
            | Command::DeleteAcls { .. } => Some(Kind::Security),
            Command::Decommission { .. } | Command::Recommission { .. } | Command::SetMaintenance { .. } => {
                Some(Kind::Members)
            }
            Command::Reassign { .. } | Command::CancelReassignment { .. } => Some(Kind::Moves),
            Command::AlterClusterConfig { .. } | Command::SetFeature { .. } | Command::AlterQuotas { .. } => {
                Some(Kind::Configuration)
            }
            Command::RegisterMember { .. }
            | Command::RemoveMember { .. }
            | Command::ReportConfig { .. }
            | Command::FinishReassignment { .. }
            | Command::AllocateProducerIds { .. } => None,
        }
    }

    /// The property with the kind's commands per second.
    pub fn property(self) -> &'static str {
        match self {
            Kind::Topics => "rps_limit_topic_operations",
            Kind::Security => "rps_limit_acls_and_users_operations",
            Kind::Members => "rps_limit_node_management_operations",
            Kind::Moves => "rps_limit_move_operations",
            Kind::Configuration => "rps_limit_configuration_operations",
        }
    }
}

/// The allowances of one controller.
#[derive(Default)]
pub(crate) struct Limits(Mutex<BTreeMap<Kind, Allowance>>);

#[derive(Clone, Copy)]
struct Allowance {
    /// Commands that may come now.
    left: f64,
    at: Instant,
}

impl Limits {
    /// Takes a command of a kind into account.
    ///
    /// # Errors
    /// There were too many.
    pub fn admit(&self, kind: Kind, per_second: u64, now: Instant) -> Result<(), Refusal> {
        let mut allowances = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = per_second as f64;
        let allowance = allowances.entry(kind).or_insert(Allowance { left: limit, at: now });
        let grown = now.duration_since(allowance.at).as_secs_f64() * limit;
        *allowance = Allowance { left: (allowance.left + grown).min(limit), at: now };
        if allowance.left < 1.0 {
            let message =
                format!("more than {per_second} commands of this kind per second ({})", kind.property());
            return Err(Refusal::Kafka(ResponseError::ThrottlingQuotaExceeded.code(), message));
        }
        allowance.left -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_allowance_is_used_up_and_grows_again() {
        let (limits, start) = (Limits::default(), Instant::now());
        let admit = |kind, at_ms| limits.admit(kind, 2, start + Duration::from_millis(at_ms));
        assert!(admit(Kind::Moves, 0).is_ok() && admit(Kind::Moves, 0).is_ok());
        assert!(matches!(admit(Kind::Moves, 100), Err(Refusal::Kafka(89, _))));
        assert!(admit(Kind::Topics, 100).is_ok(), "kinds do not share");
        assert!(admit(Kind::Moves, 600).is_ok());
        assert!(admit(Kind::Moves, 700).is_err());
        for _ in 0..2 {
            assert!(admit(Kind::Moves, 10_000).is_ok());
        }
        assert!(admit(Kind::Moves, 10_000).is_err(), "at most one second's worth is saved up");
        assert!(limits.admit(Kind::Security, 0, start).is_err());
    }
}
