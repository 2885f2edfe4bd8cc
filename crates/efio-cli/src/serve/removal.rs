//! One DELETE: a name is removed, and the file with it once nobody has it open.

use std::path::Path;

use efio::Fd;

use crate::serve::connection::Step;
use crate::serve::places::Key;
use crate::serve::respond::{Refusal, Response};
use crate::serve::service::{Answered, Service};

/// A removal under way.
#[derive(Debug)]
pub struct Removal {
    question: Fd,
}

impl Removal {
    /// Begins a removal.
    ///
    /// # Errors
    /// What the client is told when it cannot begin.
    pub fn start(key: Key, path: &Path, service: &mut Service) -> Result<Self, Refusal> {
        let asked = service.efio.ef_unlink_at(&service.root, path);
        Ok(Self { question: service.ask(key, asked)? })
    }

    /// The name is gone, or why not.
    pub fn on_answer(&mut self, answered: Answered) -> Step {
        if self.question != answered.question {
            return Step::Again;
        }
        Step::Answer(match answered.answer {
            Ok(_) => Response::bare(204),
            Err(error) => Refusal::of(&error).into(),
        })
    }
}
