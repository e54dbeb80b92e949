//! Workloads that are scaled, updated, deleted or created anew.
