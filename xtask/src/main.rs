//! The project's own commands: every check, the long proofs, the benchmarks.
//!
//! One list of steps per command (`steps`, `long`), one way to run a child (`run`), one way to count what its
//! tests said (`tally`). Standard library only, so that a clean checkout begins with its checks at once.

mod bench;
mod examples;
mod long;
mod record;
mod run;
mod steps;
mod tally;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <command>

  test  [--list] [--only STEP]…   every check, each with its time; fails if any of them does
  long  [--list] [--only STEP]… [--minutes N] [--record]
                                  the long proofs, of N minutes where they go by time; into docs/proof.md
  bench [--quick]                 the benchmarks, then the table of the README";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words.split_first() {
        Some((&"test", rest)) => choose(steps::checks(), rest),
        Some((&"long", ["--list"])) => Ok(list(&long::proofs(None))),
        Some((&"long", rest)) => match long::Options::read(rest) {
            Some(options) => long::long(&options),
            None => Err(USAGE.to_string()),
        },
        Some((&"bench", [])) => bench::bench(false),
        Some((&"bench", ["--quick"])) => bench::bench(true),
        _ => Err(USAGE.to_string()),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

/// Runs the steps that the options choose; Ok(true) when all of them passed.
fn choose(steps: Vec<steps::Step>, options: &[&str]) -> Result<bool, String> {
    if options == ["--list"] {
        return Ok(list(&steps));
    }
    let mut only = Vec::new();
    let mut rest = options.iter();
    while let Some(&option) = rest.next() {
        match (option, rest.next()) {
            ("--only", Some(&name)) if steps.iter().any(|step| step.name == name) => only.push(name),
            ("--only", Some(name)) => return Err(format!("no step is called `{name}`; --list names them")),
            _ => return Err(USAGE.to_string()),
        }
    }
    let chosen = steps.into_iter().filter(|step| only.is_empty() || only.contains(&step.name));
    Ok(steps::run_all(chosen, |_| ()))
}

fn list(steps: &[steps::Step]) -> bool {
    steps.iter().for_each(|step| println!("{:<10} {}", step.name, step.what));
    true
}
