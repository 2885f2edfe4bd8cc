//! One upload: from the socket through pages to a file that appears when it is complete.
//!
//! ```text
//!  Opening ──opened, and it is known what it replaces──► Flowing ──body complete──► Closing ──closed──► 201 / 204
//!     │                                                   │  ▲                         │
//!     └────────────── refusal, client gone: abort ◄───────┘  └ no room: the socket     └─ error: 507, 500 …
//!                     (nothing is left)                        is not read until the
//!                                                              file is writable again
//! ```

use std::path::Path;

use efio::{Efio, Event, Fd, OnFull, OpenOptions};

use crate::serve::body::Body;
use crate::serve::chunked::Next;
use crate::serve::connection::{Step, Wait};
use crate::serve::places::Key;
use crate::serve::request::Head;
use crate::serve::respond::{Refusal, Response};
use crate::serve::service::{Answered, PIECE, Service};
use crate::serve::wire::{Received, Wire};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Opening,
    Flowing,
    Closing,
}

/// An upload under way.
#[derive(Debug)]
pub struct Upload {
    file: Fd,
    body: Body,
    stage: Stage,
    opened: bool,
    /// The stat that tells what the name was before; `None` once it is answered.
    question: Option<Fd>,
    replaces: bool,
    only_new: bool,
    expects_continue: bool,
    /// The file takes more: false after a refused write, until the event.
    has_room: bool,
    ended: bool,
    /// Bytes of the body taken so far.
    pub taken: u64,
}

impl Upload {
    /// Begins an upload: the open and the question what is there already go out side by side.
    ///
    /// # Errors
    /// What the client is told when it cannot begin.
    pub fn start(key: Key, path: &Path, head: &Head, service: &mut Service) -> Result<Self, Refusal> {
        let body = Body::new(head.framing).ok_or(Refusal::new(411, "an upload needs a length, or chunks"))?;
        if matches!(body, Body::Length(length) if length > service.settings.max_size) {
            return Err(TOO_LARGE);
        }
        let only_new = head.if_none_match.as_deref() == Some("*");
        let options = OpenOptions::new().write(true).atomic(true).on_full(OnFull::Fail).token(key.token());
        let options = options.create(!only_new).create_new(only_new).durability(service.settings.durability);
        let options = options.cache(service.settings.cache);
        let file =
            service.efio.ef_open_at(&service.root, path, &options).map_err(|error| Refusal::of(&error))?;
        let asked = service.efio.ef_stat_at(&service.root, path);
        let question = service.ask(key, asked).inspect_err(|_| give_up(&service.efio, file))?;
        Ok(Self {
            file,
            body,
            stage: Stage::Opening,
            opened: false,
            question: Some(question),
            replaces: false,
            only_new,
            expects_continue: head.expects_continue,
            has_room: true,
            ended: false,
            taken: 0,
        })
    }

    /// Moves on as far as one piece.
    pub fn step(&mut self, wire: &mut Wire, service: &mut Service) -> Step {
        match self.stage {
            Stage::Opening if !self.opened || self.question.is_some() => Step::Wait(Wait::Engine),
            Stage::Opening => {
                self.stage = Stage::Flowing;
                if self.expects_continue && wire.input.is_empty() {
                    wire.output.append(b"HTTP/1.1 100 Continue\r\n\r\n");
                }
                Step::Again
            }
            Stage::Flowing if !self.has_room => Step::Wait(Wait::Engine),
            Stage::Flowing => {
                self.flow(wire, service).unwrap_or_else(|refusal| self.refuse(refusal, service))
            }
            Stage::Closing => Step::Wait(Wait::Engine),
        }
    }

    fn flow(&mut self, wire: &mut Wire, service: &mut Service) -> Result<Step, Refusal> {
        let Service { efio, scratch, settings, .. } = &mut *service;
        let used = self.take(wire.input.as_slice(), efio, settings.max_size)?;
        wire.input.consume(used);
        if wire.input.is_empty() && !self.ended && self.body.ahead() >= LENT_MIN {
            return self.flow_lent(wire, efio, settings.max_size);
        }
        if wire.input.is_empty() && !self.ended {
            match wire.receive(scratch) {
                Received::Bytes(count) => {
                    let used = self.take(&scratch[..count], efio, settings.max_size)?;
                    wire.input.append(&scratch[used..count]);
                }
                Received::Blocked => return Ok(Step::Wait(Wait::Client)),
                Received::Ended => return Ok(Step::Close),
            }
        }
        if self.ended {
            efio.ef_close(self.file).map_err(|error| Refusal::of(&error))?;
            self.stage = Stage::Closing;
        }
        Ok(Step::Again)
    }

