//! What every connection of the loop shares: the engine, the root, the choices, one scratch buffer, the questions
//! that are out.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use efio::{Answer, CacheMode, Dir, Durability, Efio, Event, Fd, Op};

use crate::serve::places::Key;
use crate::serve::respond::{self, Clock, Refusal, Response};
use crate::serve::totals::Totals;

/// The most bytes moved at once between a socket and a file.
pub const PIECE: usize = 64 * 1024;

/// What was chosen at the start.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The largest upload in bytes.
    pub max_size: u64,
    /// The largest head of a request in bytes.
    pub header_limit: usize,
    /// How long a client may be silent.
    pub idle_timeout: Duration,
    /// Only GET and HEAD.
    pub read_only: bool,
    /// A line for each request.
    pub verbose: bool,
    /// `/-/stats` is answered with the figures.
    pub stats: bool,
    /// What the answer to an upload vouches for.
    pub durability: Durability,
    /// What uploads leave in the page cache.
    pub cache: CacheMode,
}

/// What every connection shares.
pub struct Service {
    /// The engine.
    pub efio: Efio,
    /// The folder that clients cannot leave.
    pub root: Dir,
    /// The choices.
    pub settings: Settings,
    /// Bytes on their way, within one step: nothing stays here.
    pub scratch: Box<[u8]>,
    /// What was done so far.
    pub totals: Totals,
    /// No new request is begun.
    pub stopping: bool,
    /// The time of this turn of the loop.
    pub now: Instant,
    clock: Clock,
    questions: HashMap<Fd, (Key, Op)>,
}

/// An answer of the file system, and the connection that asked.
pub struct Answered {
    /// Who asked.
    pub key: Key,
    /// The name of the question.
    pub question: Fd,
    /// What came of it.
    pub answer: efio::Result<Answer>,
}

impl Service {
    /// A service at its start.
    pub fn new(efio: Efio, root: Dir, settings: Settings) -> Self {
        Self {
            efio,
            root,
            settings,
            scratch: vec![0; PIECE].into_boxed_slice(),
            totals: Totals::default(),
            stopping: false,
            now: Instant::now(),
            clock: Clock::default(),
            questions: HashMap::new(),
        }
    }

    /// Remembers whose question it is, and names it.
    ///
    /// # Errors
    /// When the question was not accepted.
    pub fn ask(&mut self, key: Key, asked: efio::Result<Op>) -> Result<Fd, Refusal> {
        let op = asked.map_err(|error| Refusal::of(&error))?;
        let question = op.fd();
        self.questions.insert(question, (key, op));
        Ok(question)
    }

    /// The answer that an event brings, if it brings one.
    pub fn answered(&mut self, event: &Event) -> Option<Answered> {
        let question = event.fd();
        let (key, op) = *self.questions.get(&question)?;
        let answer = self.efio.take(op);
        if answer.as_ref().is_err_and(efio::Error::is_would_block) {
            return None;
        }
        self.questions.remove(&question);
        Some(Answered { key, question, answer })
    }

    /// The head of a response, and its text if it has one, as bytes.
    pub fn encode(&mut self, response: &Response, keep_alive: bool, head_only: bool) -> Vec<u8> {
        let date = self.clock.text(SystemTime::now());
        respond::encode(response, &respond::Setting { keep_alive, head_only, date })
    }
}
