//! What was asked and what came back.

use std::net::IpAddr;

use hickory_proto::op::Message;
use hickory_proto::rr::{Record, RecordType};

use super::Transport;

/// One query of a look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryTrace {
    /// The name asked, with its final dot.
    pub name: String,
    /// The record type asked.
    pub record_type: RecordType,
    /// The server asked.
    pub server: IpAddr,
    /// Over what.
    pub transport: Transport,
    /// What came of it; `None` while it is under way.
    pub outcome: Option<QueryOutcome>,
}

/// What came of a query. Records are text: `name ttl type data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryOutcome {
    /// The server replied.
    Reply {
        /// The response code, e.g. `NOERROR`, `NXDOMAIN`.
        rcode: String,
        /// Whether the reply was cut.
        truncated: bool,
        /// The answer section.
        answers: Vec<String>,
        /// The authority section.
        authority: Vec<String>,
        /// The additional section.
        additional: Vec<String>,
    },
    /// No reply in time.
    TimedOut,
    /// The server's port is closed, or it cannot be reached.
    Unreachable,
}

impl QueryOutcome {
    pub(super) fn of(message: &Message) -> QueryOutcome {
        let texts = |records: &[Record]| records.iter().map(text).collect();
        QueryOutcome::Reply {
            rcode: format!("{:?}", message.metadata.response_code).to_ascii_uppercase(),
            truncated: message.metadata.truncation,
            answers: texts(&message.answers),
            authority: texts(&message.authorities),
            additional: texts(&message.additionals),
        }
    }
}

fn text(record: &Record) -> String {
    format!("{} {} {} {}", record.name.to_ascii(), record.ttl, record.record_type(), record.data)
}
