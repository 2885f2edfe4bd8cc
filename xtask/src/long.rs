//! The long proofs: `cargo xtask long`. Sanitizers, Miri, more models, more programs, more time.
//!
//! What a step cannot do here it says, and is counted as skipped. With `--record` the results go into `docs/proof.md`.

use crate::record::record;
use crate::run::{Log, answer, cargo, root, rust_flags, target_for};
use crate::steps::{Outcome, Ran, Step, count, loom, run_all, shuttle, step, sum};
use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// The one system for which sanitizers are set up.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// How long a step that goes by time takes, unless `--minutes` says otherwise.
const MINUTES: u64 = 30;
/// Schedules of each of shuttle's scenarios: more than a million together.
const SCHEDULES: u64 = 36_000;
/// Random programs on the simulated disk.
const PROGRAMS: u64 = 1_000_000;

/// What Miri runs: what makes no system call, and is small enough for an interpreter.
const MIRI: &[&str] = &["queue::", "sync::", "table::"];
/// Tests among them that take an interpreter hours, are about time, or ask the system for what it does not know.
const NOT_MIRI: &[&str] = &["a_wait_ends_at_its_limit", "only_slots_in_use_are_made", "sync::region"];

/// What the command line asks for.
#[derive(Default)]
pub(crate) struct Options {
    only: Vec<String>,
    minutes: Option<u64>,
    record: bool,
}

impl Options {
    /// `None`: not understood.
    pub(crate) fn read(words: &[&str]) -> Option<Options> {
        let mut options = Options::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--record" => options.record = true,
                "--only" => options.only.push((*words.next()?).to_string()),
                "--minutes" => {
                    options.minutes = Some(words.next()?.parse().ok().filter(|minutes| *minutes > 0)?)
                }
                _ => return None,
            }
        }
        Some(options)
    }
}

/// Runs the proofs that the options choose; Ok(true) when all of them passed.
pub(crate) fn long(options: &Options) -> Result<bool, String> {
    let steps = proofs(options.minutes);
    if let Some(name) = options.only.iter().find(|name| !steps.iter().any(|step| step.name == **name)) {
        return Err(format!("no step is called `{name}`; --list names them"));
    }
    let chosen = |step: &Step| options.only.is_empty() || options.only.iter().any(|name| name == step.name);
    let mut failure = None;
    let note = |ran: &Ran<'_>| {
        if options.record {
            let minutes = options.minutes.map_or(String::new(), |minutes| format!(" --minutes {minutes}"));
            let command = format!("cargo xtask long --only {}{minutes}", ran.name);
            failure = failure.take().or(record(ran, &command).err());
        }
    };
    let passed = run_all(steps.into_iter().filter(chosen), note);
    failure.map_or(Ok(passed), Err)
}

/// The steps, the shorter ones first.
pub(crate) fn proofs(minutes: Option<u64>) -> Vec<Step> {
    const DAY: u64 = 24 * 60;
    let time = minutes.unwrap_or(MINUTES);
    let seconds = time * 60;
    let seed = seed();
    vec![
        step("miri", "the unit tests of queues, locks and the table, interpreted", DAY, miri),
        step("shuttle", "the larger models, 1,000,000 random schedules", DAY, move |log| {
            shuttle(log, SCHEDULES, seed)
        }),
        step("tsan", "queues, locks, streams and files under ThreadSanitizer", DAY, tsan),
        step("stress", "queues and locks under more threads than processors", DAY, move |log| {
            stress(log, seconds)
        }),
        step(
            "asan",
            "the tests, and the stress of queues and locks, under AddressSanitizer",
            DAY,
            move |log| asan(log, seconds),
        ),
        step("kill", "2,000 processes killed at random moments", DAY, |log| {
            repeat(log, "kill", &[("EFIO_KILL_CYCLES", 2_000)])
        }),
        step("model", "1,000,000 random programs on the simulated disk", DAY, move |log| {
            model(log, seed, minutes)
        }),
        step("soak", "one module under mixed work and faults, for the minutes given", DAY, move |log| {
            soak(log, seconds, seed)
        }),
        step("loom", "the models of each hand-over, 3 preemptions", DAY, |log| loom(log, 3)),
    ]
}

/// A seed of its own for each run.
fn seed() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_secs() % 1_000_000_000)
}

/// The names of the test programs in `tests/`, without those named here.
fn programs(without: &[&str]) -> Vec<String> {
    let entries =
        fs::read_dir(root().join("tests")).into_iter().flatten().flatten().map(|entry| entry.path());
    let rust = entries.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let names = rust.filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()));
    let mut names: Vec<String> = names.filter(|name| !without.contains(&name.as_str())).collect();
    names.sort();
    names
}

/// Runs one test program, optimised, with these settings.
fn repeat(log: &Log, program: &str, settings: &[(&str, u64)]) -> Outcome {
    let mut command = cargo("test --release -p efio --all-features --test");
    command.args([program, "--", "--show-output"]);
    settings.iter().for_each(|(name, value)| _ = command.env(name, value.to_string()));
    count(log, &mut command)
}

fn stress(log: &Log, seconds: u64) -> Outcome {
    let mut command = cargo("test --release -p efio --all-features --no-fail-fast");
    command.args([
        "--test",
        "queue_stress",
        "--test",
        "sync_stress",
        "--",
        "--show-output",
        "--test-threads=2",
    ]);
    let outcome = count(log, command.env("EFIO_STRESS_SECONDS", share(seconds).to_string()));
    Outcome { note: format!("{} s each", share(seconds)), ..outcome }
}

