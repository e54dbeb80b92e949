//! The parts of SCRAM that both ends share: credentials and messages.

pub(super) mod credential;
pub(super) mod message;
