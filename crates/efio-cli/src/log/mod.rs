//! `efio log`: standard input to a file, one record a line, on a loop that never waits for the disk.
//!
//! ```text
//!  standard input ──► held: whole records, and the beginning of the next ──ef_write──► pages ──► the file
//!        ▲                        │ refused: nothing more is read until there is room           SIGHUP: the next one
//!        └── a pipe fills up, its writer waits ◄──┘
//! ```
//!
//! Records go to the engine in calls that begin and end with a record and are taken whole or not at all, so that none is
//! torn between two calls. One of more than a megabyte goes in pieces.

mod input;
mod output;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use efio::Efio;
use mio::{Interest, Poll, Token};
use signal_hook::consts::SIGHUP;
use signal_hook_mio::v1_0::Signals;

use crate::cli::Log;
use crate::log::input::{Input, Taken};
use crate::log::output::{Given, Output};
use crate::signals::Asked;
use crate::{Failure, failure, say_error};

const FILES: Token = Token(0);
const SIGNALS: Token = Token(1);
const HANG_UP: Token = Token(2);
const INPUT: Token = Token(3);

/// The most bytes read at once.
const PIECE: usize = 64 * 1024;
/// A record of up to so many bytes goes in one call; the engine's own bound.
const RECORD: usize = 1 << 20;
/// What a pipe holds at most, unless its owner is privileged: so much is read after a signal to stop.
const LEFT_IN_PIPE: usize = 1 << 20;
/// Pieces read between two looks at the news.
const PIECES_MAX: usize = 16;
/// How long the close of a file goes on whose disk is full.
const CLOSE_DEADLINE: Duration = Duration::from_secs(10);
/// How long the engine may take at the end.
const ENGINE_END: Duration = Duration::from_secs(15);

/// Writes standard input to the file until it ends, or a signal says so.
///
/// # Errors
/// When it cannot begin at all.
pub fn run(options: &Log) -> Result<ExitCode, Failure> {
    let memory = usize::try_from(options.memory).map_err(|error| failure("--memory", error))?;
    let efio = Efio::builder()
        .memory_limit(memory)
        .file_memory_limit(memory)
        .whole_write(RECORD)
        .close_deadline(CLOSE_DEADLINE)
        .threads_limit(8)
        .build()
        .map_err(|error| failure("--memory", error))?;
    let mut logger = Logger::start(options, efio.clone())?;
    let ran = logger.run();
    let failed = logger.output.has_failed();
    drop(logger);
    let ended = efio.shutdown(ENGINE_END);
    ran?;
    // What a shutdown tells has been told by the file's own closed event.
    Ok(if failed || ended.is_err() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

struct Logger {
    poll: Poll,
    asked: Asked,
    hang_up: Signals,
    news: efio::Events,
    input: Input,
    output: Output,
    /// Bytes read and not accepted yet; the first `whole` of them are whole records.
    held: Vec<u8>,
    whole: usize,
    scratch: Box<[u8]>,
    /// Nothing more is read once so many bytes more have come; by a signal.
    left: Option<usize>,
    /// Since the first signal: when what the file still refuses is given up.
    until: Option<Instant>,
}

impl Logger {
    fn start(options: &Log, efio: Efio) -> Result<Self, Failure> {
        let poll = Poll::new().map_err(|error| failure("the poll", error))?;
        let asked = Asked::register(poll.registry(), SIGNALS).map_err(|error| failure("signals", error))?;
        let mut hang_up = Signals::new([SIGHUP]).map_err(|error| failure("signals", error))?;
        poll.registry().register(&mut hang_up, HANG_UP, Interest::READABLE)?;
        poll.registry().register(&mut efio.inbox(), FILES, Interest::READABLE)?;
        let input = Input::open(poll.registry(), INPUT).map_err(|error| failure("standard input", error))?;
        Ok(Self {
            poll,
            asked,
            hang_up,
            news: efio::Events::with_capacity(64),
            input,
            output: Output::open(efio, options)?,
            held: Vec::new(),
            whole: 0,
            scratch: vec![0; PIECE].into_boxed_slice(),
            left: None,
            until: None,
        })
    }

    fn run(&mut self) -> Result<(), Failure> {
        let mut edges = mio::Events::with_capacity(8);
        loop {
            let more = self.pump();
            let done = self.input.has_ended() && self.held.is_empty() || self.output.has_failed();
            if done {
                self.output.close();
            }
            if self.output.is_closed() {
                return Ok(());
            }
            let left = self.until.map(|until| until.saturating_duration_since(Instant::now()));
            let timeout = if more && !done { Some(Duration::ZERO) } else { left.filter(|_| !done) };
            match self.poll.poll(&mut edges, timeout) {
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                    return Err(failure("the poll", error));
                }
                _ => {}
            }
            for edge in &edges {
                match edge.token() {
                    SIGNALS if self.asked.take() && self.until.is_none() => {
                        self.left = Some(LEFT_IN_PIPE);
                        self.until = Some(Instant::now() + CLOSE_DEADLINE);
                    }
                    HANG_UP if self.hang_up.pending().count() > 0 => self.output.reopen(),
                    INPUT => self.input.wake(),
                    _ => {}
                }
            }
            self.output.take_news(&mut self.news)?;
            if !done && self.until.is_some_and(|until| until <= Instant::now()) {
                say_error(&format!(
                    "efio: {} bytes were read and not taken by the file in time",
                    self.held.len()
                ));
                self.output.fail();
            }
        }
    }

    /// Reads and hands on for a moment; true when there is more to do at once.
    fn pump(&mut self) -> bool {
        for _ in 0..PIECES_MAX {
            if self.output.has_failed() || !self.give() {
                return false;
            }
            let most = self.left.unwrap_or(PIECE).min(PIECE);
            if most == 0 {
                self.input.end();
            }
            match self.input.read(&mut self.scratch[..most]) {
                Taken::Bytes(count) => self.hold(count),
                Taken::Nothing if self.left.is_some() => self.input.end(),
                Taken::Nothing => return false,
                Taken::End => {
                    self.give();
                    return false;
                }
                Taken::Failed(error) => {
                    say_error(&format!("efio: standard input: {error}"));
                    self.output.fail();
                }
            }
        }
        true
    }

    fn hold(&mut self, count: usize) {
        self.left = self.left.map(|left| left.saturating_sub(count));
        let new = &self.scratch[..count];
        if let Some(last) = new.iter().rposition(|&byte| byte == b'\n') {
            self.whole = self.held.len() + last + 1;
        }
        self.held.extend_from_slice(new);
    }

    /// Hands on what can go; false when it is refused for now.
    fn give(&mut self) -> bool {
        loop {
            let ended = self.input.has_ended();
            let (count, ends_record) = match self.whole {
                // What is left at the end is a record too, with or without the end of its line.
                0 if ended && self.held.len() <= RECORD => (self.held.len(), true),
                0 if self.held.len() >= RECORD => (RECORD, false),
                0 => return true,
                whole if whole <= RECORD => (whole, true),
                _ => match self.held[..RECORD].iter().rposition(|&byte| byte == b'\n') {
                    Some(last) => (last + 1, true),
                    None => (RECORD, false),
                },
            };
            if count == 0 {
                return true;
            }
            match self.output.give(&self.held[..count], ends_record) {
                Given::Taken => {
                    self.held.drain(..count);
                    self.whole = self.whole.saturating_sub(count);
                }
                Given::Refused => return false,
            }
        }
    }
}
