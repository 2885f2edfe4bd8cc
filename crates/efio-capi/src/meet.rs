//! Meeting the news: what an event of efio changes on a desk, and who is told.

use std::ffi::CStr;
use std::sync::Arc;

use efio::{Error, ErrorKind, Event, Readiness};

use crate::calls::{Call, Oper, call_log};
use crate::cells::{Cell, Word};
use crate::desk::{Backing, Desk, Stage};
use crate::failure::{errno_of, text};
use crate::instance::Instance;
use crate::news::{self, bits};
use crate::stream::Stream;

/// The levels of syslog(3) that are used.
pub(crate) mod level {
    pub(crate) const ERROR: i32 = 3;
    pub(crate) const WARNING: i32 = 4;
    pub(crate) const DEBUG: i32 = 7;
}

/// A handle and its life, as the token of a file in efio.
pub(crate) fn token(handle: u32, life: u32) -> u64 {
    u64::from(life) << 32 | u64::from(handle)
}

impl Instance {
    /// One event of efio; what is to be logged of it joins `lines`.
    pub(crate) fn meet(&self, event: &Event, lines: &mut Vec<(i32, String)>) {
        let (handle, life) = (event.token() as u32, (event.token() >> 32) as u32);
        let Some(cell) = self.world.cells.get(handle as i32) else { return };
        let mut desk = cell.desk();
        if desk.life != life || !self.owns(&desk) {
            return;
        }
        let readiness = event.readiness();
        if readiness.is_opened() {
            self.meet_open(&mut desk, handle, cell, event.error(), readiness.is_closed());
            let failed = event.error().filter(|_| desk.stage == Stage::Ended);
            lines.extend(failed.map(|error| (level::ERROR, error.to_string())));
        }
        if !readiness.is_opened() || !readiness.is_closed() {
            self.note_news(&mut desk, handle, event, lines);
        }
        if readiness.is_writable() || readiness.is_error() || readiness.contains(Readiness::SYNCED) {
            self.drain(&mut desk, handle, cell);
        }
        let owes_read = readiness.is_done() && std::mem::take(&mut desk.notes.read_owed);
        if readiness.is_readable() || owes_read {
            self.tell(&mut desk, handle, Oper::Read);
        }
        let retired = matches!(desk.backing, Backing::File(_)) && readiness.is_closed();
        if retired {
            desk.notes.lost += event.bytes_lost();
            desk.notes.progress = event.progress();
            // An open that failed after the close was asked for has lost nothing.
            let error = event.error().filter(|_| !readiness.is_opened()).cloned();
            if let Some(error) = &error {
                lines.push((level::ERROR, format!("{error}; {} bytes lost", event.bytes_lost())));
            }
            self.end(&mut desk, handle, cell, error, 0);
        }
        let ended = desk.stage == Stage::Ended;
        drop(desk);
        if ended {
            self.world.ended(handle, life);
        }
    }

    /// The open is done, well or not.
    fn meet_open(&self, desk: &mut Desk, handle: u32, cell: &Cell, error: Option<&Error>, failed: bool) {
        if !failed {
            self.opened(desk, handle, cell);
            return;
        }
        let closing = desk.stage == Stage::Closing;
        let odd = error.filter(|error| error.kind() == ErrorKind::NotRegular);
        match odd.filter(|error| !closing && error.raw_os_error() != Some(libc::EISDIR)) {
            // The end has looked for streams already.
            Some(_) if self.is_ending() => self.fail_open(desk, handle, cell, None, libc::ESHUTDOWN),
            Some(_) => match Stream::start(self, handle, desk) {
                Ok(stream) => desk.backing = Backing::Stream(stream),
                Err(errno) => self.fail_open(desk, handle, cell, None, errno),
            },
            // The caller has closed it already and is told that it is closed.
            None if closing => {}
            None => self.fail_open(desk, handle, cell, error.cloned(), libc::EIO),
        }
    }

    /// The file is open. A file that is being closed by now is told of all the same.
    pub(crate) fn opened(&self, desk: &mut Desk, handle: u32, cell: &Cell) {
        if desk.stage == Stage::Opening {
            desk.stage = Stage::Open;
            self.refresh(desk, cell);
        }
        self.tell_open(desk, handle);
    }

    fn tell_open(&self, desk: &mut Desk, handle: u32) {
        if !std::mem::replace(&mut desk.notes.told_open, true) {
            self.tell(desk, handle, Oper::Open);
            self.raise(desk, handle, bits::OPENED, 0);
        }
    }

