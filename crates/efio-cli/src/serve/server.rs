//! The loop: news, turns, deadlines, and the way out.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use efio::Efio;
use mio::{Interest, Poll, Token};

use crate::cli::Serve;
use crate::serve::connection::{Connection, Turn};
use crate::serve::deadlines::Deadlines;
use crate::serve::listen::Listener;
use crate::serve::places::{Key, Places};
use crate::serve::service::Service;
use crate::serve::tick::Tick;
use crate::signals::Asked;
use crate::{Failure, failure, say};

const LISTENER: Token = Token(0);
const FILES: Token = Token(1);
const SIGNALS: Token = Token(2);
const TICK: Token = Token(3);
/// The tokens of connections begin here.
const FIRST: usize = 4;

/// How long the work list is worked off before the loop looks at its news and timers again.
const ROUND: Duration = Duration::from_micros(50);
/// The most clients let in at one turn of the loop.
const ACCEPTS_MAX: usize = 16;
/// How many clients past the limit are told so at a time; further ones wait outside.
const REFUSALS_MAX: usize = 64;
/// News taken at a time.
const NEWS_MAX: usize = 1024;

/// The server.
pub struct Server {
    poll: Poll,
    listener: Option<Listener>,
    asked: Asked,
    tick: Option<Tick>,
    connections: Places<Connection>,
    connections_max: usize,
    /// Connections that have something to do, in the order in which they get their turn.
    work: VecDeque<Key>,
    deadlines: Deadlines,
    news: efio::Events,
    service: Service,
    grace: Duration,
    /// When running requests are given up; set by the first signal.
    stop_at: Option<Instant>,
}

impl Server {
    /// Listens, and watches for signals.
    ///
    /// # Errors
    /// What hinders it.
    pub fn start(options: &Serve, service: Service) -> Result<Self, Failure> {
        let poll = Poll::new().map_err(|error| failure("the poll", error))?;
        let mut listener = Listener::bind(&options.bind).map_err(|error| failure(&options.bind, error))?;
        let connections_max = usize::try_from(options.max_connections)?;
        let asked = Asked::register(poll.registry(), SIGNALS).map_err(|error| failure("signals", error))?;
        listener.register(poll.registry(), LISTENER)?;
        poll.registry().register(&mut service.efio.inbox(), FILES, Interest::READABLE)?;
        let tick = if options.tick_report { Some(Tick::start(poll.registry(), TICK)?) } else { None };
        Ok(Self {
            poll,
            listener: Some(listener),
            asked,
            tick,
            connections: Places::new(connections_max + REFUSALS_MAX),
            connections_max,
            work: VecDeque::new(),
            deadlines: Deadlines::default(),
            news: efio::Events::with_capacity(NEWS_MAX),
            service,
            grace: options.grace,
            stop_at: None,
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system's own.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.as_ref().map_or(Err(io::ErrorKind::NotConnected.into()), Listener::address)
    }

    /// Serves until a signal came and the last request is done, or its time is up.
    ///
    /// # Errors
    /// When the poll or the engine fails.
    pub fn run(&mut self) -> Result<(), Failure> {
        let mut edges = mio::Events::with_capacity(NEWS_MAX);
        loop {
            match self.poll.poll(&mut edges, self.patience()) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(failure("the poll", error));
                }
                _ => {}
            }
            self.look_at_clock();
            for edge in &edges {
                self.on_edge(edge)?;
            }
            self.accept();
            self.work_round();
            self.expire();
            if self.stop_at.is_some_and(|at| self.connections.len() == 0 || self.service.now >= at) {
                return Ok(());
            }
        }
    }

