//! Disks that are full, slow, fail or lie.
//!
//! The disk is the volume behind a claim, which outlives its pods.

use hopwise_engine::Span;
use turmoil_fs::FsContext;

use super::OperationError;
use crate::cluster::Cluster;
use crate::cluster::programs::DiskTrouble;
use crate::volumes;

/// What is wrong with a disk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DiskFault {
    /// There is no space left: what needs some fails with ENOSPC.
    Full,
    /// A sync takes this much longer.
    Slow(Span),
    /// Reads and writes fail with EIO, with this probability (0 to 1).
    Failing(f64),
    /// Reads return other bytes than were written, with this probability (0 to 1), and say nothing.
    Corrupting(f64),
}

/// A kind of trouble with a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiskAspect {
    /// It is full.
    Full,
    /// It is slow.
    Slow,
    /// It fails.
    Failing,
    /// It lies.
    Corrupting,
}

impl Cluster {
    /// Lets something go wrong with the disk of a claim.
    ///
    /// # Errors
    /// If there is no such claim, or it has no volume.
    pub fn break_disk(&self, namespace: &str, claim: &str, fault: DiskFault) -> Result<(), OperationError> {
        let (file_system, trouble) = self.disk_of(namespace, claim)?;
        let detail = match fault {
            DiskFault::Full => {
                trouble.set_full(true);
                "full".to_owned()
            }
            DiskFault::Slow(latency) => {
                trouble.set_extra_latency(latency.into());
                format!("a sync takes {} us longer", latency.as_nanos() / 1_000)
            }
            DiskFault::Failing(share) => {
                set(&file_system, |context| context.fs.io_error_probability = share);
                format!("{share} of all operations fail")
            }
            DiskFault::Corrupting(share) => {
                set(&file_system, |context| context.fs.corruption_probability = share);
                format!("{share} of all reads are wrong")
            }
        };
        hopwise_engine::notable("disk.broken", object(namespace, claim), detail);
        Ok(())
    }

    /// Mends one kind of trouble with the disk of a claim, or all.
    ///
    /// # Errors
    /// If there is no such claim, or it has no volume.
    pub fn mend_disk(
        &self,
        namespace: &str,
        claim: &str,
        aspect: Option<DiskAspect>,
    ) -> Result<(), OperationError> {
        use DiskAspect::{Corrupting, Failing, Full, Slow};
        let (file_system, trouble) = self.disk_of(namespace, claim)?;
        let is_meant = |kind: DiskAspect| aspect.is_none_or(|aspect| aspect == kind);
        if is_meant(Full) {
            trouble.set_full(false);
        }
        if is_meant(Slow) {
            trouble.set_extra_latency(Span::ZERO.into());
        }
        if is_meant(Failing) {
            set(&file_system, |context| context.fs.io_error_probability = 0.0);
        }
        if is_meant(Corrupting) {
            set(&file_system, |context| context.fs.corruption_probability = 0.0);
        }
        let what = match aspect {
            None => "everything",
            Some(Full) => "full",
            Some(Slow) => "slow",
            Some(Failing) => "failing",
            Some(Corrupting) => "corrupting",
        };
        hopwise_engine::notable("disk.mended", object(namespace, claim), what);
        Ok(())
    }

    fn disk_of(&self, namespace: &str, claim: &str) -> Result<(turmoil_fs::Fs, DiskTrouble), OperationError> {
        let volume = self.shared.api.read(|store| volumes::volume_of(store, namespace, claim));
        let missing = || OperationError::Refused(format!("the claim {namespace}/{claim} has no volume"));
        Ok(self.shared.disk(&volume.ok_or_else(missing)?))
    }
}

fn set(file_system: &turmoil_fs::Fs, change: impl FnOnce(FsContext<'_>)) {
    let _inside = file_system.enter();
    FsContext::current(change);
}

fn object(namespace: &str, claim: &str) -> String {
    format!("persistentVolumeClaim {namespace}/{claim}")
}
