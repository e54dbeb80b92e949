//! Points 1, 6, 7 and 22: nodes that are lost, and what they keep.