    /// Receives one piece into the file's own memory.
    fn flow_lent(&mut self, wire: &mut Wire, efio: &Efio, max_size: u64) -> Result<Step, Refusal> {
        if !wire.is_readable() {
            return Ok(Step::Wait(Wait::Client));
        }
        let most = self.body.ahead().min(max_size.saturating_sub(self.taken));
        if most == 0 {
            return Err(TOO_LARGE);
        }
        let mut lend = match efio.ef_lend_write(self.file, LENT_MIN as usize) {
            Ok(lend) => lend,
            Err(error) if error.is_would_block() => {
                self.has_room = false;
                return Ok(Step::Again);
            }
            Err(error) => return Err(Refusal::of(&error)),
        };
        match wire.receive_lent(&mut lend, PIECE.min(usize::try_from(most).unwrap_or(PIECE))) {
            Received::Bytes(count) => {
                lend.commit(count).map_err(|error| Refusal::of(&error))?;
                self.body.took(count);
                self.taken += count as u64;
                Ok(Step::Again)
            }
            Received::Blocked => Ok(Step::Wait(Wait::Client)),
            Received::Ended => Ok(Step::Close),
        }
    }

    /// Hands data to the file until they end or it has no room; gives how many bytes are done with.
    fn take(&mut self, bytes: &[u8], efio: &Efio, max_size: u64) -> Result<usize, Refusal> {
        let mut at = 0;
        loop {
            match self.body.next(&bytes[at..])? {
                Next::Data { skip, len } => {
                    at += skip;
                    if self.taken + len as u64 > max_size {
                        return Err(TOO_LARGE);
                    }
                    match efio.ef_write(self.file, &bytes[at..at + len]) {
                        Ok(count) => {
                            self.body.took(count);
                            self.taken += count as u64;
                            at += count;
                        }
                        Err(error) if error.is_would_block() => {
                            self.has_room = false;
                            return Ok(at);
                        }
                        Err(error) => return Err(Refusal::of(&error)),
                    }
                }
                Next::More { skip } => return Ok(at + skip),
                Next::End { skip } => {
                    self.ended = true;
                    return Ok(at + skip);
                }
            }
        }
    }

    /// News of the file.
    pub fn on_event(&mut self, event: &Event, service: &mut Service) -> Step {
        if event.fd() != self.file {
            return Step::Again;
        }
        let readiness = event.readiness();
        let refusal = event.error().map(Refusal::of);
        if readiness.is_closed() {
            return self.closed(refusal, service);
        }
        if let (Some(refusal), Stage::Opening | Stage::Flowing) = (refusal, self.stage) {
            return self.refuse(refusal, service);
        }
        self.opened |= readiness.is_opened();
        self.has_room |= readiness.is_writable();
        Step::Again
    }

    fn closed(&mut self, refusal: Option<Refusal>, service: &mut Service) -> Step {
        let complete = self.stage == Stage::Closing;
        self.stage = Stage::Closing;
        match refusal {
            Some(refusal) if complete => Step::Answer(refusal.into()),
            Some(refusal) => Step::Refuse(refusal),
            None if complete => {
                service.totals.stored += 1;
                Step::Answer(Response::bare(if self.replaces { 204 } else { 201 }))
            }
            None => Step::Refuse(Refusal::new(500, "the file was closed too early")),
        }
    }

    /// What the name was before.
    pub fn on_answer(&mut self, answered: Answered, service: &mut Service) -> Step {
        if self.question != Some(answered.question) {
            return Step::Again;
        }
        self.question = None;
        let refusal = match answered.answer {
            Ok(efio::Answer::Metadata(found)) if found.is_file() => {
                self.replaces = true;
                if !self.only_new {
                    return Step::Again;
                }
                Refusal::new(412, "the file exists")
            }
            Ok(_) => Refusal::new(409, "the name is taken by something that is not a file"),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Step::Again,
            Err(error) => Refusal::of(&error),
        };
        self.refuse(refusal, service)
    }

    /// Answers before the end of the body, and leaves nothing.
    fn refuse(&mut self, refusal: Refusal, service: &mut Service) -> Step {
        self.abandon(service);
        Step::Refuse(refusal)
    }

    /// The client is gone, or given up: leaves nothing, unless the body was complete already.
    pub fn abandon(&mut self, service: &mut Service) {
        if self.stage == Stage::Flowing {
            service.totals.aborted += 1;
        }
        if self.stage != Stage::Closing {
            give_up(&service.efio, self.file);
            self.stage = Stage::Closing;
        }
    }
}

/// Of so many bytes or more a piece is received straight into the file's memory; fewer are not worth a call of their own.
const LENT_MIN: u64 = 16 << 10;

const TOO_LARGE: Refusal = Refusal::new(413, "larger than this server takes");

fn give_up(efio: &Efio, file: Fd) {
    // It can only fail because the file is closed already, and then there is nothing to leave.
    let _ = efio.ef_abort(file);
}
