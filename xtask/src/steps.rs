//! The steps of `cargo xtask test` and `cargo xtask long`, and the loop that runs them.

use crate::examples;
use crate::run::{Log, answer, cargo, root, rust_flags, tail, target, target_for};
use crate::tally::Tally;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How much of a failing step's output is shown; the rest is in its log.
const TAIL_LINES: usize = 200;

/// What ends a test that hangs, and names it: 5 minutes.
const NEXTEST: &str = "[profile.default]\nslow-timeout = { period = \"60s\", terminate-after = 5 }\n";

/// One check.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) minutes: u64,
    pub(crate) run: Box<dyn Fn(&Log) -> Outcome>,
}

/// A step that may take `minutes`.
pub(crate) fn step(
    name: &'static str,
    what: &'static str,
    minutes: u64,
    run: impl Fn(&Log) -> Outcome + 'static,
) -> Step {
    Step { name, what, minutes, run: Box::new(run) }
}

/// What came out of a step: the counts of its tests, and the end of its output if it failed.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    pub(crate) failure: Option<String>,
    /// Why it could not run here.
    pub(crate) skipped: Option<String>,
    /// All that its tests said, where the step asks for it.
    pub(crate) output: String,
    /// What else is to be known of the run: how much of what, from which seed.
    pub(crate) note: String,
}

impl Outcome {
    /// The step cannot run here.
    pub(crate) fn skipped(reason: impl Into<String>) -> Outcome {
        Outcome { skipped: Some(reason.into()), ..Outcome::default() }
    }
}

/// Every check, in the order of the patience they ask for.
pub(crate) fn checks() -> Vec<Step> {
    let step = |name, what, run: fn(&Log) -> Outcome| step(name, what, 15, run);
    vec![
        step("fmt", "the formatting", |log| commands(log, &["fmt --all -- --check"])),
        step("clippy", "the lints, warnings denied, with the feature sim and with all features", |log| {
            let all = "clippy --workspace --all-targets --all-features -- -D warnings";
            commands(log, &["clippy --workspace --all-targets --features efio/sim -- -D warnings", all])
        }),
        step("features", "the build without default features", |log| {
            commands(log, &["check --no-default-features"])
        }),
        step("darwin", "the type check for aarch64-apple-darwin", darwin),
        step("docs", "the documentation, warnings denied", docs),
        step("tests", "the tests of all members with all features", tests),
        step("doctests", "the examples in the documentation", |log| {
            count(log, &mut cargo("test --doc --workspace --all-features --no-fail-fast -- --show-output"))
        }),
        step("loom", "the models of each hand-over, 2 preemptions", |log| loom(log, 2)),
        step("shuttle", "the larger models, 400 random schedules each", |log| shuttle(log, 400, 1)),
        step("examples", "each example program, run without arguments", examples::examples),
    ]
}

/// One step that has run.
pub(crate) struct Ran<'a> {
    pub(crate) name: &'static str,
    /// `ok`, `skipped` or `FAILED`.
    pub(crate) word: &'static str,
    pub(crate) counts: String,
    pub(crate) note: &'a str,
    pub(crate) took: Duration,
}

/// Runs the steps one after another, a line each, then sums up; true when all passed. `done` hears of each.
pub(crate) fn run_all(steps: impl Iterator<Item = Step>, mut done: impl FnMut(&Ran<'_>)) -> bool {
    let begun = Instant::now();
    let (mut tally, mut failed, mut unable) = (Tally::default(), Vec::new(), Vec::new());
    for step in steps {
        print!("{:<10} ", step.name);
        // The name is wanted while the step runs; a closed pipe shows at the next line.
        drop(io::stdout().flush());
        let begun = Instant::now();
        let (path, outcome) = match Log::new(step.name, Duration::from_secs(step.minutes * 60)) {
            Ok(log) => (log.path().display().to_string(), (step.run)(&log)),
            Err(why) => (String::new(), Outcome { failure: Some(why), ..Outcome::default() }),
        };
        let word = match (&outcome.failure, &outcome.skipped) {
            (Some(_), _) => "FAILED",
            (None, Some(_)) => "skipped",
            (None, None) => "ok",
        };
        let counts = if outcome.tally.total() > 0 { outcome.tally.to_string() } else { String::new() };
        let line = format!("{word:<8} {:>7.1} s  {counts}", begun.elapsed().as_secs_f64());
        println!("{}", format!("{}  {}", line.trim_end(), outcome.note).trim_end());
        done(&Ran { name: step.name, word, counts, note: &outcome.note, took: begun.elapsed() });
        if let Some(reason) = &outcome.skipped {
            println!("skipped: {}: {reason}", step.name);
            unable.push(step.name);
        }
        if let Some(end) = outcome.failure {
            println!("{}\n", indent(&tail(&end, TAIL_LINES)));
            // A step that fails without a failed test is itself one failed check.
            tally.failed += usize::from(outcome.tally.failed == 0);
            failed.push(format!("failed: {} (all of its output: {path})", step.name));
        }
        tally.add(outcome.tally);
    }
    sum_up(tally, &failed, &unable, begun.elapsed())
}

/// The end of a run: what could not run and why, what failed, the time, and alone on the last line the counts.
fn sum_up(mut tally: Tally, failed: &[String], unable: &[&str], took: Duration) -> bool {
    println!();
    for (reason, names) in &tally.reasons {
        println!("skipped: {reason} ({}: {})", names.len(), names.join(", "));
    }
    if !unable.is_empty() {
        println!("skipped: steps that cannot run here: {}", unable.join(", "));
    }
    failed.iter().for_each(|line| println!("{line}"));
    println!("took {} min {} s\n", took.as_secs() / 60, took.as_secs() % 60);
    tally.skipped += unable.len();
    println!("{tally}");
    failed.is_empty() && tally.failed == 0
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}").trim_end().to_string()).collect::<Vec<_>>().join("\n")
}

