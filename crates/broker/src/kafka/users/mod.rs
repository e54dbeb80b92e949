//! Requests about users that authenticate by SCRAM (KIP-554); any broker takes them.

pub(super) mod alter;
pub(super) mod describe;

use crate::cluster::users::ScramMechanism;

/// A mechanism by its code (Kafka: `ScramMechanism`).
fn mechanism(code: i8) -> Option<ScramMechanism> {
    match code {
        1 => Some(ScramMechanism::Sha256),
        2 => Some(ScramMechanism::Sha512),
        _ => None,
    }
}

fn code(mechanism: ScramMechanism) -> i8 {
    match mechanism {
        ScramMechanism::Sha256 => 1,
        ScramMechanism::Sha512 => 2,
    }
}
