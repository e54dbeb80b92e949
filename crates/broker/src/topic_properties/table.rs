//! The table of topic properties.
//!
//! Redpanda's topic properties, and those of Kafka that Redpanda takes without obeying them, so that tools
//! written for Kafka can set them. Defaults are cluster properties where Redpanda says so (redpanda.md 4.4).

use super::{Default, Kind, Property};

/// A number that fits a signed 64-bit integer; -1 often means "no limit".
const ANY: Kind = Kind::Long { min: i64::MIN, max: i64::MAX };
const COUNT: Kind = Kind::Long { min: 0, max: i64::MAX };
const COUNT_OR_UNLIMITED: Kind = Kind::Long { min: -1, max: i64::MAX };

/// Sorted by name.
#[rustfmt::skip]
pub(super) const ALL: &[Property] = &[
    property("cleanup.policy", Kind::List(&["compact", "delete"]), Default::Cluster("log_cleanup_policy"), "What happens to old records: they are deleted, or only the newest one of each key is kept, or both."),
    property("compression.type", Kind::Choice(&["gzip", "lz4", "none", "producer", "snappy", "uncompressed", "zstd"]), Default::Cluster("log_compression_type"), "Compression of the records; they are kept as the producer compressed them."),
    property("delete.retention.ms", COUNT_OR_UNLIMITED, Default::Fixed("86400000"), "How long a record without a value stays in a compacted topic."),
    ignored("file.delete.delay.ms", COUNT, "60000"),
    property("flush.bytes", Kind::Long { min: 1, max: i64::MAX }, Default::Fixed("262144"), "How many bytes may be written before the disk must have them, where acknowledgements do not wait for it."),
    ignored("flush.messages", Kind::Long { min: 1, max: i64::MAX }, "9223372036854775807"),
    property("flush.ms", Kind::Long { min: 1, max: i64::MAX }, Default::Fixed("100"), "How long the disk may lag, where acknowledgements do not wait for it."),
    ignored("follower.replication.throttled.replicas", Kind::Text, ""),
    ignored("index.interval.bytes", Kind::Int { min: 0, max: i32::MAX }, "4096"),
    property("initial.retention.local.target.bytes", ANY, Default::Cluster("initial_retention_local_target_bytes_default"), "How much of a moved partition is copied at first."),
    property("initial.retention.local.target.ms", ANY, Default::Cluster("initial_retention_local_target_ms_default"), "How old the records of a moved partition are that are copied at first."),
    ignored("leader.replication.throttled.replicas", Kind::Text, ""),
    ignored("max.compaction.lag.ms", Kind::Long { min: 1, max: i64::MAX }, "9223372036854775807"),
    property("max.message.bytes", Kind::Int { min: 1, max: i32::MAX }, Default::Cluster("kafka_batch_max_bytes"), "Largest batch that is taken, as it is compressed."),
    ignored("message.downconversion.enable", Kind::Boolean, "true"),
    ignored("message.format.version", Kind::Text, "3.0-IV1"),
    ignored("message.timestamp.after.max.ms", COUNT, "9223372036854775807"),
    ignored("message.timestamp.before.max.ms", COUNT, "9223372036854775807"),
    ignored("message.timestamp.difference.max.ms", COUNT, "9223372036854775807"),
    property("message.timestamp.type", Kind::Choice(&["CreateTime", "LogAppendTime"]), Default::Cluster("log_message_timestamp_type"), "Whose time the records carry: the producer's, or the leader's."),
    property("min.cleanable.dirty.ratio", Kind::Ratio, Default::Fixed("0.5"), "Share of the log that has to be new before it is compacted again."),
    ignored("min.compaction.lag.ms", COUNT, "0"),
    ignored("min.insync.replicas", Kind::Int { min: 1, max: i32::MAX }, "1"),
    ignored("preallocate", Kind::Boolean, "false"),
    property("redpanda.leaders.preference", Kind::Text, Default::Cluster("default_leaders_preference"), "The racks where leaders are preferred to be."),
    property("redpanda.remote.delete", Kind::Boolean, Default::Fixed("true"), "Whether deleting the topic deletes what is kept of it elsewhere."),
    property("redpanda.remote.read", Kind::Boolean, Default::Fixed("false"), "Whether records are read from tiered storage."),
    property("redpanda.remote.write", Kind::Boolean, Default::Fixed("false"), "Whether records are copied to tiered storage."),
    property("retention.bytes", ANY, Default::Cluster("retention_bytes"), "How many bytes a partition keeps; without a limit if negative."),
    property("retention.local.target.bytes", ANY, Default::Cluster("retention_local_target_bytes_default"), "How many bytes a tiered partition keeps on the disk."),
    property("retention.local.target.ms", ANY, Default::Cluster("retention_local_target_ms_default"), "How long a tiered partition keeps records on the disk."),
    property("retention.ms", ANY, Default::Cluster("log_retention_ms"), "How long records are kept; without a limit if negative."),
    property("segment.bytes", Kind::Long { min: 1, max: i64::MAX }, Default::Cluster("log_segment_size"), "When a log starts a new segment."),
    ignored("segment.index.bytes", Kind::Int { min: 4, max: i32::MAX }, "10485760"),
    ignored("segment.jitter.ms", COUNT, "0"),
    property("segment.ms", COUNT_OR_UNLIMITED, Default::Cluster("log_segment_ms"), "How long a segment stays the last one; without a limit if negative."),
    ignored("unclean.leader.election.enable", Kind::Boolean, "false"),
    property("write.caching", Kind::Boolean, Default::Cluster("write_caching_default"), "Whether acknowledgements of a majority come before its disks have the records."),
];

const fn property(name: &'static str, kind: Kind, default: Default, documentation: &'static str) -> Property {
    Property { name, kind, default, obeyed: true, documentation }
}

const fn ignored(name: &'static str, kind: Kind, default: &'static str) -> Property {
    let documentation = "A property of Kafka that is taken and not obeyed.";
    Property { name, kind, default: Default::Fixed(default), obeyed: false, documentation }
}
