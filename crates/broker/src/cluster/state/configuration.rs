//! Commands about properties, features and quotas. Source: redpanda.md 3.1.1; KIP-546 for quotas.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::command::Applied;
use super::super::features::{FEATURES, FeatureState};
use super::super::quotas::QuotaEntity;
use super::State;
use crate::rpc::Refusal;

impl State {
    pub(super) fn alter_cluster_config(&mut self, properties: &BTreeMap<String, Option<Value>>) -> Applied {
        for (name, value) in properties {
            match value {
                Some(value) => self.properties.insert(name.clone(), value.clone()),
                None => self.properties.remove(name),
            };
        }
        self.config_version += 1;
        Applied::ConfigVersion(self.config_version)
    }

    pub(super) fn set_feature(&mut self, name: &str, state: FeatureState) -> Result<Applied, Refusal> {
        if !FEATURES.contains(&name) {
            return Err(Refusal::NotFound(format!("there is no feature '{name}'")));
        }
        self.features.insert(name.to_owned(), state);
        Ok(Applied::Done)
    }

    /// Whether a feature is in use; `None` if there is no such feature.
    pub fn feature(&self, name: &str) -> Option<FeatureState> {
        let known = FEATURES.contains(&name);
        known.then(|| self.features.get(name).copied().unwrap_or(FeatureState::Active))
    }

    pub(super) fn alter_quotas(
        &mut self,
        entity: &QuotaEntity,
        values: &BTreeMap<String, Option<f64>>,
    ) -> Applied {
        let mut limits = self.quotas.remove(entity).unwrap_or_default();
        for (key, value) in values {
            match value {
                Some(value) => limits.insert(key.clone(), *value),
                None => limits.remove(key),
            };
        }
        if !limits.is_empty() {
            self.quotas.insert(entity.clone(), limits);
        }
        Applied::Done
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::quotas::QuotaName;
    use super::super::Command;
    use super::*;

    #[test]
    fn every_change_of_properties_is_a_version() {
        let mut state = State::default();
        let set = |value: Option<Value>| Command::AlterClusterConfig {
            properties: BTreeMap::from([("log_segment_size".to_owned(), value)]),
        };
        assert_eq!(state.apply(&set(Some(json!(1)))), Ok(Applied::ConfigVersion(1)));
        assert_eq!(state.properties["log_segment_size"], json!(1));
        assert_eq!(state.apply(&set(None)), Ok(Applied::ConfigVersion(2)));
        assert!(state.properties.is_empty());
    }

    #[test]
    fn only_known_features_are_switched() {
        let mut state = State::default();
        let set = |name: &str| Command::SetFeature { name: name.to_owned(), state: FeatureState::Disabled };
        assert!(matches!(state.apply(&set("no_such")), Err(Refusal::NotFound(_))));
        assert_eq!(state.feature("no_such"), None);
        assert_eq!(state.feature("delete_records"), Some(FeatureState::Active));
        state.apply(&set("delete_records")).unwrap();
        assert_eq!(state.feature("delete_records"), Some(FeatureState::Disabled));
    }

    #[test]
    fn an_entity_without_limits_is_forgotten() {
        let mut state = State::default();
        let entity = QuotaEntity { client_id: Some(QuotaName::Name("c".into())), ..QuotaEntity::default() };
        let set = |value| Command::AlterQuotas {
            entity: entity.clone(),
            values: BTreeMap::from([("consumer_byte_rate".to_owned(), value)]),
        };
        state.apply(&set(Some(5.0))).unwrap();
        assert_eq!(state.quotas[&entity]["consumer_byte_rate"], 5.0);
        state.apply(&set(None)).unwrap();
        assert!(state.quotas.is_empty());
    }
}
