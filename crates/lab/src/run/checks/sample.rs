//! Small histories for the tests of the checks.

use hopwise_client::{HostPort, Operation, Outcome, RequestRecord};
use hopwise_engine::{Span, Time};

use super::super::verify::{Stored, StoredRecord};
use super::super::workload::Sent;

pub fn at(seconds: u64) -> Time {
    Time::ZERO + Span::from_secs(seconds)
}

/// A produce request to t/0 that was served by `broker`, which was asked.
pub fn attempt(began: u64, ended: u64, broker: i32) -> RequestRecord {
    RequestRecord {
        operation: Operation::Produce,
        topic: Some("t".to_owned()),
        partition: Some(0),
        broker: Some(broker),
        address: HostPort::new("redpanda-0", 9093),
        ip: None,
        attempt: 1,
        outcome: Outcome::Ok,
        error_code: Some(0),
        explanation: String::new(),
        reached: Some(broker),
        route: None,
        started_at: at(began),
        resolve: Span::ZERO,
        connect: None,
        handshake: None,
        request: Span::ZERO,
        total: at(ended) - at(began),
    }
}

/// The record of that number for t/0, acknowledged with its offset.
pub fn sent(sequence: u64, offset: i64) -> Sent {
    Sent {
        sequence,
        partition: ("t".to_owned(), 0),
        acknowledged: true,
        repeated: false,
        offset: Some(offset),
        transaction: None,
    }
}

/// t/0 with these records, by offset and key.
pub fn stored(records: &[(i64, &str)]) -> Stored {
    let record = |(offset, key): &(i64, &str)| StoredRecord { offset: *offset, key: (*key).to_owned() };
    [(("t".to_owned(), 0), records.iter().map(record).collect())].into()
}
