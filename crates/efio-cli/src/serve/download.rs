//! One download: from a file through pages to the socket.
//!
//! ```text
//!  Asking ──what is it?──► Opening ──opened──► Confirming ──still the same?──► Flowing ──all read──► done
//!     └─ HEAD, 304, 404        └─ 404, 403         └─ 416         a file that shrinks: the connection ends
//! ```
//!
//! The name is looked at before and after the open: only when both agree is the open file surely the one that the
//! validators (ETag, Last-Modified) speak of. Otherwise it is sent without them.

use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use efio::{Answer, Efio, Event, Fd, Metadata, OpenOptions};

use crate::serve::connection::{Step, Wait};
use crate::serve::date;
use crate::serve::places::Key;
use crate::serve::range::{self, Choice};
use crate::serve::request::{Head, Method};
use crate::serve::respond::{Refusal, Response};
use crate::serve::service::{Answered, Service};
use crate::serve::wire::{Sent, Wire};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Asking,
    Opening,
    Confirming,
    Flowing,
}

/// What became of one piece.
enum Moved {
    /// So many bytes of the file are sent, or wait for the socket; none, where it takes nothing now.
    Bytes(usize),
    /// The file has no more.
    End,
    /// The client is gone.
    Gone,
}

/// What tells one version of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Facts {
    size: u64,
    modified: SystemTime,
    device: u64,
    inode: u64,
}

impl Facts {
    fn of(metadata: &Metadata) -> Self {
        let (size, modified) = (metadata.len(), metadata.modified());
        Self { size, modified, device: metadata.dev(), inode: metadata.ino() }
    }

    fn tag(&self) -> String {
        let since = self.modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        format!("\"{:x}-{:x}\"", since.as_nanos(), self.size)
    }

    fn date(&self) -> String {
        date::format(self.modified)
    }

    fn describe(&self, response: Response) -> Response {
        response.with("Last-Modified", self.date()).with("ETag", self.tag())
    }
}

/// A download under way.
#[derive(Debug)]
pub struct Download {
    key: Key,
    path: PathBuf,
    head: Head,
    stage: Stage,
    question: Option<Fd>,
    file: Option<Fd>,
    facts: Option<Facts>,
    /// The file has bytes: false after a refused read, until the event.
    has_bytes: bool,
    /// Bytes are sent from where they were read to. Not while the page cache has them: a read takes them from there at once.
    lent: bool,
    /// A piece was sent: the head of the response went with it.
    begun: bool,
    left: u64,
    /// Bytes of the file read so far.
    pub taken: u64,
}

impl Download {
    /// Begins a download, by asking what the name is.
    ///
    /// # Errors
    /// What the client is told when it cannot begin.
    pub fn start(key: Key, path: PathBuf, head: Head, service: &mut Service) -> Result<Self, Refusal> {
        let question = Some(ask(key, &path, service)?);
        Ok(Self {
            key,
            path,
            head,
            stage: Stage::Asking,
            question,
            file: None,
            facts: None,
            has_bytes: true,
            lent: false,
            begun: false,
            left: 0,
            taken: 0,
        })
    }

    /// Moves on as far as one piece.
    pub fn step(&mut self, wire: &mut Wire, service: &mut Service) -> Step {
        match (self.stage, self.file) {
            (Stage::Flowing, Some(file)) => self.flow(file, wire, service),
            _ => Step::Wait(Wait::Engine),
        }
    }

    fn flow(&mut self, file: Fd, wire: &mut Wire, service: &mut Service) -> Step {
        if self.left == 0 {
            self.abandon(service);
            return Step::Finished;
        }
        if self.begun || !self.has_bytes {
            match wire.flush() {
                Sent::All => {}
                Sent::Blocked => return Step::Wait(Wait::Client),
                Sent::Gone => return Step::Close,
            }
        }
        if !self.has_bytes {
            return Step::Wait(Wait::Engine);
        }
        if !wire.is_writable() {
            return Step::Wait(Wait::Client);
        }
        match self.send_piece(file, wire, service) {
            Ok(Moved::Bytes(count)) => {
                self.left -= count as u64;
                self.taken += count as u64;
                self.begun = true;
                Step::Again
            }
            Err(error) if error.is_would_block() => {
                self.has_bytes = false;
                self.lent = true;
                Step::Again
            }
            // It ended early or cannot be read: the length is promised already, so only the connection's end says it.
            _ => Step::Close,
        }
    }

    /// Sends the next piece: from where it was read ahead to, or by way of the scratch buffer.
    fn send_piece(&self, file: Fd, wire: &mut Wire, service: &mut Service) -> efio::Result<Moved> {
        let Service { efio, scratch, .. } = service;
        let most = usize::try_from(self.left).map_or(scratch.len(), |left| left.min(scratch.len()));
        if !self.lent {
            let count = efio.ef_read(file, &mut scratch[..most])?;
            return Ok(match count {
                0 => Moved::End,
                _ if wire.send(&scratch[..count]) == Sent::Gone => Moved::Gone,
                _ => Moved::Bytes(count),
            });
        }
        let lend = efio.ef_lend_read(file)?;
        if lend.is_empty() {
            return Ok(Moved::End);
        }
        Ok(match wire.send_lent(&lend, most) {
            Some(count) => Moved::Bytes(lend.consume(count)),
            None => Moved::Gone,
        })
    }

