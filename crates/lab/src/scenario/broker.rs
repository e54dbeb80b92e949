//! What a scenario says of its brokers beyond their manifests: the promise that they break.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A promise that every broker of the cluster breaks, so that the checks that watch over it can be seen to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BrokerBug {
    /// A batch counts as kept before it is on the disk.
    AckBeforeFsync,
    /// acks=all is answered when the leader alone has the batch.
    AckBeforeMajority,
    /// Consumers get records that no majority has.
    ReadBeyondHighWatermark,
    /// A restarted broker does not know which sequences its producers have sent.
    ForgetProducers,
    /// A replica that does not lead serves as if it did.
    ServeWithoutLeading,
    /// Consumers that read committed records are not told which were aborted.
    HideAborts,
}

impl BrokerBug {
    /// Whether this build has them.
    pub const BUILT: bool = cfg!(feature = "bugs");

    /// What it switches on in the brokers.
    #[cfg(feature = "bugs")]
    pub fn bugs(self) -> hopwise_broker::Bugs {
        use hopwise_broker::Bugs;
        match self {
            BrokerBug::AckBeforeFsync => Bugs { ack_before_fsync: true, ..Bugs::default() },
            BrokerBug::AckBeforeMajority => Bugs { ack_before_majority: true, ..Bugs::default() },
            BrokerBug::ReadBeyondHighWatermark => {
                Bugs { read_beyond_high_watermark: true, ..Bugs::default() }
            }
            BrokerBug::ForgetProducers => Bugs { forget_producers: true, ..Bugs::default() },
            BrokerBug::ServeWithoutLeading => Bugs { serve_without_leading: true, ..Bugs::default() },
            BrokerBug::HideAborts => Bugs { hide_aborts: true, ..Bugs::default() },
        }
    }
}
