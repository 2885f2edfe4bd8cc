//! One client: requests one after the other over one socket, each moved on by a few pieces at a turn.
//!
//! ```text
//!  Head ──request──► Upload, Download, Removal ──► Reply ──sent, keep alive──► Head
//!    │                                               └──sent, close──► Linger ──client done──► gone
//!    └── garbage, too slow ──► Reply
//! ```
//!
//! *Linger*: after the last answer the socket is closed for sending only, and what still comes is read and dropped,
//! within bounds. Closing at once would have the kernel answer unread bytes with a reset, which can take the answer
//! away from a client that is still sending.

use std::time::{Duration, Instant};

use efio::Event;
use mio::net::TcpStream;

use crate::serve::download::Download;
use crate::serve::exchange::Exchange;
use crate::serve::name::{self, Name};
use crate::serve::places::Key;
use crate::serve::removal::Removal;
use crate::serve::request::{self, Framing, Head, Method};
use crate::serve::respond::{Refusal, Response};
use crate::serve::service::{Answered, Service};
use crate::serve::upload::Upload;
use crate::serve::wire::{Received, Sent, Wire};

/// The most steps of one turn; each moves at most one piece.
const STEPS_MAX: usize = 3;
/// The most bytes that are read and dropped after the last answer.
const LINGER_BYTES: u64 = 16 * 1024 * 1024;
/// How long that may take.
const LINGER_TIME: Duration = Duration::from_secs(3);
/// Where the figures are, if they are shown.
const STATS: &str = "/-/stats";

/// Who is to move next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The client; its patience is limited.
    Client,
    /// The engine; an event of the file follows.
    Engine,
}

/// What one step of a request came to.
#[derive(Debug)]
pub enum Step {
    /// It moved; there may be more to do.
    Again,
    /// Nothing to do until somebody else moves.
    Wait(Wait),
    /// It is done; this is the answer.
    Answer(Response),
    /// It is done before its body was read: this is the answer, and the last one of the connection.
    Refuse(Refusal),
    /// The answer begins; a file's bytes follow.
    Stream(Response),
    /// The bytes of the file are all sent or waiting to be.
    Finished,
    /// The connection is of no more use.
    Close,
}

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// There is more to do, after others had their turn.
    Again,
    /// Nothing to do until somebody else moves.
    Wait,
    /// The connection is to be dropped.
    Close,
}

#[derive(Debug)]
enum Phase {
    Head,
    Upload(Upload),
    Download(Download),
    Removal(Removal),
    Reply,
    Linger { left: u64 },
}

/// One client.
#[derive(Debug)]
pub struct Connection {
    key: Key,
    wire: Wire,
    phase: Phase,
    exchange: Exchange,
    keep_alive: bool,
    waits_for: Wait,
    /// When the client's patience with us, or ours with it, ends.
    pub deadline: Instant,
    /// The one valid entry among the deadlines.
    pub armed: Instant,
    /// On the work list.
    pub queued: bool,
}

impl Connection {
    /// A client as it was accepted.
    pub fn new(key: Key, socket: TcpStream, service: &Service) -> Self {
        let deadline = service.now + service.settings.idle_timeout;
        Self {
            key,
            wire: Wire::new(socket),
            phase: Phase::Head,
            exchange: Exchange::default(),
            keep_alive: true,
            waits_for: Wait::Client,
            deadline,
            armed: deadline,
            queued: false,
        }
    }

    /// A client too many: it is told so, and nothing else.
    pub fn refuse(&mut self, service: &mut Service) {
        self.keep_alive = false;
        let response = Response::from(Refusal::new(503, "too many connections")).with("Retry-After", 1);
        self.answer(&response, service);
    }

    /// The socket and its readiness.
    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// Moves on by a few steps.
    pub fn turn(&mut self, service: &mut Service) -> Turn {
        let moved = self.wire.received + self.wire.sent;
        let turn = self.steps(service);
        let in_transfer =
            matches!(self.phase, Phase::Upload(_) | Phase::Download(_) | Phase::Removal(_) | Phase::Reply);
        if in_transfer && moved != self.wire.received + self.wire.sent {
            self.deadline = service.now + service.settings.idle_timeout;
        }
        turn
    }

