//! Whether a pod's volumes are attached to its node.

use k8s_openapi::api::core::v1::Pod;

use crate::store::Store;

/// Why the volumes of a pod cannot be mounted on its node yet; none once all of them can.
pub fn waits_for(_store: &Store, _pod: &Pod) -> Option<String> {
    None
}