    /// News of the file.
    pub fn on_event(&mut self, event: &Event, service: &mut Service) -> Step {
        if self.file != Some(event.fd()) {
            return Step::Again;
        }
        let readiness = event.readiness();
        if readiness.is_closed() {
            self.file = None;
        }
        if let (Some(error), Stage::Opening) = (event.error(), self.stage) {
            return Step::Answer(refusal(error).into());
        }
        if readiness.is_closed() {
            return Step::Close;
        }
        // An error of a read comes again from the read itself.
        self.has_bytes |= readiness.is_readable() || event.error().is_some();
        if readiness.is_opened() && self.stage == Stage::Opening {
            self.stage = Stage::Confirming;
            return match ask(self.key, &self.path, service) {
                Ok(question) => {
                    self.question = Some(question);
                    Step::Again
                }
                Err(refusal) => Step::Answer(refusal.into()),
            };
        }
        Step::Again
    }

    /// What the name is.
    pub fn on_answer(&mut self, answered: Answered, service: &mut Service) -> Step {
        if self.question != Some(answered.question) {
            return Step::Again;
        }
        self.question = None;
        let found = match answered.answer {
            Ok(Answer::Metadata(found)) if found.is_file() => Ok(Facts::of(&found)),
            Ok(_) => Err(Refusal::new(404, "not a file")),
            Err(error) => Err(refusal(&error)),
        };
        let step = match (self.stage, found) {
            (Stage::Asking, Ok(facts)) => self.asked(facts, service),
            (Stage::Asking, Err(refusal)) => Err(refusal),
            (_, found) => self.confirmed(found.ok(), service),
        };
        step.unwrap_or_else(|refusal| Step::Answer(refusal.into()))
    }

    fn asked(&mut self, facts: Facts, service: &mut Service) -> Result<Step, Refusal> {
        if self.head.if_none_match.as_deref().is_some_and(|tags| lists(tags, &facts.tag())) {
            return Ok(Step::Answer(facts.describe(Response::bare(304))));
        }
        if self.head.method == Method::Head {
            return Ok(Step::Answer(facts.describe(content(200, facts.size))));
        }
        let options = OpenOptions::new().read(true).token(self.key.token());
        let opened = service.efio.ef_open_at(&service.root, &self.path, &options);
        self.file = Some(opened.map_err(|error| refusal(&error))?);
        self.facts = Some(facts);
        self.stage = Stage::Opening;
        Ok(Step::Again)
    }

    fn confirmed(&mut self, found: Option<Facts>, service: &mut Service) -> Result<Step, Refusal> {
        let file = self.file.ok_or(Refusal::new(500, "the file was closed too early"))?;
        let size = service.efio.ef_progress(file).map_err(|error| refusal(&error))?.size;
        let facts = found.filter(|facts| self.facts == Some(*facts) && facts.size == size);
        let choice = match &self.head.range {
            Some(header) if self.range_applies(facts) => range::choose(header, size),
            _ => Choice::Whole,
        };
        let (response, first, length) = match choice {
            Choice::Whole => (content(200, size), 0, size),
            Choice::Part { first, last } => {
                let length = last - first + 1;
                (
                    content(206, length).with("Content-Range", format!("bytes {first}-{last}/{size}")),
                    first,
                    length,
                )
            }
            Choice::Unsatisfiable => {
                let response = Response::from(Refusal::new(416, "the file is shorter"));
                return Ok(Step::Answer(response.with("Content-Range", format!("bytes */{size}"))));
            }
        };
        if first > 0 {
            service.efio.ef_seek(file, SeekFrom::Start(first)).map_err(|error| refusal(&error))?;
        }
        self.left = length;
        self.stage = Stage::Flowing;
        Ok(Step::Stream(facts.map_or(response.clone(), |facts| facts.describe(response))))
    }

    /// If-Range: a part only of the version that the client has already.
    fn range_applies(&self, facts: Option<Facts>) -> bool {
        let Some(condition) = &self.head.if_range else { return true };
        facts.is_some_and(|facts| *condition == facts.tag() || *condition == facts.date())
    }

    /// Done, or given up: the file is closed.
    pub fn abandon(&mut self, service: &mut Service) {
        if self.left > 0 {
            service.totals.aborted += 1;
            self.left = 0;
        }
        if let Some(file) = self.file.take() {
            close(&service.efio, file);
        }
    }
}

fn ask(key: Key, path: &Path, service: &mut Service) -> Result<Fd, Refusal> {
    let asked = service.efio.ef_stat_at(&service.root, path);
    service.ask(key, asked)
}

fn close(efio: &Efio, file: Fd) {
    // A file that was only read has nothing to lose.
    let _ = efio.ef_close(file);
}

/// To a reader, what is no file is not there.
fn refusal(error: &efio::Error) -> Refusal {
    let refusal = Refusal::of(error);
    if refusal.status.0 == 409 { Refusal::new(404, "not a file") } else { refusal }
}

fn content(status: u16, length: u64) -> Response {
    Response::stream(status, length)
        .with("Content-Type", "application/octet-stream")
        .with("X-Content-Type-Options", "nosniff")
        .with("Accept-Ranges", "bytes")
}

/// True when the list of an If-None-Match names the tag; a weak mark makes no difference there.
fn lists(tags: &str, tag: &str) -> bool {
    tags.split(',').map(str::trim).any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_found_in_lists() {
        for tags in ["*", "\"a\"", "W/\"a\"", "\"b\", \"a\"", "\"b\",W/\"a\" "] {
            assert!(lists(tags, "\"a\""), "{tags}");
        }
        for tags in ["", "a", "\"b\"", "\"aa\""] {
            assert!(!lists(tags, "\"a\""), "{tags}");
        }
    }
}