    fn steps(&mut self, service: &mut Service) -> Turn {
        for _ in 0..STEPS_MAX {
            // A download sends the head of its response together with the first piece.
            if !matches!(self.phase, Phase::Download(_)) {
                match self.wire.flush() {
                    Sent::All => {}
                    Sent::Blocked => return self.wait(Wait::Client),
                    Sent::Gone => return Turn::Close,
                }
            }
            let step = match &mut self.phase {
                Phase::Head => self.read_head(service),
                Phase::Upload(upload) => upload.step(&mut self.wire, service),
                Phase::Download(download) => download.step(&mut self.wire, service),
                Phase::Removal(_) => Step::Wait(Wait::Engine),
                Phase::Reply => self.replied(service),
                Phase::Linger { left } => linger(left, &mut self.wire, service),
            };
            if let Some(turn) = self.follow(step, service) {
                return turn;
            }
        }
        Turn::Again
    }

    fn wait(&mut self, on: Wait) -> Turn {
        self.waits_for = on;
        Turn::Wait
    }

    /// Does what a step came to; `None`: the next step.
    fn follow(&mut self, step: Step, service: &mut Service) -> Option<Turn> {
        match step {
            Step::Again => {}
            Step::Wait(on) => return Some(self.wait(on)),
            Step::Answer(response) => self.answer(&response, service),
            Step::Refuse(refusal) => {
                self.keep_alive = false;
                self.answer(&refusal.into(), service);
            }
            Step::Stream(response) => self.send_head(&response, service),
            Step::Finished => self.leave_phase(service),
            Step::Close => return Some(Turn::Close),
        }
        None
    }

    fn send_head(&mut self, response: &Response, service: &mut Service) {
        self.keep_alive &= !service.stopping;
        self.exchange.status = Some(response.status);
        let bytes = service.encode(response, self.keep_alive, self.exchange.head_only);
        self.wire.output.append(&bytes);
    }

    fn answer(&mut self, response: &Response, service: &mut Service) {
        self.send_head(response, service);
        self.leave_phase(service);
    }

    /// What is left is to send what waits.
    fn leave_phase(&mut self, service: &mut Service) {
        self.give_up_phase(service);
        self.phase = Phase::Reply;
        self.deadline = service.now + service.settings.idle_timeout;
    }

    /// Whatever the request holds is let go; what is not complete leaves nothing.
    fn give_up_phase(&mut self, service: &mut Service) {
        match &mut self.phase {
            Phase::Upload(upload) => {
                self.exchange.bytes = upload.taken;
                upload.abandon(service);
            }
            Phase::Download(download) => {
                self.exchange.bytes = download.taken;
                download.abandon(service);
            }
            Phase::Head | Phase::Removal(_) | Phase::Reply | Phase::Linger { .. } => {}
        }
    }

    /// The answer is out.
    fn replied(&mut self, service: &mut Service) -> Step {
        self.exchange.end(service);
        if self.keep_alive && !service.stopping {
            self.phase = Phase::Head;
            self.deadline = service.now + service.settings.idle_timeout;
        } else {
            self.wire.end_sending();
            self.wire.input.clear();
            self.phase = Phase::Linger { left: LINGER_BYTES };
            self.deadline = service.now + LINGER_TIME;
        }
        Step::Again
    }

    fn read_head(&mut self, service: &mut Service) -> Step {
        let limit = service.settings.header_limit;
        if !self.wire.input.is_empty() {
            self.exchange.begin(service.now);
            match request::parse(self.wire.input.as_slice(), limit) {
                Ok(Some((head, used))) => {
                    self.wire.input.consume(used);
                    return self.begin(head, service);
                }
                Ok(None) => {}
                Err(refusal) => return Step::Refuse(refusal),
            }
        }
        let most = limit.min(service.scratch.len());
        match self.wire.receive(&mut service.scratch[..most]) {
            Received::Bytes(count) => {
                if self.wire.input.is_empty() {
                    // From its first byte on, the whole head has this long.
                    self.deadline = service.now + service.settings.idle_timeout;
                }
                self.wire.input.append(&service.scratch[..count]);
                Step::Again
            }
            Received::Blocked => Step::Wait(Wait::Client),
            Received::Ended => Step::Close,
        }
    }

