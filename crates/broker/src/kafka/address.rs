//! Which address of a broker a client is told: by the NAME of the listener that its connection entered.
//!
//! Source: redpanda.md 4.1.

use crate::cluster::members::Member;
use crate::config::{HostPort, Listener};

/// The address for Metadata. Where no advertised entry has the listener's name: the broker's own listener for
/// itself; for another broker a guess, an entry with the listener's port or else its first one; `None` leaves
/// the broker out.
pub(super) fn for_metadata(member: &Member, own_id: i32, listener: &Listener) -> Option<HostPort> {
    if let Some(address) = for_coordinator(member, listener) {
        return Some(address);
    }
    if member.id == own_id {
        return Some(HostPort::new(listener.bind.ip().to_string(), listener.bind.port()));
    }
    let port = listener.bind.port();
    let guess = member.kafka.iter().find(|entry| entry.address.port == port).or(member.kafka.first())?;
    tracing::warn!(
        broker = member.id,
        listener = listener.name,
        guess = %guess.address,
        "the broker advertises nothing for the listener; another of its addresses is told"
    );
    Some(guess.address.clone())
}

/// The address for FindCoordinator: that of the listener's name, or none.
pub(super) fn for_coordinator(member: &Member, listener: &Listener) -> Option<HostPort> {
    let entry = member.kafka.iter().find(|entry| entry.name == listener.name)?;
    Some(entry.address.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::members::member;
    use crate::config::{Api, Authentication};

    fn listener(name: &str, port: u16) -> Listener {
        Listener {
            api: Api::Kafka,
            name: name.to_owned(),
            bind: ([0, 0, 0, 0], port).into(),
            advertised: None,
            tls: false,
            tls_files: None,
            authentication: Authentication::None,
        }
    }

    #[test]
    fn the_name_decides_not_the_port() {
        let address = for_metadata(&member(1, None), 0, &listener("default", 9093)).unwrap();
        assert_eq!(address.to_string(), "out-1:31092");
    }

    #[test]
    fn without_the_name_metadata_guesses_and_the_coordinator_does_not() {
        let renamed = listener("renamed", 31092);
        assert_eq!(for_metadata(&member(1, None), 0, &renamed).unwrap().to_string(), "out-1:31092");
        let unknown = listener("renamed", 1);
        assert_eq!(for_metadata(&member(1, None), 0, &unknown).unwrap().to_string(), "in-1:9093");
        assert_eq!(for_metadata(&member(0, None), 0, &unknown).unwrap().to_string(), "0.0.0.0:1");
        assert_eq!(for_coordinator(&member(1, None), &unknown), None);
        let mut mute = member(1, None);
        mute.kafka.clear();
        assert_eq!(for_metadata(&mute, 0, &unknown), None);
    }
}