    /// How long the poll may sleep.
    fn patience(&self) -> Option<Duration> {
        if !self.work.is_empty() {
            return Some(Duration::ZERO);
        }
        let door = if self.connections.is_full() { None } else { self.listener.as_ref() };
        let times = [door.and_then(|door| door.next(self.service.now)), self.deadlines.next(), self.stop_at];
        let next = times.into_iter().flatten().min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    fn look_at_clock(&mut self) {
        self.service.now = Instant::now();
        if let Some(tick) = &mut self.tick {
            tick.look(self.service.now);
        }
    }

    fn on_edge(&mut self, edge: &mio::event::Event) -> Result<(), Failure> {
        match edge.token() {
            LISTENER => self.listener.iter_mut().for_each(Listener::on_edge),
            FILES => self.take_news()?,
            SIGNALS => {
                if self.asked.take() {
                    self.stop();
                }
            }
            TICK => self.tick.iter().for_each(Tick::on_edge),
            Token(number) => {
                let Some((key, connection)) = self.connections.at(number - FIRST) else { return Ok(()) };
                let over = edge.is_error() || edge.is_read_closed() || edge.is_write_closed();
                connection.wire().on_edge(edge.is_readable() || over, edge.is_writable() || over);
                queue(&mut self.work, key, connection);
            }
        }
        Ok(())
    }

    /// The news of files go to their connections. What does not fit this time wakes the loop again.
    fn take_news(&mut self) -> Result<(), Failure> {
        let Self { news, service, connections, work, .. } = self;
        service.efio.events(news)?;
        for event in &*news {
            let answered = service.answered(event);
            let key = answered.as_ref().map_or(Key::from_token(event.token()), |answered| answered.key);
            // News of a file whose client is gone: its end was asked for then, and needs no more.
            let Some(connection) = connections.get(key) else { continue };
            match answered {
                Some(answered) => connection.on_answer(answered, service),
                None => connection.on_event(event, service),
            }
            queue(work, key, connection);
        }
        Ok(())
    }

    fn accept(&mut self) {
        let Self { listener: Some(listener), poll, connections, service, .. } = self else { return };
        for _ in 0..ACCEPTS_MAX {
            if connections.is_full() {
                return;
            }
            let Some(socket) = listener.accept(service.now) else { return };
            let is_too_many = connections.len() >= self.connections_max;
            let added = connections.add(|key| {
                let mut connection = Connection::new(key, socket, service);
                let both = Interest::READABLE | Interest::WRITABLE;
                let token = Token(FIRST + key.index());
                poll.registry().register(connection.wire().socket(), token, both).ok()?;
                if is_too_many {
                    connection.refuse(service);
                }
                Some(connection)
            });
            let added = added.and_then(|key| Some((key, connections.get(key)?)));
            if let Some((key, connection)) = added {
                self.deadlines.set(connection.armed, key);
                queue(&mut self.work, key, connection);
            }
        }
    }

    /// Gives turns to the connections on the list, for a moment.
    fn work_round(&mut self) {
        let end = self.service.now + ROUND;
        while let Some(key) = self.work.pop_front() {
            let Some(connection) = self.connections.get(key) else { continue };
            connection.queued = false;
            let turn = connection.turn(&mut self.service);
            self.after_turn(key, turn);
            if Instant::now() >= end {
                return;
            }
        }
    }

    fn after_turn(&mut self, key: Key, turn: Turn) {
        let Some(connection) = self.connections.get(key) else { return };
        if connection.deadline < connection.armed {
            connection.armed = connection.deadline;
            self.deadlines.set(connection.armed, key);
        }
        match turn {
            Turn::Again => queue(&mut self.work, key, connection),
            Turn::Wait => {}
            Turn::Close => self.close(key),
        }
    }

    fn expire(&mut self) {
        while let Some((at, key)) = self.deadlines.pop(self.service.now) {
            let Some(connection) = self.connections.get(key) else { continue };
            if at != connection.armed {
                continue;
            }
            let turn = if connection.deadline <= self.service.now {
                connection.expire(&mut self.service)
            } else {
                Turn::Wait
            };
            connection.armed = connection.deadline.max(self.service.now + Duration::from_millis(1));
            self.deadlines.set(connection.armed, key);
            self.after_turn(key, turn);
        }
    }

    fn close(&mut self, key: Key) {
        let Some(mut connection) = self.connections.remove(key) else { return };
        connection.end(&mut self.service);
        self.service.totals.received += connection.wire().received;
        self.service.totals.sent += connection.wire().sent;
    }

    /// The first signal: nobody comes in any more, and who is not being served leaves.
    fn stop(&mut self) {
        if self.stop_at.is_some() {
            return;
        }
        self.listener = None;
        self.service.stopping = true;
        self.stop_at = Some(self.service.now + self.grace);
        for key in self.connections.keys() {
            if self.connections.get(key).is_some_and(|connection| !connection.is_serving()) {
                self.close(key);
            }
        }
    }

    /// What is still running is given up, and leaves nothing. The engine is the caller's to end.
    pub fn end(&mut self) -> Efio {
        for key in self.connections.keys() {
            self.close(key);
        }
        self.service.efio.clone()
    }

    /// Whether clients may see the figures.
    pub fn show_stats(&mut self, shown: bool) {
        self.service.settings.stats = shown;
    }

    /// Says what was done.
    pub fn say_totals(&self) {
        say(&self.service.totals.to_string());
        if let Some(tick) = &self.tick {
            say(&tick.to_string());
        }
    }
}

fn queue(work: &mut VecDeque<Key>, key: Key, connection: &mut Connection) {
    if !connection.queued {
        connection.queued = true;
        work.push_back(key);
    }
}