    fn begin(&mut self, head: Head, service: &mut Service) -> Step {
        self.exchange.describe(&head);
        let has_body = !matches!(head.framing, Framing::None | Framing::Length(0));
        self.keep_alive = head.keep_alive;
        match self.start(head, service) {
            Ok(phase) => {
                self.phase = phase;
                Step::Again
            }
            Err(response) => {
                self.keep_alive &= !has_body;
                Step::Answer(response)
            }
        }
    }

    fn start(&mut self, head: Head, service: &mut Service) -> Result<Phase, Response> {
        let read_only = service.settings.read_only;
        if head.method == Method::Other || (read_only && matches!(head.method, Method::Put | Method::Delete))
        {
            return Err(not_allowed(read_only, "this method is not served"));
        }
        if service.settings.stats && head.target == STATS && matches!(head.method, Method::Get | Method::Head)
        {
            return Err(Response::json(service.totals.json(&service.efio.stats())));
        }
        let name = name::parse(&head.target)?;
        let has_body = !matches!(head.framing, Framing::None | Framing::Length(0));
        if has_body && head.method != Method::Put {
            return Err(Refusal::new(400, "a body where none belongs").into());
        }
        let Name::File(path) = name else {
            return Err(match head.method {
                Method::Get | Method::Head => Refusal::new(404, "folders are not listed").into(),
                _ => not_allowed(true, "a folder can neither be stored nor removed"),
            });
        };
        Ok(match head.method {
            Method::Get | Method::Head => Phase::Download(Download::start(self.key, path, head, service)?),
            Method::Put => Phase::Upload(Upload::start(self.key, &path, &head, service)?),
            Method::Delete | Method::Other => Phase::Removal(Removal::start(self.key, &path, service)?),
        })
    }

    /// News of a file of this connection.
    pub fn on_event(&mut self, event: &Event, service: &mut Service) {
        let step = match &mut self.phase {
            Phase::Upload(upload) => upload.on_event(event, service),
            Phase::Download(download) => download.on_event(event, service),
            _ => return,
        };
        self.after_news(step, service);
    }

    /// The answer to a question of this connection.
    pub fn on_answer(&mut self, answered: Answered, service: &mut Service) {
        let step = match &mut self.phase {
            Phase::Upload(upload) => upload.on_answer(answered, service),
            Phase::Download(download) => download.on_answer(answered, service),
            Phase::Removal(removal) => removal.on_answer(answered, service),
            _ => return,
        };
        self.after_news(step, service);
    }

    fn after_news(&mut self, step: Step, service: &mut Service) {
        if self.follow(step, service) == Some(Turn::Close) {
            self.end(service);
        }
    }

    /// The deadline passed.
    pub fn expire(&mut self, service: &mut Service) -> Turn {
        if self.waits_for == Wait::Engine {
            self.deadline = service.now + service.settings.idle_timeout;
            return Turn::Wait;
        }
        let slow = Refusal::new(408, "the client is too slow");
        match &mut self.phase {
            Phase::Head if !self.wire.input.is_empty() => {}
            Phase::Upload(_) => {}
            _ => return Turn::Close,
        }
        self.follow(Step::Refuse(slow), service).unwrap_or(Turn::Again)
    }

    /// True while a request is being served.
    pub fn is_serving(&self) -> bool {
        !matches!(self.phase, Phase::Head | Phase::Linger { .. })
    }

    /// The connection ends here, whatever it was doing.
    pub fn end(&mut self, service: &mut Service) {
        self.give_up_phase(service);
        if !matches!(self.phase, Phase::Reply) {
            self.exchange.status = None;
        }
        self.exchange.end(service);
        self.wire.output.clear();
        self.phase = Phase::Linger { left: 0 };
    }
}

fn linger(left: &mut u64, wire: &mut Wire, service: &mut Service) -> Step {
    if *left == 0 {
        return Step::Close;
    }
    match wire.receive(&mut service.scratch) {
        Received::Bytes(count) => {
            *left = left.saturating_sub(count as u64);
            Step::Again
        }
        Received::Blocked => Step::Wait(Wait::Client),
        Received::Ended => Step::Close,
    }
}

fn not_allowed(read_only: bool, reason: &'static str) -> Response {
    let allowed = if read_only { "GET, HEAD" } else { "GET, HEAD, PUT, POST, DELETE" };
    Response::from(Refusal::new(405, reason)).with("Allow", allowed)
}
