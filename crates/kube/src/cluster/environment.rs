//! A container's environment, command and mounts, from its pod's specification.
//!
//! Sources: the Kubernetes pages "Define Environment Variables", "Define Dependent Environment Variables"
//! (`$(NAME)`, `$$`), "Expose Pod Information to Containers Through Environment Variables" and "Volumes".

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, EnvVar, EnvVarSource, Pod, Secret};

use crate::store::Store;

/// What a container's environment refers to and the cluster does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MissingReference {
    /// A ConfigMap, or a key in one.
    #[error("ConfigMap {namespace}/{name}{} does not exist", key.as_ref().map(|key| format!(" key {key}")).unwrap_or_default())]
    ConfigMap {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The key, if only that is missing.
        key: Option<String>,
    },
    /// A field that cannot be referred to.
    #[error("the field {0} cannot be used in an environment variable")]
    Field(String),
    /// A claim that no volume satisfies.
    #[error("PersistentVolumeClaim {0} is not bound")]
    Claim(String),
}

/// What stands for a Secret that is in no manifest: Secrets are mostly made elsewhere, so their absence from
/// the manifests says nothing about the cluster.
pub const ASSUMED_SECRET_VALUE: &str = "hopwise-assumed-secret";

/// What the environment of a pod's containers can refer to.
pub struct Surroundings<'a> {
    /// The API store.
    pub store: &'a Store,
    /// The pod.
    pub pod: &'a Pod,
    /// Its addresses.
    pub pod_ips: &'a [String],
    /// Its node's addresses.
    pub host_ips: &'a [String],
    /// Variables that every container gets (`KUBERNETES_SERVICE_HOST`...).
    pub cluster: &'a BTreeMap<String, String>,
}

