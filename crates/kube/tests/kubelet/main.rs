//! Kubelets, pods and machines in a running cluster, in virtual time.

mod fixture;
mod machines;
mod pods;