/// The seconds for each stress test, so that all of them together, two at a time, take about the time given.
fn share(seconds: u64) -> u64 {
    (seconds / 8).max(1)
}

fn model(log: &Log, seed: u64, minutes: Option<u64>) -> Outcome {
    let mut settings = vec![("EFIO_SIM_PROGRAMS", PROGRAMS), ("EFIO_SIM_FIRST", seed)];
    settings.extend(minutes.map(|minutes| ("EFIO_SIM_SECONDS", minutes * 60)));
    let outcome = repeat(log, "model", &settings);
    Outcome { note: format!("{} programs, seed {seed}", sum(&outcome.output, "programs:")), ..outcome }
}

fn soak(log: &Log, seconds: u64, seed: u64) -> Outcome {
    let outcome = repeat(log, "soak", &[("EFIO_SOAK_SECONDS", seconds), ("EFIO_SOAK_SEED", seed)]);
    let said =
        outcome.output.lines().filter_map(|line| line.strip_prefix("soak: ")).collect::<Vec<_>>().join("; ");
    Outcome { note: format!("seed {seed}; {said}"), ..outcome }
}

/// They measure the memory of the process, of which the sanitizer takes some itself.
const NOT_ASAN: &[&str] =
    &["a_thousand_files_on_a_hung_disk_keep_the_limit_of_memory_and_lose_nothing", NOT_TSAN];

fn is_for_target() -> bool {
    answer("rustc", &["-vV"]).contains(&format!("host: {TARGET}"))
}

fn asan(log: &Log, seconds: u64) -> Outcome {
    if !is_for_target() {
        return Outcome::skipped(format!("it is set up for {TARGET}"));
    }
    let mut command = cargo("test -p efio --all-features --lib --no-fail-fast --target");
    command.args([TARGET, "--target-dir"]).arg(target_for("asan"));
    // The house rules are about text.
    command.args(programs(&["tidy", "soak"]).iter().flat_map(|name| ["--test", name]));
    command.args(["--", "--show-output"]).args(NOT_ASAN.iter().flat_map(|name| ["--skip", name]));
    // The sanitizer is not a stable flag of the compiler; the variable lets a stable one take it.
    rust_flags(command.env("RUSTC_BOOTSTRAP", "1"), "-Zsanitizer=address");
    command.env("EFIO_STRESS_SECONDS", share(seconds).to_string()).env("EFIO_SIM_PROGRAMS", "2000");
    let outcome = count(log, &mut command);
    Outcome { note: format!("2000 programs, stress {} s each", share(seconds)), ..outcome }
}

/// Whether a toolchain by this name has what a step needs.
fn nightly_has(component: &str) -> bool {
    answer("rustup", &["component", "list", "--installed", "--toolchain", "nightly"])
        .lines()
        .any(|line| line.starts_with(component))
}

/// Cargo of the nightly toolchain.
fn nightly(words: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo"]).args(words.split_whitespace());
    command.current_dir(root()).env("CARGO_TERM_COLOR", "never");
    // What this cargo was started with would choose its own toolchain again.
    for name in ["RUSTUP_TOOLCHAIN", "CARGO", "RUSTC", "RUSTDOC"] {
        command.env_remove(name);
    }
    command
}

fn tsan(log: &Log) -> Outcome {
    if !is_for_target() || !nightly_has("rust-src") {
        return Outcome::skipped(format!(
            "ThreadSanitizer needs {TARGET} and the component rust-src of a nightly toolchain"
        ));
    }
    let mut command = nightly("test -Zbuild-std -p efio --all-features --lib --no-fail-fast --target");
    command.args([TARGET, "--target-dir"]).arg(target_for("tsan"));
    command.args(TSAN_PROGRAMS.iter().flat_map(|name| ["--test", name]));
    command.args(["--", "--show-output", "--skip", NOT_TSAN]);
    rust_flags(&mut command, "-Zsanitizer=thread");
    count(log, &mut command)
}

/// Programs that ThreadSanitizer can follow.
const TSAN_PROGRAMS: &[&str] = &[
    "queue_stress",
    "sync_stress",
    "streams",
    "read_write",
    "progress",
    "pool",
    "inboxes",
    "lending",
    "by_offset",
    "per_thread",
    "waiting",
    "tasks",
    "handles",
    "watched_queues",
    "stream_to_file",
    "ending",
    "stalls",
];
/// It measures the memory of the process, of which the sanitizer takes some itself.
const NOT_TSAN: &str = "memory_stays_within_its_limit_however_much_is_written";

fn miri(log: &Log) -> Outcome {
    if !nightly_has("miri") || !nightly_has("rust-src") {
        return Outcome::skipped("Miri needs the components miri and rust-src of a nightly toolchain");
    }
    let mut command = nightly("miri test -p efio --all-features --lib --target-dir");
    command.arg(target_for("miri")).args(["--", "--show-output"]).args(MIRI);
    command.args(NOT_MIRI.iter().flat_map(|name| ["--skip", name]));
    // The clock and the environment are the machine's own.
    count(log, command.env("MIRIFLAGS", "-Zmiri-disable-isolation"))
}