/// Runs one cargo command after another, up to the first that fails.
fn commands(log: &Log, lines: &[&str]) -> Outcome {
    let failure = lines.iter().find_map(|line| {
        let report = log.run(&mut cargo(line));
        (!report.passed).then_some(report.output)
    });
    Outcome { failure, ..Outcome::default() }
}

/// Runs a command that runs tests; that none ran is a failure too.
pub(crate) fn count(log: &Log, command: &mut Command) -> Outcome {
    let report = log.run(command);
    let tally = Tally::read(&report.output);
    // What stands before the summary is, in the better runner's output, about tests that passed.
    let summary = report.output.rfind("     Summary [").unwrap_or(0);
    let failure = match (report.passed, tally.total()) {
        (true, 0) => Some(format!("{}\nno test ran", report.output)),
        (true, _) => None,
        (false, _) => Some(report.output[summary..].to_string()),
    };
    Outcome { tally, failure, output: report.output, ..Outcome::default() }
}

fn docs(log: &Log) -> Outcome {
    let mut command = cargo("doc --workspace --no-deps --all-features");
    let report = log.run(command.env("RUSTDOCFLAGS", "-D warnings"));
    Outcome { failure: (!report.passed).then_some(report.output), ..Outcome::default() }
}

fn darwin(log: &Log) -> Outcome {
    const TARGET: &str = "aarch64-apple-darwin";
    let library =
        Path::new(&answer("rustc", &["--print", "sysroot"])).join("lib/rustlib").join(TARGET).join("lib");
    if !library.is_dir() {
        return Outcome::skipped(format!("the standard library of {TARGET} is not installed"));
    }
    commands(log, &[&format!("check -p efio --all-features --target {TARGET}")])
}

fn tests(log: &Log) -> Outcome {
    let every = "--workspace --all-features --no-fail-fast";
    if answer("cargo", &["nextest", "--version"]).is_empty() {
        return count(log, &mut cargo(&format!("test --lib --bins --tests {every} -- --show-output")));
    }
    let config = target().join("xtask/nextest.toml");
    if let Err(error) = fs::write(&config, NEXTEST) {
        return Outcome { failure: Some(format!("{}: {error}", config.display())), ..Outcome::default() };
    }
    // The output of tests that passed holds the reasons of those that could not run.
    let outputs = "--success-output immediate --failure-output final";
    let mut command = cargo(&format!("nextest run {every} {outputs}"));
    count(log, command.arg("--tool-config-file").arg(format!("efio:{}", config.display())))
}

pub(crate) fn loom(log: &Log, preemptions: u32) -> Outcome {
    if !root().join("loom-tests/mod.rs").exists() {
        return Outcome::skipped("there are no loom models yet");
    }
    let mut command = cargo("test --release -p efio --lib --no-fail-fast --target-dir");
    command.arg(target_for("loom")).args(["loom_tests", "--", "--show-output"]);
    command.env("LOOM_MAX_PREEMPTIONS", preemptions.to_string());
    rust_flags(&mut command, "--cfg efio_loom");
    count(log, &mut command)
}

/// The models of `shuttle-tests/`, this many schedules each.
pub(crate) fn shuttle(log: &Log, schedules: u64, seed: u64) -> Outcome {
    let mut command = cargo("test --release -p efio --lib --features sim --no-fail-fast --target-dir");
    command.arg(target_for("shuttle")).args(["shuttle_tests", "--", "--show-output"]);
    command.env("EFIO_SHUTTLE_SCHEDULES", schedules.to_string());
    command.env("EFIO_SHUTTLE_SEED", seed.to_string());
    rust_flags(&mut command, "--cfg efio_loom --cfg efio_shuttle");
    let outcome = count(log, &mut command);
    let ran = sum(&outcome.output, "schedules:");
    Outcome { note: format!("{ran} schedules, seed {seed}"), ..outcome }
}

/// The sum of the numbers behind `word` at the margin of an output.
pub(crate) fn sum(output: &str, word: &str) -> u64 {
    let numbers = output
        .lines()
        .filter_map(|line| line.strip_prefix(word)?.split_whitespace().next()?.parse::<u64>().ok());
    numbers.sum()
}
