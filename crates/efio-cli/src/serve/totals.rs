//! What the server did, for its last words.

use std::fmt;

use crate::serve::respond::Status;

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests answered, or given up after their head was read.
    pub requests: u64,
    /// Bytes received from sockets.
    pub received: u64,
    /// Bytes sent to sockets.
    pub sent: u64,
    /// Uploads answered as stored.
    pub stored: u64,
    /// Transfers that did not come to their end.
    pub aborted: u64,
    /// Answers 4xx.
    pub refused: u64,
    /// Answers 5xx.
    pub failed: u64,
}

impl Totals {
    /// One more answer.
    pub fn count(&mut self, status: Status) {
        self.requests += 1;
        match status.0 {
            400..500 => self.refused += 1,
            500.. => self.failed += 1,
            _ => {}
        }
    }
}

impl Totals {
    /// The counts by name, and the figures of the engine, as one object of JSON.
    pub fn json(&self, stats: &efio::Stats) -> String {
        let Self { requests, received, sent, stored, aborted, refused, failed } = self;
        let figures: Vec<String> =
            stats.figures().map(|(name, _, figure)| format!("    \"{name}\": {figure}")).collect();
        format!(
            "{{\n  \"server\": {{\n    \"requests\": {requests},\n    \"received\": {received},\n    \"sent\": {sent},\n    \
             \"stored\": {stored},\n    \"aborted\": {aborted},\n    \"refused\": {refused},\n    \"failed\": {failed}\n  }},\n  \
             \"engine\": {{\n{}\n  }}\n}}\n",
            figures.join(",\n")
        )
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, received, sent, stored, aborted, refused, failed } = self;
        write!(
            f,
            "requests {requests}, stored {stored}, received {received} bytes, sent {sent} bytes, aborted {aborted}, \
             refused {refused}, failed {failed}"
        )
    }
}
