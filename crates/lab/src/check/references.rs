//! References between objects: what is missing, and where a broker's configuration is written.

use hopwise_kube::manifest::{Manifests, Object, Origin};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::PodSpec;

use super::brokers::KnownBroker;
use super::facts::position;
use crate::findings::facts::{AddressList, Configurator, MissingReference, Position};

/// The ConfigMaps that pods refer to and no manifest has. Secrets are mostly made elsewhere (by cert-manager, by
/// hand), so that one is in no manifest says nothing; a ConfigMap is part of what is deployed.
pub fn missing(manifests: &Manifests) -> Vec<MissingReference> {
    let mut missing = Vec::new();
    let mut look =
        |from: String, namespace: &Option<String>, spec: Option<&PodSpec>, origin: &Origin, prefix: &str| {
            let Some(spec) = spec else { return };
            for (field, name, optional) in config_maps_of(spec) {
                let known =
                    manifests.config_maps.iter().any(|map| map.name == name && map.namespace == *namespace);
                if known || name.is_empty() {
                    continue;
                }
                let field = format!("{prefix}{field}");
                missing.push(MissingReference {
                    from: from.clone(),
                    position: Some(position(&origin.locate(field.as_str()))),
                    field,
                    to: format!("ConfigMap {}/{name}", namespace.as_deref().unwrap_or("default")),
                    optional,
                });
            }
        };
    for set in &manifests.stateful_sets {
        let spec = set.value.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
        look(set.reference().to_string(), &set.namespace, spec, &set.origin, "spec.template.spec.");
    }
    for deployment in &manifests.deployments {
        let spec = deployment.value.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
        look(
            deployment.reference().to_string(),
            &deployment.namespace,
            spec,
            &deployment.origin,
            "spec.template.spec.",
        );
    }
    for pod in &manifests.pods {
        look(pod.reference().to_string(), &pod.namespace, pod.value.spec.as_ref(), &pod.origin, "spec.");
    }
    missing
}

/// `(field below the pod's spec, name, whether it is optional)` of each reference to a ConfigMap.
fn config_maps_of(spec: &PodSpec) -> Vec<(String, String, bool)> {
    let mut found = Vec::new();
    for (volume, index) in spec.volumes.iter().flatten().zip(0..) {
        if let Some(map) = &volume.config_map {
            found.push((
                format!("volumes[{index}].configMap.name"),
                map.name.clone(),
                map.optional.unwrap_or(false),
            ));
        }
    }
    let init = spec
        .init_containers
        .iter()
        .flatten()
        .zip(0..)
        .map(|(it, index)| (format!("initContainers[{index}]"), it));
    let main = spec.containers.iter().zip(0..).map(|(it, index)| (format!("containers[{index}]"), it));
    for (path, container) in init.chain(main) {
        for (variable, index) in container.env.iter().flatten().zip(0..) {
            if let Some(map) = variable.value_from.as_ref().and_then(|from| from.config_map_key_ref.as_ref())
            {
                let field = format!("{path}.env[{index}].valueFrom.configMapKeyRef.name");
                found.push((field, map.name.clone(), map.optional.unwrap_or(false)));
            }
        }
        for (from, index) in container.env_from.iter().flatten().zip(0..) {
            if let Some(map) = &from.config_map_ref {
                let field = format!("{path}.envFrom[{index}].configMapRef.name");
                found.push((field, map.name.clone(), map.optional.unwrap_or(false)));
            }
        }
    }
    found
}

/// What the configurator script of a set says, if it has one: a Secret or ConfigMap key called `configurator.sh`
/// that an init container mounts (redpanda.md 1.6).
pub fn configurator(manifests: &Manifests, set: &Object<StatefulSet>) -> Option<Configurator> {
    let (text, position) = configurator_script(manifests, set)?;
    let quoted = |line: &str| line.split('"').nth(1).unwrap_or("").to_owned();
    let lines = || text.lines().map(str::trim);
    let prefix_templates: Vec<String> = lines()
        .filter(|line| line.starts_with("PREFIX_TEMPLATE="))
        .map(quoted)
        .filter(|it| !it.is_empty())
        .collect();
    let mut addresses: Vec<AddressList> = Vec::new();
    for line in lines().filter(|line| line.starts_with("ADVERTISED_") && line.contains("+=(")) {
        let listener =
            line.split(r#"\"name\":\""#).nth(1).and_then(|rest| rest.split('\\').next()).unwrap_or("");
        match addresses
            .iter_mut()
            .find(|list| list.listener == listener && line.starts_with("ADVERTISED_KAFKA"))
        {
            Some(list) => list.elements += 1,
            None if line.starts_with("ADVERTISED_KAFKA") => {
                addresses.push(AddressList { listener: listener.to_owned(), elements: 1 });
            }
            None => {}
        }
    }
    Some(Configurator {
        position: Some(position),
        uses_prefix_template: lines().any(|line| line.contains("+=(") && line.contains("PREFIX_TEMPLATE")),
        prefix_templates,
        addresses,
    })
}

fn configurator_script(manifests: &Manifests, set: &Object<StatefulSet>) -> Option<(String, Position)> {
    const KEY: &str = "configurator.sh";
    let pod = set.value.spec.as_ref()?.template.spec.as_ref()?;
    for volume in pod.volumes.iter().flatten() {
        if let Some(name) = volume.secret.as_ref().and_then(|source| source.secret_name.as_ref()) {
            let secret =
                manifests.secrets.iter().find(|it| it.name == *name && it.namespace == set.namespace);
            if let Some((secret, bytes)) = secret.and_then(|it| Some((it, it.value.data.as_ref()?.get(KEY)?)))
            {
                let text = String::from_utf8_lossy(&bytes.0).into_owned();
                return Some((text, position(&secret.origin.locate(format!("stringData[{KEY}]").as_str()))));
            }
        }
        if let Some(source) = &volume.config_map {
            let map = manifests
                .config_maps
                .iter()
                .find(|it| it.name == source.name && it.namespace == set.namespace);
            if let Some((map, text)) = map.and_then(|it| Some((it, it.value.data.as_ref()?.get(KEY)?))) {
                return Some((text.clone(), position(&map.origin.start())));
            }
        }
    }
    None
}

/// Where the addresses that a broker advertises are written: its configurator script, or else its StatefulSet.
pub fn configuration_of(manifests: &Manifests, broker: &KnownBroker) -> Option<Position> {
    let set = manifests.stateful_sets.iter().find(|set| Some(set.reference()) == broker.set)?;
    let script = configurator_script(manifests, set).map(|(_, position)| position);
    Some(script.unwrap_or_else(|| position(&set.origin.start())))
}
