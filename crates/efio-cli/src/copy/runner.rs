//! The loop of the copier: several tasks at once, each polled when its events say so.

use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use mio::{Interest, Poll, Token};

use crate::copy::copying::{Copying, Task};
use crate::signals::Asked;
use crate::{Failure, failure};

const FILES: Token = Token(0);
const SIGNALS: Token = Token(1);

/// The walk through the folders, and beside it files and links on their way.
const TASKS_MAX: usize = 1 + 16;
const NEWS_MAX: usize = 256;

/// The place of the walk, which begins the others.
const WALK: usize = 0;

/// The loop, and what is on its way.
pub struct Runner {
    copying: Rc<Copying>,
    poll: Poll,
    asked: Asked,
    news: efio::Events,
    /// By the token of their files and calls; true: it is to be polled.
    tasks: Vec<Option<(Task, bool)>>,
}

impl Runner {
    /// A loop with nothing on its way.
    ///
    /// # Errors
    /// What hinders it.
    pub fn start(copying: &Rc<Copying>) -> Result<Self, Failure> {
        let poll = Poll::new().map_err(|error| failure("the poll", error))?;
        let asked = Asked::register(poll.registry(), SIGNALS).map_err(|error| failure("signals", error))?;
        poll.registry().register(&mut copying.efio.inbox(), FILES, Interest::READABLE)?;
        Ok(Self {
            copying: Rc::clone(copying),
            poll,
            asked,
            news: efio::Events::with_capacity(NEWS_MAX),
            tasks: std::iter::repeat_with(|| None).take(TASKS_MAX).collect(),
        })
    }

    /// Runs this task and all that it begins; true when a signal ended it.
    ///
    /// # Errors
    /// When the poll or the engine fails.
    pub fn run(mut self, walk: Task) -> Result<bool, Failure> {
        let mut edges = mio::Events::with_capacity(4);
        let mut interrupted = false;
        self.tasks[WALK] = Some((walk, true));
        loop {
            let runnable = self.turns();
            if self.tasks.iter().all(Option::is_none) {
                return Ok(interrupted);
            }
            match self.poll.poll(&mut edges, runnable.then_some(Duration::ZERO)) {
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                    return Err(failure("the poll", error));
                }
                _ => {}
            }
            if edges.iter().any(|edge| edge.token() == SIGNALS) && self.asked.take() {
                interrupted = true;
                self.give_up();
            }
            if edges.iter().any(|edge| edge.token() == FILES) {
                self.take_news()?;
            }
        }
    }

    /// One turn for each task that can move; true when one can move again.
    fn turns(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        for (token, place) in (0_u64..).zip(&mut self.tasks) {
            let Some((task, moves @ true)) = place else { continue };
            self.copying.current.set(token);
            self.copying.again.set(false);
            if task.future.as_mut().poll(&mut context).is_ready() {
                *place = None;
            } else {
                *moves = self.copying.again.get();
            }
        }
        self.begin_next();
        self.tasks.iter().flatten().any(|(_, moves)| *moves)
    }

    /// The task that waits for a place gets one that is free, and who began it goes on.
    fn begin_next(&mut self) {
        let Some(free) = self.tasks.iter().skip(1).position(Option::is_none) else { return };
        let Some(next) = self.copying.next.take() else { return };
        self.tasks[free + 1] = Some((next, true));
        if let Some((_, moves)) = &mut self.tasks[WALK] {
            *moves = true;
        }
    }

    fn take_news(&mut self) -> Result<(), Failure> {
        let Self { copying, news, tasks, .. } = self;
        copying.efio.events(news)?;
        for event in &*news {
            if event.readiness().is_closed() {
                copying.closed(event);
            }
            let place = usize::try_from(event.token()).ok().and_then(|token| tasks.get_mut(token));
            if let Some(Some((_, moves))) = place {
                *moves = true;
            }
        }
        Ok(())
    }

    /// Drops what would take long; what is dropped leaves nothing that is not complete.
    fn give_up(&mut self) {
        self.copying.next.take();
        for place in &mut self.tasks {
            if place.as_ref().is_some_and(|(task, _)| !task.is_brief) {
                *place = None;
            }
        }
    }
}
