//! The loop of the copier: several files at once, each moved on when its events say so.

use std::path::Path;
use std::time::Duration;

use efio::{Dir, Efio};
use mio::{Interest, Poll, Token};

use crate::copy::Tally;
use crate::copy::plan::Entry;
use crate::copy::transfer::{Transfer, Turn};
use crate::signals::Asked;
use crate::{Failure, failure};

const FILES: Token = Token(0);
const SIGNALS: Token = Token(1);

/// Files on their way at a time.
const TRANSFERS_MAX: usize = 16;
/// The most bytes moved at once.
const PIECE: usize = 64 * 1024;
const NEWS_MAX: usize = 256;

/// The engine and what is on its way.
pub struct Copier {
    efio: Efio,
    /// The folder that the copies cannot leave.
    root: Dir,
    poll: Poll,
    asked: Asked,
    news: efio::Events,
    scratch: Box<[u8]>,
    /// By the token of their files.
    transfers: Vec<Option<(Transfer, bool)>>,
}

impl Copier {
    /// Starts the engine.
    ///
    /// # Errors
    /// What hinders it.
    pub fn start(base: &Path) -> Result<Self, Failure> {
        let efio = Efio::new()?;
        let root = efio.dir(base).map_err(|error| failure(base.display(), error))?;
        let poll = Poll::new().map_err(|error| failure("the poll", error))?;
        let asked = Asked::register(poll.registry(), SIGNALS).map_err(|error| failure("signals", error))?;
        poll.registry().register(&mut efio.inbox(), FILES, Interest::READABLE)?;
        Ok(Self {
            efio,
            root,
            poll,
            asked,
            news: efio::Events::with_capacity(NEWS_MAX),
            scratch: vec![0; PIECE].into_boxed_slice(),
            transfers: std::iter::repeat_with(|| None).take(TRANSFERS_MAX).collect(),
        })
    }

    /// The engine.
    pub fn efio(&self) -> Efio {
        self.efio.clone()
    }

    /// The folder that the copies cannot leave.
    pub fn root(&self) -> Dir {
        self.root.clone()
    }

    /// Copies all files; true when a signal ended it.
    ///
    /// # Errors
    /// When the poll or the engine fails.
    pub fn run(mut self, files: Vec<Entry>, tally: &mut Tally<'_>) -> Result<bool, Failure> {
        let mut files = files.into_iter();
        let mut edges = mio::Events::with_capacity(4);
        loop {
            self.begin(&mut files, tally);
            let runnable = self.turns(tally);
            if self.transfers.iter().all(Option::is_none) && files.len() == 0 {
                break;
            }
            match self.poll.poll(&mut edges, runnable.then_some(Duration::ZERO)) {
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                    return Err(failure("the poll", error));
                }
                _ => {}
            }
            if edges.iter().any(|edge| edge.token() == SIGNALS) && self.asked.take() {
                self.give_up();
                return Ok(true);
            }
            if edges.iter().any(|edge| edge.token() == FILES) {
                self.take_news(tally)?;
            }
        }
        Ok(false)
    }

    /// Begins further files where there is room.
    fn begin(&mut self, files: &mut std::vec::IntoIter<Entry>, tally: &mut Tally<'_>) {
        for (token, place) in (0..).zip(&mut self.transfers) {
            while place.is_none() {
                let Some(entry) = files.next() else { return };
                match Transfer::start(entry, token, &self.efio, &self.root, tally.options) {
                    Ok(transfer) => *place = Some((transfer, true)),
                    Err(fault) => tally.take(Err(fault)),
                }
            }
        }
    }

    /// One turn for each file that can move; true when one can move again, or has made room.
    fn turns(&mut self, tally: &mut Tally<'_>) -> bool {
        let mut runnable = false;
        for place in &mut self.transfers {
            let Some((transfer, moves)) = place else { continue };
            if !*moves {
                continue;
            }
            match transfer.turn(&self.efio, &mut self.scratch, &tally.progress) {
                Turn::Again => runnable = true,
                Turn::Wait => *moves = false,
                Turn::Done(outcome) => {
                    tally.take(outcome);
                    *place = None;
                    runnable = true;
                }
            }
        }
        runnable
    }

    fn take_news(&mut self, tally: &mut Tally<'_>) -> Result<(), Failure> {
        let Self { efio, news, transfers, .. } = self;
        efio.events(news)?;
        for event in &*news {
            let Some(place) = usize::try_from(event.token()).ok().and_then(|token| transfers.get_mut(token))
            else {
                continue;
            };
            let Some((transfer, moves)) = place else { continue };
            match transfer.on_event(event, efio) {
                Turn::Again => *moves = true,
                Turn::Wait => {}
                Turn::Done(outcome) => {
                    tally.take(outcome);
                    *place = None;
                }
            }
        }
        Ok(())
    }

    fn give_up(&mut self) {
        for (transfer, _) in self.transfers.iter_mut().flatten() {
            transfer.give_up(&self.efio);
        }
    }
}
