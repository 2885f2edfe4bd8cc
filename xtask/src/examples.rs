//! Builds the example programs and runs each without arguments; each counts as one test.

use crate::run::{Log, cargo, root, target};
use crate::steps::Outcome;
use crate::tally::Tally;
use std::fs;
use std::process::Command;
use std::time::Duration;

/// How long one example may run.
const LIMIT: Duration = Duration::from_secs(60);

/// Builds and runs everything in `examples/`.
pub(crate) fn examples(log: &Log) -> Outcome {
    let names = names();
    if names.is_empty() {
        return Outcome::skipped("there are no examples yet");
    }
    let built = log.run(&mut cargo("build -p efio --examples --all-features"));
    if !built.passed {
        return Outcome { failure: Some(built.output), ..Outcome::default() };
    }
    let (mut tally, mut failures) = (Tally::default(), String::new());
    for name in names {
        let program = target().join("debug/examples").join(&name);
        let report = log.within(LIMIT).run(Command::new(program).current_dir(root()));
        let mut reasons =
            report.output.lines().filter_map(|line| line.trim_start().strip_prefix("skipped:")).peekable();
        if !report.passed {
            tally.failed += 1;
            failures += &format!("example {name}:\n{}\n", report.output);
        } else if reasons.peek().is_some() {
            tally.skipped += 1;
            reasons.for_each(|reason| tally.skip(reason.trim(), &format!("example {name}")));
        } else {
            tally.passed += 1;
        }
    }
    Outcome { tally, failure: (!failures.is_empty()).then_some(failures), ..Outcome::default() }
}

/// `examples/<name>.rs` and `examples/<name>/main.rs`.
fn names() -> Vec<String> {
    let entries = fs::read_dir(root().join("examples")).into_iter().flatten().flatten();
    let programs = entries.map(|entry| entry.path()).filter(|path| {
        path.extension().is_some_and(|extension| extension == "rs") || path.join("main.rs").exists()
    });
    let mut names: Vec<String> =
        programs.filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned())).collect();
    names.sort();
    names
}
