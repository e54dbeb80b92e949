//! Network address translation: the rules a device is given, and what it remembers of the flows that pass it.

mod choice;
pub mod conntrack;
mod flow;
pub mod rules;
mod table;
mod tcp_state;
pub(crate) mod translator;
pub(crate) mod tuple;

pub use conntrack::{Conntrack, ConntrackConfig, FlowId};
pub use flow::{Direction, Flow, Timeouts};
pub use table::{RuleKey, RuleTable, Ruling};
pub use tcp_state::TcpState;
pub use tuple::Tuple;
