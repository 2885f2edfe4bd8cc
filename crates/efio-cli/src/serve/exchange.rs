//! What the log and the totals know of the request at hand.

use std::time::Instant;

use crate::say_error;
use crate::serve::request::{Head, Method};
use crate::serve::respond::Status;
use crate::serve::service::Service;

/// One request and its answer, as told afterwards.
#[derive(Debug, Default)]
pub struct Exchange {
    began: Option<Instant>,
    word: String,
    target: String,
    /// The answer to HEAD has no body.
    pub head_only: bool,
    /// The answer, once there is one.
    pub status: Option<Status>,
    /// Bytes of the file that came or went.
    pub bytes: u64,
}

impl Exchange {
    /// The first bytes of a request are there.
    pub fn begin(&mut self, now: Instant) {
        self.began.get_or_insert(now);
    }

    /// Its head is there.
    pub fn describe(&mut self, head: &Head) {
        self.word.clone_from(&head.word);
        self.target.clone_from(&head.target);
        self.head_only = head.method == Method::Head;
    }

    /// It is over, well or not; nothing of it is left for the next.
    pub fn end(&mut self, service: &mut Service) {
        let Self { began, word, target, head_only: _, status, bytes } = std::mem::take(self);
        if word.is_empty() && status.is_none() {
            return;
        }
        match status {
            Some(status) => service.totals.count(status),
            None => service.totals.requests += 1,
        }
        if service.settings.verbose {
            let or_dash =
                |text: &str| if text.is_empty() { "-".to_owned() } else { text.escape_debug().to_string() };
            let status = status.map_or("aborted".to_owned(), |status| status.0.to_string());
            let took = began.map_or(0, |began| service.now.saturating_duration_since(began).as_millis());
            say_error(&format!("{} {} {status} {bytes} bytes {took} ms", or_dash(&word), or_dash(&target)));
        }
    }
}
