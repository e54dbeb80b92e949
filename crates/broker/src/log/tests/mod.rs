//! A log through appends, crashes, damage and a failing volume.

mod compaction;
mod disk;
mod durability;
mod model;
mod producers;
mod raft;
mod records;
mod retention;

use std::path::Path;

use bytes::Bytes;
use kafka_protocol::records::Compression;
use turmoil_fs::Fs;

use super::testing::*;
use super::*;
