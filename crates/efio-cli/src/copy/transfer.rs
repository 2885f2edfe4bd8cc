//! One file on its way: read from one descriptor, written to another, published when both ends agree.
//!
//! ```text
//!  source ──opened, size as planned──┐
//!  target ──opened───────────────────┴─► flowing ──end, size as planned──► closing ──► complete
//!      any fault: the target is aborted and leaves nothing
//! ```

use std::fs;
use std::os::unix::fs::PermissionsExt;

use efio::{Dir, Durability, Efio, Event, Fd, OpenOptions};

use crate::cli::Cp;
use crate::copy::attributes::{self, Keeping};
use crate::copy::plan::{Entry, Fault};
use crate::copy::progress::Progress;

/// The most pieces moved at one turn.
const PIECES_MAX: usize = 16;

/// What a turn came to.
#[derive(Debug)]
pub enum Turn {
    /// There is more to do.
    Again,
    /// An event follows.
    Wait,
    /// The copy is complete under its name, or nothing of it is left.
    Done(Result<(), Fault>),
}

/// One file on its way.
#[derive(Debug)]
pub struct Transfer {
    entry: Entry,
    keeping: Keeping,
    /// The copy has its name; its mode and times are being set.
    published: bool,
    source: Fd,
    target: Fd,
    source_opened: bool,
    target_opened: bool,
    closing: bool,
    has_bytes: bool,
    has_room: bool,
    /// Read, and refused by the target for now: at most one piece.
    rest: Vec<u8>,
    copied: u64,
}

impl Transfer {
    /// Opens both ends; their events carry `token`.
    ///
    /// # Errors
    /// When an end cannot be opened at all.
    pub fn start(entry: Entry, token: u64, efio: &Efio, root: &Dir, options: &Cp) -> Result<Self, Fault> {
        let fault = |error: efio::Error| Fault::new(&entry.from, error);
        let source = efio.ef_open(&entry.from, &OpenOptions::new().read(true).token(token)).map_err(fault)?;
        // Readable by its owner until the very end, when the mode itself is set.
        let mode = (entry.metadata.permissions().mode() & attributes::MODE) | 0o400;
        let durability = if options.sync { Durability::OnClose } else { Durability::None };
        let writing =
            OpenOptions::new().write(true).atomic(true).mode(mode).durability(durability).token(token);
        let writing = writing.create(options.force).create_new(!options.force).on_full(efio::OnFull::Fail);
        let target = efio.ef_open_at(root, &entry.rel, &writing).map_err(|error| {
            let _ = efio.ef_close(source);
            Fault::new(&entry.to, error)
        })?;
        let keeping = Keeping::new(&entry, root, token);
        Ok(Self {
            keeping,
            published: false,
            entry,
            source,
            target,
            source_opened: false,
            target_opened: false,
            closing: false,
            has_bytes: true,
            has_room: true,
            rest: Vec::new(),
            copied: 0,
        })
    }

    /// Moves on by a few pieces.
    pub fn turn(&mut self, efio: &Efio, scratch: &mut [u8], progress: &Progress) -> Turn {
        if self.closing || !self.source_opened || !self.target_opened {
            return Turn::Wait;
        }
        self.flow(efio, scratch, progress).unwrap_or_else(|reason| self.fail(efio, reason))
    }

    fn flow(&mut self, efio: &Efio, scratch: &mut [u8], progress: &Progress) -> Result<Turn, String> {
        for _ in 0..PIECES_MAX {
            if !self.rest.is_empty() {
                let rest = std::mem::take(&mut self.rest);
                self.write(efio, &rest)?;
            }
            if !self.has_room || !self.has_bytes {
                return Ok(Turn::Wait);
            }
            match efio.ef_read(self.source, scratch) {
                Ok(0) => return self.finish(efio).map(|()| Turn::Wait),
                Ok(count) => {
                    self.copied += count as u64;
                    progress.add(count as u64);
                    self.write(efio, &scratch[..count])?;
                }
                Err(error) if error.is_would_block() => self.has_bytes = false,
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(Turn::Again)
    }

    /// Hands `bytes` to the target; what it refuses is the rest.
    fn write(&mut self, efio: &Efio, mut bytes: &[u8]) -> Result<(), String> {
        while self.has_room && !bytes.is_empty() {
            match efio.ef_write(self.target, bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.is_would_block() => self.has_room = false,
                Err(error) => return Err(error.to_string()),
            }
        }
        self.rest.extend_from_slice(bytes);
        Ok(())
    }

    /// The source is at its end: publishes, if that is the end there was.
    fn finish(&mut self, efio: &Efio) -> Result<(), String> {
        let planned = &self.entry.metadata;
        let now = fs::metadata(&self.entry.from).map_err(|error| error.to_string())?;
        let is_unchanged = now.len() == planned.len() && now.modified().ok() == planned.modified().ok();
        if self.copied != planned.len() || !is_unchanged {
            return Err("it changed while it was copied".to_owned());
        }
        efio.ef_close(self.target).map_err(|error| error.to_string())?;
        let _ = efio.ef_close(self.source);
        self.closing = true;
        Ok(())
    }

    fn fail(&mut self, efio: &Efio, reason: impl std::fmt::Display) -> Turn {
        self.give_up(efio);
        Turn::Done(Err(Fault::new(&self.entry.from, reason)))
    }

    /// Leaves nothing of what is not complete.
    pub fn give_up(&mut self, efio: &Efio) {
        // These fail only for an end that is closed already.
        let _ = efio.ef_abort(self.target);
        let _ = efio.ef_close(self.source);
        self.closing = true;
    }

    /// News of one of the ends.
    pub fn on_event(&mut self, event: &Event, efio: &Efio) -> Turn {
        if self.published {
            return self.keep(Some(event), efio);
        }
        let readiness = event.readiness();
        let is_target = event.fd() == self.target;
        if !is_target && event.fd() != self.source {
            return Turn::Wait;
        }
        if let Some(error) = event.error() {
            let path = if is_target { &self.entry.to } else { &self.entry.from };
            let fault = Fault::new(path, crate::copy::names::reason(error));
            self.give_up(efio);
            return Turn::Done(Err(fault));
        }
        if is_target && readiness.is_closed() {
            if !self.closing {
                return Turn::Done(Err(Fault::new(&self.entry.to, "closed too early")));
            }
            self.published = true;
            return self.keep(None, efio);
        }
        self.has_room |= is_target && readiness.is_writable();
        self.has_bytes |= !is_target && readiness.is_readable();
        if readiness.is_opened() && is_target {
            self.target_opened = true;
        } else if readiness.is_opened() {
            self.source_opened = true;
            let size = efio.ef_progress(self.source).map(|progress| progress.size);
            if size.ok() != Some(self.entry.metadata.len()) {
                return self.fail(efio, "its size changed before it was copied");
            }
        }
        Turn::Again
    }

    /// The copy has its name: gives it mode and times.
    fn keep(&mut self, event: Option<&Event>, efio: &Efio) -> Turn {
        match self.keeping.go_on(event, &self.entry, efio) {
            Ok(false) => Turn::Wait,
            Ok(true) => Turn::Done(Ok(())),
            Err(fault) => Turn::Done(Err(fault)),
        }
    }
}
