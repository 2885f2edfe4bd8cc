//! `efio cp`: a copier whose files are driven by events, several at once.
//!
//! Plan first, so that what cannot be right is refused before a byte moves; then folders, then files through the
//! engine, then links, then modes and times of the folders that were made, for these change while things are put into them.

mod attributes;
mod copier;
mod names;
mod plan;
mod progress;
mod transfer;

use std::process::ExitCode;
use std::time::Duration;

use crate::cli::Cp;
use crate::copy::copier::Copier;
use crate::copy::names::Names;
use crate::copy::plan::Plan;
use crate::copy::progress::Progress;
use crate::{Failure, say_error};

/// How long the engine may take to close what is open at the end.
const ENGINE_END: Duration = Duration::from_secs(10);

/// Copies; what fails is told and the rest goes on.
///
/// # Errors
/// When nothing can be copied at all.
pub fn run(options: &Cp) -> Result<ExitCode, Failure> {
    let Plan { base, folders, files, links, faults, bytes } = Plan::make(options)?;
    let mut tally = Tally { options, progress: Progress::new(bytes, options.quiet), failed: faults.len() };
    faults.iter().for_each(|fault| tally.progress.above(&fault.to_string()));
    let copier = Copier::start(&base)?;
    let (efio, root) = (copier.efio(), copier.root());
    let names = Names { efio: &efio, root: &root, options };
    let touched = names::folders_of_names(folders.iter().chain(&links).chain(&files));
    let mut made = Vec::new();
    for folder in &folders {
        match names.make_folder(folder) {
            Ok(true) => made.push(folder),
            Ok(false) => {}
            Err(fault) => tally.take(Err(fault)),
        }
    }
    let interrupted = copier.run(files, &mut tally)?;
    if interrupted {
        efio.shutdown(ENGINE_END)?;
        tally.progress.end();
        say_error("efio: interrupted; what was not complete is not there");
        return Ok(ExitCode::FAILURE);
    }
    for link in &links {
        tally.take(names.make_link(link));
    }
    for folder in made.iter().rev() {
        tally.take(names.keep(folder));
    }
    if options.sync {
        for folder in touched {
            tally.take(names.sync(&folder));
        }
    }
    efio.shutdown(ENGINE_END)?;
    tally.progress.end();
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What failed so far, and the bar above which it is told.
struct Tally<'a> {
    options: &'a Cp,
    progress: Progress,
    failed: usize,
}

impl Tally<'_> {
    fn take(&mut self, outcome: Result<(), plan::Fault>) {
        if let Err(fault) = outcome {
            self.failed += 1;
            self.progress.above(&fault.to_string());
        }
    }
}
