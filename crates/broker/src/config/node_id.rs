//! The broker's id as the file has it. Source: redpanda.md 2.1.

use uuid::Uuid;

use super::ConfigError;
use super::build::wrong;
use super::file::{Override, Redpanda};

/// Gives the broker whose volume has one uuid the uuid and the id of another, so that a broker whose disk was lost
/// goes on as the member that it was (redpanda.md 2.1 and 2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeIdOverride {
    /// The uuid on the volume; with another one this entry changes nothing.
    pub current_uuid: Uuid,
    /// The uuid that the volume gets.
    pub new_uuid: Uuid,
    /// The id that goes with it.
    pub new_id: i32,
    /// Whether a volume that has an id already is changed too.
    pub ignore_existing_node_id: bool,
}

/// `node_id`.
pub(super) fn configured(redpanda: &Redpanda) -> Result<Option<i32>, ConfigError> {
    match redpanda.node_id {
        Some(id) if id < 0 => Err(wrong(
            "redpanda.node_id",
            None,
            format!("{id} is negative"),
            "use 0 or more, or leave it out",
        )),
        id => Ok(id),
    }
}

/// `node_id_overrides`.
pub(super) fn overrides(redpanda: &Redpanda) -> Result<Vec<NodeIdOverride>, ConfigError> {
    let entry = |(index, entry): (usize, &Override)| {
        let field = |name: &str| format!("redpanda.node_id_overrides[{index}].{name}");
        let uuid = |name: &str, text: &Option<String>| match text.as_deref().map(str::parse) {
            Some(Ok(uuid)) => Ok(uuid),
            Some(Err(_)) => {
                let problem = format!("\"{}\" is no uuid", text.as_deref().unwrap_or_default());
                Err(wrong(field(name), None, problem, "use the form of GET /v1/broker_uuids"))
            }
            None => Err(wrong(field(name), None, "is missing".to_owned(), "give the broker's uuid")),
        };
        let new_id = entry.new_id.filter(|id| *id >= 0);
        Ok(NodeIdOverride {
            current_uuid: uuid("current_uuid", &entry.current_uuid)?,
            new_uuid: uuid("new_uuid", &entry.new_uuid)?,
            new_id: new_id.ok_or_else(|| {
                let problem = "is missing or negative".to_owned();
                wrong(field("new_id"), None, problem, "give the id that the uuid has")
            })?,
            ignore_existing_node_id: entry.ignore_existing_node_id,
        })
    };
    let overrides = redpanda.node_id_overrides.iter().enumerate().map(entry);
    let overrides: Vec<NodeIdOverride> = overrides.collect::<Result<_, ConfigError>>()?;
    for (index, one) in overrides.iter().enumerate() {
        if overrides[..index].iter().any(|other| other.current_uuid == one.current_uuid) {
            let field = format!("redpanda.node_id_overrides[{index}].current_uuid");
            let problem = format!("{} is there twice", one.current_uuid);
            return Err(wrong(&field, None, problem, "keep one of the two entries"));
        }
    }
    Ok(overrides)
}

#[cfg(test)]
mod tests {
    use crate::config::NodeConfig;

    fn read(entries: &str) -> Result<NodeConfig, String> {
        let yaml = format!("redpanda:\n  data_directory: /d\n  node_id_overrides: [{entries}]\n");
        NodeConfig::parse(&yaml, None).map_err(|error| error.to_string())
    }

    const OLD: &str = "01234567-89ab-4def-8123-456789abcdef";
    const NEW: &str = "11234567-89ab-4def-8123-456789abcdef";

    #[test]
    fn overrides_are_read_and_what_is_wrong_is_told() {
        let good = format!("{{current_uuid: {OLD}, new_uuid: {NEW}, new_id: 3}}");
        let config = read(&good).unwrap();
        let entry = &config.node_id_overrides[0];
        assert_eq!((entry.current_uuid.to_string().as_str(), entry.new_id), (OLD, 3));
        assert!(!entry.ignore_existing_node_id && config.unknown.is_empty());
        for (entries, said) in [
            (format!("{{current_uuid: x, new_uuid: {NEW}, new_id: 3}}"), "[0].current_uuid"),
            (format!("{{current_uuid: {OLD}, new_id: 3}}"), "[0].new_uuid: is missing"),
            (format!("{{current_uuid: {OLD}, new_uuid: {NEW}, new_id: -3}}"), "[0].new_id"),
            (format!("{good}, {good}"), "[1].current_uuid"),
        ] {
            let error = read(&entries).unwrap_err();
            assert!(error.contains("redpanda.node_id_overrides") && error.contains(said), "{error}");
        }
    }
}