impl Surroundings<'_> {
    /// The environment of the container called `container`.
    ///
    /// # Errors
    /// A reference to something that does not exist and is not optional.
    pub fn environment(
        &self,
        container: &k8s_openapi::api::core::v1::Container,
    ) -> Result<BTreeMap<String, String>, MissingReference> {
        let mut environment = self.cluster.clone();
        for from in container.env_from.iter().flatten() {
            let prefix = from.prefix.as_deref().unwrap_or("");
            let mut add = |entries: BTreeMap<String, String>| {
                environment.extend(entries.into_iter().map(|(key, value)| (format!("{prefix}{key}"), value)));
            };
            if let Some(reference) = &from.config_map_ref {
                add(self.config_map(&reference.name, reference.optional.unwrap_or(false))?);
            }
            if let Some(reference) = &from.secret_ref {
                add(self.secret(&reference.name));
            }
        }
        for variable in container.env.iter().flatten() {
            if let Some(value) = self.value(variable, &environment)? {
                environment.insert(variable.name.clone(), value);
            }
        }
        Ok(environment)
    }

    fn value(
        &self,
        variable: &EnvVar,
        environment: &BTreeMap<String, String>,
    ) -> Result<Option<String>, MissingReference> {
        if let Some(value) = &variable.value {
            return Ok(Some(expand(value, environment)));
        }
        let Some(source) = &variable.value_from else { return Ok(Some(String::new())) };
        self.referred(source)
    }

    fn referred(&self, source: &EnvVarSource) -> Result<Option<String>, MissingReference> {
        if let Some(field) = &source.field_ref {
            return self.field(&field.field_path).map(Some);
        }
        if let Some(reference) = &source.config_map_key_ref {
            let optional = reference.optional.unwrap_or(false);
            let map = self.config_map(&reference.name, optional)?;
            return match map.get(&reference.key) {
                Some(value) => Ok(Some(value.clone())),
                None if optional => Ok(None),
                None => Err(MissingReference::ConfigMap {
                    namespace: self.namespace().into(),
                    name: reference.name.clone(),
                    key: Some(reference.key.clone()),
                }),
            };
        }
        if let Some(reference) = &source.secret_key_ref {
            let value = self.secret(&reference.name).remove(&reference.key);
            return Ok(value.or_else(|| Some(ASSUMED_SECRET_VALUE.into())));
        }
        if let Some(resource) = &source.resource_field_ref {
            return Ok(Some(self.resource(resource.container_name.as_deref(), &resource.resource)));
        }
        Ok(None)
    }

    /// A field of the pod, as the downward API gives it.
    fn field(&self, path: &str) -> Result<String, MissingReference> {
        let meta = &self.pod.metadata;
        let spec = self.pod.spec.as_ref();
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let in_map = |map: &Option<BTreeMap<String, String>>, rest: &str| {
            let key = rest.trim_start_matches("['").trim_end_matches("']");
            map.as_ref().and_then(|map| map.get(key)).cloned().unwrap_or_default()
        };
        Ok(match path {
            "metadata.name" => text(&meta.name),
            "metadata.namespace" => text(&meta.namespace),
            "metadata.uid" => text(&meta.uid),
            "spec.nodeName" => spec.map(|spec| text(&spec.node_name)).unwrap_or_default(),
            "spec.serviceAccountName" => {
                spec.and_then(|spec| spec.service_account_name.clone()).unwrap_or_else(|| "default".into())
            }
            "status.podIP" => self.pod_ips.first().cloned().unwrap_or_default(),
            "status.podIPs" => self.pod_ips.join(","),
            "status.hostIP" => self.host_ips.first().cloned().unwrap_or_default(),
            "status.hostIPs" => self.host_ips.join(","),
            _ => match (path.strip_prefix("metadata.labels"), path.strip_prefix("metadata.annotations")) {
                (Some(rest), _) => in_map(&meta.labels, rest),
                (_, Some(rest)) => in_map(&meta.annotations, rest),
                _ => return Err(MissingReference::Field(path.into())),
            },
        })
    }

    fn resource(&self, container: Option<&str>, resource: &str) -> String {
        let containers = self.pod.spec.iter().flat_map(|spec| &spec.containers);
        let found = containers.filter(|it| container.is_none_or(|name| it.name == name)).find_map(|it| {
            let resources = it.resources.as_ref()?;
            let (section, name) = resource.split_once('.')?;
            let amounts = if section == "limits" { &resources.limits } else { &resources.requests };
            amounts.as_ref()?.get(name).map(|quantity| quantity.0.clone())
        });
        found.unwrap_or_else(|| "0".into())
    }

    fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or("default")
    }

    fn config_map(&self, name: &str, optional: bool) -> Result<BTreeMap<String, String>, MissingReference> {
        match self.store.get::<ConfigMap>(self.namespace(), name) {
            Some(map) => Ok(map.data.clone().unwrap_or_default()),
            None if optional => Ok(BTreeMap::new()),
            None => {
                let (namespace, name) = (self.namespace().into(), name.into());
                Err(MissingReference::ConfigMap { namespace, name, key: None })
            }
        }
    }

    fn secret(&self, name: &str) -> BTreeMap<String, String> {
        let Some(secret) = self.store.get::<Secret>(self.namespace(), name) else { return BTreeMap::new() };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let data = secret.data.iter().flatten().map(|(key, value)| (key.clone(), text(&value.0)));
        let plain = secret.string_data.iter().flatten().map(|(key, value)| (key.clone(), value.clone()));
        data.chain(plain).collect()
    }

    /// The files of a ConfigMap, by key.
    ///
    /// # Errors
    /// If it does not exist and is not optional.
    pub fn config_map_files(
        &self,
        name: &str,
        optional: bool,
    ) -> Result<BTreeMap<String, Vec<u8>>, MissingReference> {
        let mut files: BTreeMap<String, Vec<u8>> = self
            .config_map(name, optional)?
            .into_iter()
            .map(|(key, value)| (key, value.into_bytes()))
            .collect();
        if let Some(map) = self.store.get::<ConfigMap>(self.namespace(), name) {
            files.extend(map.binary_data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())));
        }
        Ok(files)
    }

    /// The files of a Secret, by key; none if it is in no manifest.
    pub fn secret_files(&self, name: &str) -> BTreeMap<String, Vec<u8>> {
        self.secret(name).into_iter().map(|(key, value)| (key, value.into_bytes())).collect()
    }
}

/// Replaces `$(NAME)` by the variable of that name, if there is one, and `$$` by `$`.
pub fn expand(text: &str, environment: &BTreeMap<String, String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$$") {
            expanded.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix("$(").and_then(|inner| inner.split_once(')')) {
            match environment.get(name) {
                Some(value) => expanded.push_str(value),
                None => expanded.push_str(&rest[..name.len() + 3]),
            }
            rest = after;
        } else {
            expanded.push('$');
            rest = &rest[1..];
        }
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependent_variables_expand_as_the_api_says() {
        let environment: BTreeMap<String, String> = [("NAME".to_string(), "redpanda-0".to_string())].into();
        for (text, expected) in [
            ("--advertise-rpc-addr=$(NAME).redpanda:33145", "--advertise-rpc-addr=redpanda-0.redpanda:33145"),
            ("$(MISSING) stays", "$(MISSING) stays"),
            ("$$(NAME)", "$(NAME)"),
            ("$NAME and $", "$NAME and $"),
            ("$(NAME", "$(NAME"),
        ] {
            assert_eq!(expand(text, &environment), expected);
        }
    }
}
