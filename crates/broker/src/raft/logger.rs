//! What raft-rs logs goes to `tracing`, at its debug and trace levels: a cluster has thousands of groups.

use slog::{Drain, KV, Logger, Never, OwnedKVList, Record, Serializer, o};

/// A logger for raft-rs.
pub(super) fn logger() -> Logger {
    if tracing::enabled!(tracing::Level::DEBUG) {
        return Logger::root(ToTracing, o!());
    }
    Logger::root(slog::Discard, o!())
}

struct ToTracing;

/// Key-value pairs in one line.
struct Line(String);

impl Serializer for Line {
    fn emit_arguments(&mut self, key: slog::Key, value: &std::fmt::Arguments) -> slog::Result {
        self.0.push_str(&format!(" {key}={value}"));
        Ok(())
    }
}

impl Drain for ToTracing {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record, values: &OwnedKVList) -> Result<(), Never> {
        let trace = matches!(record.level(), slog::Level::Debug | slog::Level::Trace);
        if trace && !tracing::enabled!(tracing::Level::TRACE) {
            return Ok(());
        }
        let mut line = Line(record.msg().to_string());
        // A line that misses a value is better than none.
        let _ = record.kv().serialize(record, &mut line);
        let _ = values.serialize(record, &mut line);
        match trace {
            true => tracing::trace!(target: "raft", "{}", line.0),
            false => tracing::debug!(target: "raft", "{}", line.0),
        }
        Ok(())
    }
}
