//! What the API server adds to a pod on its way in, as far as it changes where the pod runs and for how long.
//!
//! Source: kubernetes.md 1.6 (default tolerations), 8 (termination grace).

use k8s_openapi::api::core::v1::{Pod, Toleration};

/// The taint of a node whose kubelet reports that it is not ready.
pub const NOT_READY_TAINT: &str = "node.kubernetes.io/not-ready";
/// The taint of a node whose kubelet is silent.
pub const UNREACHABLE_TAINT: &str = "node.kubernetes.io/unreachable";
/// How long a pod stays on a not-ready or unreachable node by default, in seconds.
pub const TOLERATION_SECONDS_DEFAULT: i64 = 300;
/// How long a pod may take to stop by default, in seconds.
pub const GRACE_PERIOD_SECONDS_DEFAULT: i64 = 30;

/// Fills in the default tolerations and the default grace period.
pub fn admit(pod: &mut Pod) {
    let spec = pod.spec.get_or_insert_default();
    spec.termination_grace_period_seconds.get_or_insert(GRACE_PERIOD_SECONDS_DEFAULT);
    let tolerations = spec.tolerations.get_or_insert_default();
    for taint in [NOT_READY_TAINT, UNREACHABLE_TAINT] {
        let covered = |toleration: &Toleration| {
            let key = toleration.key.as_deref().unwrap_or("");
            let effect = toleration.effect.as_deref().unwrap_or("");
            (key.is_empty() || key == taint) && (effect.is_empty() || effect == "NoExecute")
        };
        if !tolerations.iter().any(covered) {
            tolerations.push(Toleration {
                key: Some(taint.into()),
                operator: Some("Exists".into()),
                effect: Some("NoExecute".into()),
                toleration_seconds: Some(TOLERATION_SECONDS_DEFAULT),
                value: None,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_tolerations_are_kept() {
        let mut pod = Pod::default();
        pod.spec.get_or_insert_default().tolerations = Some(vec![Toleration {
            key: Some(UNREACHABLE_TAINT.into()),
            operator: Some("Exists".into()),
            toleration_seconds: Some(5),
            ..Default::default()
        }]);
        admit(&mut pod);
        admit(&mut pod);
        let tolerations = pod.spec.unwrap().tolerations.unwrap();
        let seconds: Vec<_> =
            tolerations.iter().map(|t| (t.key.as_deref().unwrap(), t.toleration_seconds.unwrap())).collect();
        assert_eq!(seconds, [(UNREACHABLE_TAINT, 5), (NOT_READY_TAINT, 300)]);
    }
}
