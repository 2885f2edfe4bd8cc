//! `efio cp`: a copier whose files are driven by events, several at once.
//!
//! Plan first, so that what cannot be right is refused before a byte moves; then folders, then files through the
//! engine, then links, then modes and times of the folders that were made, for these change while things are put into them.

mod attributes;
mod copier;
mod entries;
mod plan;
mod progress;
mod transfer;

use std::process::ExitCode;

use crate::cli::Cp;
use crate::copy::copier::Copier;
use crate::copy::plan::Plan;
use crate::copy::progress::Progress;
use crate::{Failure, say_error};

/// Copies; what fails is told and the rest goes on.
///
/// # Errors
/// When nothing can be copied at all.
pub fn run(options: &Cp) -> Result<ExitCode, Failure> {
    let Plan { folders, files, links, faults, bytes } = Plan::make(options)?;
    let mut tally = Tally { options, progress: Progress::new(bytes, options.quiet), failed: faults.len() };
    faults.iter().for_each(|fault| tally.progress.above(&fault.to_string()));
    let mut made = Vec::new();
    for folder in &folders {
        match entries::make_folder(folder) {
            Ok(true) => made.push(folder),
            Ok(false) => {}
            Err(fault) => tally.take(Err(fault)),
        }
    }
    let interrupted = Copier::start(options)?.run(files, &mut tally)?;
    if interrupted {
        tally.progress.end();
        say_error("efio: interrupted; what was not complete is not there");
        return Ok(ExitCode::FAILURE);
    }
    for link in &links {
        tally.take(entries::make_link(link, options.force));
    }
    for folder in made.iter().rev() {
        tally.take(attributes::keep(&folder.to, &folder.metadata, options.sync));
    }
    if options.sync {
        for folder in entries::folders_of_names(&folders, &links) {
            tally.take(entries::sync_folder(&folder));
        }
    }
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
