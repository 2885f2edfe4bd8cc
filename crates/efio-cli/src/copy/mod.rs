//! `efio cp`: a copier whose files are driven by events, several at once.
//!
//! One task walks through the folders, and beside it up to 16 files and links are on their way; each is a future that the
//! loop polls when its events come. A folder gets its mode and times when all that is in it has its name, for these
//! change while things are put into it. Every call on a name or a file is the engine's: the loop never waits for a disk.

mod copying;
mod fault;
mod file;
mod folder;
mod link;
mod progress;
mod runner;
mod walk;

use std::cell::Cell;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use efio::Efio;

use crate::cli::Cp;
use crate::copy::copying::{Copying, Task};
use crate::copy::runner::Runner;
use crate::{Failure, say_error};

/// How long the engine may take to close what is open at the end.
const ENGINE_END: Duration = Duration::from_secs(10);

/// Copies; what fails is told and the rest goes on.
///
/// # Errors
/// When nothing can be copied at all.
pub fn run(options: &Cp) -> Result<ExitCode, Failure> {
    let copying = Rc::new(Copying::new(Efio::new()?, options));
    let runner = Runner::start(&copying)?;
    let refused = Rc::new(Cell::new(None));
    let (walking, refusing) = (Rc::clone(&copying), Rc::clone(&refused));
    let future = Box::pin(async move { refusing.set(walk::walk(walking).await.err()) });
    let interrupted = runner.run(Task { future, is_brief: false })?;
    copying.efio.shutdown(ENGINE_END)?;
    copying.progress.end();
    if let Some(refusal) = refused.take() {
        return Err(refusal);
    }
    if interrupted {
        say_error("efio: interrupted; what was not complete is not there");
    }
    let is_whole = !interrupted && copying.failed.get() == 0;
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
