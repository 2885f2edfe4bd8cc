//! The file that is written, the one that follows it after SIGHUP, and those that are being closed.
//!
//! ```text
//!  current ◄──records        SIGHUP: next is opened ──opened──► next becomes current, the old one is closed
//! ```
//!
//! A change of files happens between two records. What was accepted before goes to the old file, what comes later to the
//! new one: every record is in one of them, once. If the new one cannot be opened, the old one goes on.

use std::path::PathBuf;

use efio::{Durability, Efio, Event, Events, Fd, OpenOptions};

use crate::cli::{Log, LogSync};
use crate::{Failure, say_error};

/// Files that may be on their way out before another change is begun.
const CLOSING_MAX: usize = 4;

/// What came of handing records on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// They are accepted.
    Taken,
    /// Not now: news of the file follows.
    Refused,
}

/// See the head of this file.
#[derive(Debug)]
pub struct Output {
    efio: Efio,
    path: PathBuf,
    options: OpenOptions,
    current: Option<Fd>,
    next: Option<Fd>,
    next_opened: bool,
    closing: Vec<Fd>,
    reopen_asked: bool,
    /// The last call ended within a record.
    within: bool,
    failed: bool,
}

impl Output {
    /// Begins to open the file.
    ///
    /// # Errors
    /// When that is not possible at all.
    pub fn open(efio: Efio, log: &Log) -> Result<Self, Failure> {
        let durability = match log.sync {
            LogSync::None => Durability::None,
            LogSync::Interval => Durability::Interval,
            LogSync::Close => Durability::OnClose,
            LogSync::Each => Durability::EveryWrite,
        };
        let options = OpenOptions::new().append(true).create(true).mode(0o666);
        let options = options.durability(durability).flush_interval(log.flush_interval);
        let current = efio.ef_open(&log.file, &options)?;
        Ok(Self {
            efio,
            path: log.file.clone(),
            options,
            current: Some(current),
            next: None,
            next_opened: false,
            closing: Vec::new(),
            reopen_asked: false,
            within: false,
            failed: false,
        })
    }

    fn say(&self, words: impl std::fmt::Display) {
        say_error(&format!("efio: {}: {words}", self.path.display()));
    }

    /// Something is lost or cannot go on.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// It cannot go on for a reason of somebody else's.
    pub fn fail(&mut self) {
        self.failed = true;
    }

    /// Everything is closed.
    pub fn is_closed(&self) -> bool {
        self.current.is_none() && self.next.is_none() && self.closing.is_empty()
    }

    /// Hands on bytes, all or none; `ends_record`: what follows begins a new record.
    pub fn give(&mut self, bytes: &[u8], ends_record: bool) -> Given {
        if !self.within {
            self.switch();
        }
        let Some(current) = self.current else { return Given::Refused };
        match self.efio.ef_write(current, bytes) {
            Ok(_) => {
                self.within = !ends_record;
                Given::Taken
            }
            Err(error) => {
                if !error.is_would_block() && !self.failed {
                    // The closed event tells what is lost.
                    self.failed = true;
                }
                Given::Refused
            }
        }
    }

    /// The file has another name by now: opens a new one by the old name.
    pub fn reopen(&mut self) {
        self.reopen_asked = true;
        self.begin_reopen();
    }

    fn begin_reopen(&mut self) {
        let may = self.current.is_some() && self.next.is_none() && self.closing.len() < CLOSING_MAX;
        if !self.reopen_asked || !may {
            return;
        }
        self.reopen_asked = false;
        match self.efio.ef_open(&self.path, &self.options) {
            Ok(fd) => self.next = Some(fd),
            Err(error) => self.say(format_args!("not opened again: {error}")),
        }
    }

    /// The new file takes over, if it is there.
    fn switch(&mut self) {
        if !self.next_opened {
            return;
        }
        self.next_opened = false;
        let old = std::mem::replace(&mut self.current, self.next.take());
        self.close_one(old);
        self.begin_reopen();
    }

    fn close_one(&mut self, fd: Option<Fd>) {
        if let Some(fd) = fd {
            // It fails only for a file that is gone already, whose closed event came or comes.
            if self.efio.ef_close(fd).is_ok() {
                self.closing.push(fd);
            }
        }
    }

    /// Nothing more comes.
    pub fn close(&mut self) {
        let (current, next) = (self.current.take(), self.next.take());
        self.close_one(current);
        self.close_one(next);
    }

    /// Takes what happened to the files.
    ///
    /// # Errors
    /// When the engine gives no news any more.
    pub fn take_news(&mut self, news: &mut Events) -> Result<(), Failure> {
        while self.efio.events(news)? > 0 {
            for event in &*news {
                self.take(event);
            }
        }
        Ok(())
    }

    fn take(&mut self, event: &Event) {
        let (fd, ready) = (event.fd(), event.readiness());
        if Some(fd) == self.next {
            self.take_next(event);
            return;
        }
        if Some(fd) != self.current && !self.closing.contains(&fd) {
            // The end of one that never took over.
            return;
        }
        if let Some(error) = event.error() {
            if ready.is_stalled() {
                self.say(format_args!("{error}; waiting until it goes on, nothing is lost"));
            } else if ready.is_closed() || !self.failed {
                self.say(error);
            }
            self.failed |= !ready.is_stalled();
        } else if ready.is_resumed() {
            self.say("goes on");
        }
        if ready.is_closed() {
            if event.bytes_lost() > 0 {
                self.failed = true;
                self.say(format_args!("{} bytes are lost", event.bytes_lost()));
            }
            if Some(fd) == self.current {
                self.current = None;
            }
            self.closing.retain(|other| *other != fd);
            self.begin_reopen();
        }
    }

    fn take_next(&mut self, event: &Event) {
        match event.error() {
            None => {
                self.next_opened |= event.readiness().is_opened();
                if self.next_opened && !self.within {
                    self.switch();
                }
            }
            Some(error) => {
                self.say(format_args!("not opened again, the old file goes on: {error}"));
                self.next_opened = false;
                if let Some(next) = self.next.take() {
                    // Refused by a file whose open failed: that is closed already.
                    let _ = self.efio.ef_close(next);
                }
            }
        }
    }
}
