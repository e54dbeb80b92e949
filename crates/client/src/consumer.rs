//! A consumer that follows one partition from an offset on.

use crate::{Client, ClientError, FetchOptions, FetchedRecord, OffsetSpec};

/// OFFSET_OUT_OF_RANGE (Kafka protocol guide, error codes).
const OFFSET_OUT_OF_RANGE: i16 = 1;

/// What to do when the offset is not there any more, or not yet (`auto.offset.reset`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// Go on at the first record there is.
    Earliest,
    /// Go on after the last.
    Latest,
    /// Tell the caller.
    Fail,
}

/// Reads a partition in order.
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    topic: String,
    partition: i32,
    offset: i64,
    options: FetchOptions,
    reset: Reset,
}

impl Consumer {
    /// A consumer that reads next at `offset`.
    pub fn new(client: Client, topic: impl Into<String>, partition: i32, offset: i64) -> Consumer {
        let (topic, options) = (topic.into(), FetchOptions::default());
        Consumer { client, topic, partition, offset, options, reset: Reset::Earliest }
    }

    /// With other bounds than the default ones.
    pub fn with_options(mut self, options: FetchOptions) -> Consumer {
        self.options = options;
        self
    }

    /// With another answer to an offset out of range than the earliest record.
    pub fn with_reset(mut self, reset: Reset) -> Consumer {
        self.reset = reset;
        self
    }

    /// The offset read next.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// The next records; none if the partition has no more within `max_wait`.
    ///
    /// # Errors
    /// As [`Client::fetch`], apart from an offset out of range where a reset is set.
    pub async fn poll(&mut self) -> Result<Vec<FetchedRecord>, ClientError> {
        let fetched = match self.client.fetch(&self.topic, self.partition, self.offset, self.options).await {
            Err(error) if error.error_code() == Some(OFFSET_OUT_OF_RANGE) => {
                let to = match self.reset {
                    Reset::Earliest => OffsetSpec::Earliest,
                    Reset::Latest => OffsetSpec::Latest,
                    Reset::Fail => return Err(error),
                };
                self.offset = self.client.list_offsets(&self.topic, self.partition, to).await?;
                return Ok(Vec::new());
            }
            fetched => fetched?,
        };
        self.offset = fetched.next_offset;
        Ok(fetched.records)
    }
}
