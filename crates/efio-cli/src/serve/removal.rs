//! One DELETE: a name is removed, and the file with it once nobody has it open.
//!
//! It is looked at first: a folder, a link or a device is no file of this server, and stays.

use std::path::{Path, PathBuf};

use efio::{Answer, Fd};

use crate::serve::connection::Step;
use crate::serve::places::Key;
use crate::serve::respond::{Refusal, Response};
use crate::serve::service::{Answered, Service};

/// A removal under way.
#[derive(Debug)]
pub struct Removal {
    key: Key,
    path: PathBuf,
    question: Fd,
}

impl Removal {
    /// Begins a removal, by asking what the name is.
    ///
    /// # Errors
    /// What the client is told when it cannot begin.
    pub fn start(key: Key, path: &Path, service: &mut Service) -> Result<Self, Refusal> {
        let asked = service.efio.ef_stat_at(&service.root, path);
        Ok(Self { key, path: path.to_path_buf(), question: service.ask(key, asked)? })
    }

    /// What the name is; or it is gone.
    pub fn on_answer(&mut self, answered: Answered, service: &mut Service) -> Step {
        if self.question != answered.question {
            return Step::Again;
        }
        match answered.answer {
            Ok(Answer::Metadata(found)) if found.is_file() => {
                let asked = service.efio.ef_unlink_at(&service.root, &self.path);
                match service.ask(self.key, asked) {
                    Ok(question) => {
                        self.question = question;
                        Step::Again
                    }
                    Err(refusal) => Step::Answer(refusal.into()),
                }
            }
            Ok(Answer::Metadata(found)) if found.is_dir() => {
                Step::Answer(Refusal::new(409, "folders are not removed").into())
            }
            Ok(Answer::Metadata(_)) => Step::Answer(Refusal::new(404, "not a file").into()),
            Ok(_) => Step::Answer(Response::bare(204)),
            Err(error) => Step::Answer(Refusal::of(&error).into()),
        }
    }
}
