//! What faults do to the disks behind claims.

use hopwise_kube::cluster::{Cluster, DiskFault, OperationError};

use crate::scenario::{MendedDisk, ObjectName};

pub(super) fn break_disk(
    cluster: &Cluster,
    claim: &ObjectName,
    fault: DiskFault,
) -> Result<(), OperationError> {
    cluster.break_disk(&claim.namespace, &claim.name, fault)
}

pub(super) fn mend(cluster: &Cluster, mended: &MendedDisk) -> Result<(), OperationError> {
    let of = mended.of.map(|trouble| trouble.of_cluster());
    cluster.mend_disk(&mended.claim.namespace, &mended.claim.name, of)
}
