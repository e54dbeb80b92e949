//! The fields that Kubernetes requires.
//!
//! Source: the `required` lists of the Kubernetes OpenAPI document (api/openapi-spec/v3), for the types that
//! the kept kinds are made of. The lists are reproduced for what a manifest writes; status types, which only
//! the system writes, are left out.

/// The fields that the API's type `name` cannot do without.
pub fn required_fields(name: &str) -> &'static [&'static str] {
    match name {
        "StatefulSetSpec" | "DeploymentSpec" => &["selector", "template"],
        "Service" | "Pod" | "ConfigMap" | "Secret" => &["metadata"],
        "StatefulSet" | "Deployment" => &["metadata", "spec"],
        "PodSpec" => &["containers"],
        "Container" | "EphemeralContainer" | "EnvVar" | "Volume" | "PodResourceClaim" | "ResourceClaim" => {
            &["name"]
        }
        "ContainerPort" => &["containerPort"],
        "ContainerResizePolicy" => &["resourceName", "restartPolicy"],
        "HTTPHeader" => &["name", "value"],
        "VolumeMount" => &["name", "mountPath"],
        "VolumeDevice" => &["name", "devicePath"],
        "KeyToPath" => &["key", "path"],
        "ConfigMapKeySelector" | "SecretKeySelector" => &["key"],
        "ObjectFieldSelector" => &["fieldPath"],
        "ResourceFieldSelector" => &["resource"],
        "DownwardAPIVolumeFile" | "ServiceAccountTokenProjection" => &["path"],
        "HostPathVolumeSource" | "LocalVolumeSource" => &["path"],
        "NFSVolumeSource" => &["server", "path"],
        "CSIVolumeSource" => &["driver"],
        "CSIPersistentVolumeSource" => &["driver", "volumeHandle"],
        "PersistentVolumeClaimVolumeSource" => &["claimName"],
        "HTTPGetAction" | "TCPSocketAction" | "GRPCAction" => &["port"],
        "SleepAction" => &["seconds"],
        "TopologySpreadConstraint" => &["maxSkew", "topologyKey", "whenUnsatisfiable"],
        "PodAffinityTerm" => &["topologyKey"],
        "WeightedPodAffinityTerm" => &["weight", "podAffinityTerm"],
        "PreferredSchedulingTerm" => &["weight", "preference"],
        "NodeSelector" => &["nodeSelectorTerms"],
        "NodeSelectorRequirement" | "LabelSelectorRequirement" => &["key", "operator"],
        "PodReadinessGate" => &["conditionType"],
        "PodSchedulingGate" => &["name"],
        "Sysctl" => &["name", "value"],
        "SeccompProfile" => &["type"],
        "ServicePort" => &["port"],
        "StorageClass" => &["provisioner"],
        "TypedLocalObjectReference" | "TypedObjectReference" => &["kind", "name"],
        "IPBlock" => &["cidr"],
        "EndpointSlice" => &["addressType", "endpoints"],
        "Endpoint" => &["addresses"],
        "EndpointAddress" => &["ip"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_without_required_fields_has_none() {
        assert!(required_fields("ServiceSpec").is_empty());
        assert_eq!(required_fields("EnvVar"), ["name"]);
    }
}
