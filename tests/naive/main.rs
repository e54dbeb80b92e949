//! What a naive simulator gets wrong: the 25 points of kubernetes.md section 7, a test each. A test is named
//! `point_NN_...` after its number there.

mod balancers;
mod dns;
mod nodes;
mod services;
mod stateful_sets;
