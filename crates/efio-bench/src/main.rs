//! efio-bench: efio beside its peers, every figure a ratio of one interleaved run.
//!
//! `efio-bench w1 … w6 | classes | files | idle | lend | serve` prints the rows of one workload, `table` all of them and the README's table;
//! `--quick` takes fewer rounds and less data. Files lie in the folder that `EFIO_BENCH_DIR` names (about 3 GB), which
//! is emptied afterwards. `serve` runs the `efio` beside this program, or the one that `EFIO_BENCH_EFIO` names; as root it also mounts a disk
//! that it slows down. On a machine that has other work, `chrt -r 2 efio-bench …` keeps that out of the ticks and waits.

mod board;
mod classes;
mod files;
mod histogram;
mod idle;
mod lend;
mod line;
mod ours;
mod process;
mod serve;
mod stamp;
mod tick;
mod w1;
mod w2;
mod w3;
mod w4;
mod w5;
mod w6;

use board::{Verdict, markdown};
use process::Folder;

/// What a run met.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How much is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Less data, fewer rounds.
    pub quick: bool,
    /// Interleaved rounds.
    pub rounds: usize,
}

impl Effort {
    /// The whole of `full`, or a part of it.
    pub fn of(self, full: u64, quick: u64) -> u64 {
        if self.quick { quick } else { full }
    }
}

/// A workload by name.
type Workload = (&'static str, fn(&Folder, Effort) -> Outcome<Vec<Verdict>>);

const WORKLOADS: &[Workload] = &[
    ("w1", w1::run),
    ("w2", w2::run),
    ("w3", w3::run),
    ("w4", w4::run),
    ("w5", w5::run),
    ("w6", w6::run),
    ("classes", classes::run),
    ("files", files::run),
    ("idle", idle::run),
    ("lend", lend::run),
    ("serve", serve::run),
];

fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [name, root, port] = &words[..]
        && name == serve::plain::NAME
    {
        return serve::plain::serve(root.as_ref(), port.parse()?);
    }
    let quick = words.iter().any(|word| word == "--quick");
    let rounds = words.iter().find_map(|word| word.strip_prefix("--rounds=")?.parse().ok());
    let effort = Effort { quick, rounds: rounds.unwrap_or(if quick { 3 } else { 5 }) };
    let named: Vec<&str> = words.iter().map(String::as_str).filter(|word| !word.starts_with("--")).collect();
    let all = named.contains(&"table");
    let chosen: Vec<&Workload> = WORKLOADS.iter().filter(|(name, _)| all || named.contains(name)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = WORKLOADS.iter().map(|(name, _)| *name).collect();
        println!("usage: efio-bench {} | table [--quick] [--rounds=N]", names.join(" "));
        return Ok(());
    }
    process::raise_files_limit();
    process::sharpen_timers();
    let folder = Folder::new()?;
    let mut verdicts = Vec::new();
    for (_, run) in chosen {
        verdicts.extend(run(&folder, effort)?);
    }
    println!("\n{}", markdown(&verdicts));
    Ok(())
}