    /// The file could not be opened.
    pub(crate) fn fail_open(
        &self,
        desk: &mut Desk,
        handle: u32,
        cell: &Cell,
        error: Option<Error>,
        errno: i32,
    ) {
        desk.notes.unopened = true;
        desk.notes.told_open = true;
        cell.vacate();
        desk.end(error, errno);
        let errno = desk.notes.answer;
        self.tell(desk, handle, Oper::Open);
        self.raise(desk, handle, bits::OPENED | bits::ERROR | bits::CLOSED, errno);
        self.bell.ring();
    }

    /// The file is closed, or lost: the last news of this life.
    pub(crate) fn end(&self, desk: &mut Desk, handle: u32, cell: &Cell, error: Option<Error>, errno: i32) {
        cell.vacate();
        self.tell_open(desk, handle);
        desk.end(error, errno);
        let errno = desk.notes.answer;
        self.tell(desk, handle, Oper::Close);
        let failed = if errno == 0 { 0 } else { bits::ERROR };
        self.raise(desk, handle, bits::CLOSED | failed, errno);
        self.bell.ring();
    }

    /// Lets reads and writes go to the file at once, or has them ask here first.
    pub(crate) fn refresh(&self, desk: &Desk, cell: &Cell) {
        let notes = &desk.notes;
        let plain = desk.stage == Stage::Open
            && desk.backlog.is_empty()
            && !notes.end_seen
            && notes.fault_seen.is_none()
            && !desk.access.moves_to_end()
            && !self.is_tight(desk);
        match desk.backing {
            Backing::File(fd) if plain => match Word::new(self.seat, fd) {
                Some(word) => cell.occupy(word),
                None => cell.vacate(),
            },
            _ => cell.vacate(),
        }
    }

    /// Has a callback made, if there is a function.
    pub(crate) fn tell(&self, desk: &mut Desk, handle: u32, oper: Oper) {
        let closing = matches!(desk.stage, Stage::Closing | Stage::Ended);
        if !self.global || !self.world.callbacks.is_set() {
            return;
        }
        if oper == Oper::Read {
            if closing || std::mem::replace(&mut desk.notes.read_queued, true) {
                return;
            }
        } else {
            desk.notes.owed += 1;
        }
        self.calls.push(Call { handle, life: desk.life, oper });
        self.bell.ring();
    }

    /// What an event says beside the open, the read and the close goes on the list of events.
    fn note_news(&self, desk: &mut Desk, handle: u32, event: &Event, lines: &mut Vec<(i32, String)>) {
        let readiness = event.readiness();
        let mut what = 0;
        for (flag, bit) in news::NAMES {
            what |= if readiness.contains(flag) { bit } else { 0 };
        }
        if readiness.contains(Readiness::SYNCED) && std::mem::take(&mut desk.notes.own_sync) {
            what &= !bits::SYNCED;
        }
        let errno = event.error().map_or(0, errno_of);
        if readiness.is_error() && !readiness.is_closed() {
            what |= bits::ERROR;
        }
        for (flag, words) in [
            (Readiness::OPENED, "opened"),
            (Readiness::STALLED, "the disk takes no bytes for now"),
            (Readiness::RESUMED, "the disk takes bytes again"),
        ] {
            if readiness.contains(flag) {
                let level = if flag == Readiness::OPENED { level::DEBUG } else { level::WARNING };
                lines.push((level, format!("{}: {words}", desk.notes.path.to_string_lossy())));
            }
        }
        if let Some(error) = event.error().filter(|_| readiness.is_error() && !readiness.is_closed()) {
            lines.push((level::ERROR, error.to_string()));
        }
        if readiness.contains(Readiness::STALLED) && desk.notes.close_wanted {
            // The close deadline cannot begin before these have a page, and they will not get one soon.
            self.give_up_backlog(desk);
        }
        if what & !bits::OPENED != 0 && desk.stage != Stage::Closing {
            self.raise(desk, handle, what & !bits::OPENED, errno);
        }
    }

    /// Tells the log function, if there is one. By nobody who holds a desk.
    pub(crate) fn log(&self, lines: Vec<(i32, String)>) {
        for (level, line) in lines {
            if self.world.log.is_set() {
                let line = text(&line);
                let line: &CStr = &line;
                self.world.log.call(|function, data| call_log(function, level, line, data));
            }
        }
    }

    /// The instance of the desk, to be kept while the desk is let go.
    pub(crate) fn of(desk: &Desk) -> Option<Arc<Self>> {
        desk.instance.clone()
    }
}
