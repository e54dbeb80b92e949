//! What a volume remembers of the broker that lives on it: who it is, and whom it knew.
//!
//! Source: redpanda.md 2.3. The volume's uuid is made on the first start; the id and the cluster follow when
//! the broker has found or joined one. A volume that is lost takes them with it, and the broker comes back as
//! another member.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::members::Member;
use crate::config::NodeIdOverride;
use crate::volume::Volume;

/// A broker's identity as it is kept on its volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub uuid: Uuid,
    /// Starts on this volume.
    pub revision: u64,
    pub membership: Option<Membership>,
}

/// Which cluster the broker belongs to, and as whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Membership {
    pub cluster: Uuid,
    pub id: i32,
    /// The volumes of the brokers that founded the cluster, and the ids they have: a founder that is late
    /// learns here that it is one.
    pub founders: Vec<(Uuid, i32)>,
}

/// The other brokers' addresses as they are kept on the volume, for the time until the controller is heard.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tables {
    pub members: Vec<Member>,
}

fn identity_path(volume: &Volume) -> PathBuf {
    volume.root().join("identity.json")
}

fn tables_path(volume: &Volume) -> PathBuf {
    volume.root().join("tables.json")
}

fn load<T: serde::de::DeserializeOwned>(volume: &Volume, path: PathBuf) -> io::Result<Option<T>> {
    let Some(bytes) = volume.read(&path)? else { return Ok(None) };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display())))
}

/// Reads the identity, or makes one with `new_uuid`; counts the start, and writes it back.
///
/// # Errors
/// The volume's error, or an identity that cannot be read.
pub(crate) fn start(volume: &Volume, new_uuid: Uuid) -> io::Result<Identity> {
    volume.create_directory(volume.root())?;
    let known = load(volume, identity_path(volume))?;
    let mut identity = known.unwrap_or(Identity { uuid: new_uuid, revision: 0, membership: None });
    identity.revision += 1;
    save(volume, &identity)?;
    Ok(identity)
}

/// Takes another identity if one of `overrides` is about this volume; gives the id that goes with it.
///
/// A volume that has an id keeps it, unless the override says otherwise; the cluster then lets the broker in as the
/// member whose uuid it has.
///
/// # Errors
/// The volume's error; then the identity is as before.
pub(crate) fn take_over(
    volume: &Volume,
    identity: &mut Identity,
    overrides: &[NodeIdOverride],
) -> io::Result<Option<i32>> {
    let is_meant = |entry: &&NodeIdOverride| entry.current_uuid == identity.uuid;
    let Some(entry) = overrides.iter().find(is_meant) else {
        // After the first start with an override the volume has the new uuid.
        let taken = overrides.iter().find(|entry| entry.new_uuid == identity.uuid);
        return Ok(taken.map(|entry| entry.new_id));
    };
    if let Some(membership) = identity.membership.as_ref().filter(|_| !entry.ignore_existing_node_id) {
        tracing::warn!(id = membership.id, "the volume has an id; node_id_overrides does not change it");
        return Ok(None);
    }
    let next = Identity { uuid: entry.new_uuid, membership: None, ..identity.clone() };
    save(volume, &next)?;
    tracing::info!(from = %identity.uuid, to = %next.uuid, id = entry.new_id, "another identity is taken");
    *identity = next;
    Ok(Some(entry.new_id))
}

/// Writes the identity, durably.
pub(crate) fn save(volume: &Volume, identity: &Identity) -> io::Result<()> {
    volume.replace(&identity_path(volume), &serde_json::to_vec(identity)?)
}

/// Reads the tables; empty ones if there are none yet.
pub(crate) fn load_tables(volume: &Volume) -> io::Result<Tables> {
    Ok(load(volume, tables_path(volume))?.unwrap_or_default())
}

/// Writes the tables, durably.
pub(crate) fn save_tables(volume: &Volume, tables: &Tables) -> io::Result<()> {
    volume.replace(&tables_path(volume), &serde_json::to_vec(tables)?)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use turmoil_fs::Fs;

    use super::*;

    #[test]
    fn the_uuid_stays_and_starts_are_counted() {
        let fs = Fs::builder().seed(3).build();
        let volume = Volume::simulated(fs.clone(), PathBuf::from("/var/lib/redpanda/data"));
        let first = start(&volume, Uuid::from_u128(1)).unwrap();
        fs.crash();
        let second = start(&volume, Uuid::from_u128(2)).unwrap();
        assert_eq!((first.uuid, first.revision), (second.uuid, 1));
        assert_eq!(second.revision, 2);
    }

    #[test]
    fn an_override_is_for_one_uuid_and_spares_a_volume_with_an_id() {
        let volume = Volume::simulated(Fs::builder().seed(3).build(), PathBuf::from("/data"));
        let (old, new) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let entry = |ignore_existing_node_id| {
            vec![NodeIdOverride { current_uuid: old, new_uuid: new, new_id: 7, ignore_existing_node_id }]
        };
        let membership = Membership { cluster: Uuid::nil(), id: 3, founders: Vec::new() };
        let mut identity = start(&volume, old).unwrap();
        identity.membership = Some(membership);
        let other = &mut Identity { uuid: Uuid::from_u128(9), ..identity.clone() };
        assert_eq!(take_over(&volume, other, &entry(true)).unwrap(), None);
        assert_eq!(take_over(&volume, &mut identity, &entry(false)).unwrap(), None);
        assert_eq!(identity.uuid, old);
        assert_eq!(take_over(&volume, &mut identity, &entry(true)).unwrap(), Some(7));
        assert_eq!((identity.uuid, &identity.membership), (new, &None));
        let mut again = start(&volume, old).unwrap();
        assert_eq!(again.uuid, new, "the volume keeps it");
        assert_eq!(take_over(&volume, &mut again, &entry(false)).unwrap(), Some(7));
    }
}
