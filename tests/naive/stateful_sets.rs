//! Points 2 to 5 and 23: StatefulSets.
