//! Which requests are drawn, where there are more than can be looked at.

use hopwise_client::RequestRecord;

use crate::recording::{RecordedClient, Recording, is_failed};

/// Requests to draw.
pub(crate) struct Sample<'a> {
    /// By client, each in the order in which they ended.
    pub chosen: Vec<(&'a RecordedClient, Vec<&'a RequestRecord>)>,
    /// Of how many.
    pub of: usize,
}

impl Sample<'_> {
    /// How many were chosen.
    pub fn len(&self) -> usize {
        self.chosen.iter().map(|(_, attempts)| attempts.len()).sum()
    }
}

/// At most `most` requests: every so-manieth of those that failed, for at most half of the places, and every so-manieth of
/// the others for the rest.
pub(crate) fn choose(recording: &Recording, most: usize) -> Sample<'_> {
    let of = recording.attempts();
    let failed: usize = recording
        .clients
        .iter()
        .map(|client| client.attempts.iter().filter(|attempt| is_failed(attempt)).count())
        .sum();
    let failed_most = failed.min(most.div_ceil(2)).max(most.saturating_sub(of - failed).min(failed));
    let steps = [step(of - failed, most - failed_most), step(failed, failed_most)];
    let mut seen = [0_usize; 2];
    let mut chosen = Vec::new();
    for client in &recording.clients {
        let mut attempts = Vec::new();
        for attempt in &client.attempts {
            let kind = usize::from(is_failed(attempt));
            if seen[kind].is_multiple_of(steps[kind]) {
                attempts.push(&**attempt);
            }
            seen[kind] += 1;
        }
        chosen.push((client, attempts));
    }
    Sample { chosen, of }
}

/// Every so-manieth of `of` are at most `most`.
fn step(of: usize, most: usize) -> usize {
    of.div_ceil(most.max(1)).max(1)
}
