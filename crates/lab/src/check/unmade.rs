//! Objects that should make pods and have none, and why.
//!
//! The API server takes a StatefulSet or Deployment whose template it would refuse as a pod, and then refuses every pod that
//! the controller makes of it. Whoever looks at a Service or a broker then sees nothing but that there is no pod.

use std::collections::BTreeMap;

use hopwise_kube::admission::{Refused, Rejection};
use hopwise_kube::manifest::{Manifests, ObjectRef};
use k8s_openapi::api::core::v1::PodTemplateSpec;

use crate::findings::facts::UnmadePods;

/// Why the API server refuses every pod that is made of `object`; `None` if it does not.
pub fn refusal(rejections: &[Rejection], object: &ObjectRef) -> Option<String> {
    let mut of_object = rejections.iter().filter(|it| it.object == *object);
    let Rejection { field, what, location, .. } = of_object.find(|it| it.refused == Refused::Pods)?;
    Some(format!("the API server refuses them because {what} ({field}, {location})"))
}

/// The StatefulSets and Deployments in `namespace` whose pods `selects` would take by their labels.
pub fn selected(
    manifests: &Manifests,
    rejections: &[Rejection],
    namespace: &str,
    selects: impl Fn(&BTreeMap<String, String>) -> bool,
) -> Vec<UnmadePods> {
    let sets = manifests.stateful_sets.iter().filter_map(|set| {
        let spec = set.value.spec.as_ref()?;
        Some((set.reference(), &set.namespace, &spec.template, spec.replicas))
    });
    let deployments = manifests.deployments.iter().filter_map(|deployment| {
        let spec = deployment.value.spec.as_ref()?;
        Some((deployment.reference(), &deployment.namespace, &spec.template, spec.replicas))
    });
    let fits = |template: &PodTemplateSpec| {
        template.metadata.as_ref().and_then(|it| it.labels.as_ref()).is_some_and(&selects)
    };
    sets.chain(deployments)
        .filter(|(_, of, template, _)| of.as_deref() == Some(namespace) && fits(template))
        .map(|(object, _, _, replicas)| {
            let why = refusal(rejections, &object).unwrap_or_else(|| match replicas {
                Some(0) => "its spec.replicas is 0".to_owned(),
                _ => "none has been made".to_owned(),
            });
            UnmadePods { owner: object.to_string(), why }
        })
        .collect()
}
