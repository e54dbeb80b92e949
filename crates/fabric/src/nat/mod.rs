//! Network address translation: the rules a device is given, and (in `conntrack`) what it remembers of flows.

pub mod rules;
