//! Deliberate faults: each makes a part of the cluster break one promise, so that the checks that watch over it can be seen to
//! fail. They are off, and only feature `bugs` (for tests) can switch them on.

/// Which promises a cluster breaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bugs {
    /// Kubelets let a pod's object go when they begin to end its containers, not when these have ended
    /// (kubernetes.md 1.3 says what is right: the object stays until the kubelet confirms, and only then is the pod recreated).
    pub confirm_before_end: bool,
}
