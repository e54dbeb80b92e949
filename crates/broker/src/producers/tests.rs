//! Producers through batches, markers and time.
