//! Where a client stands, in the words of the command line.

pub use hopwise_kube::cluster::{NoPlace, Place};
