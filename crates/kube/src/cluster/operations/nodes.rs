//! Nodes that are cordoned, drained, tainted or deleted; pods that are evicted.
