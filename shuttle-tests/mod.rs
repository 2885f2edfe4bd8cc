//! Shuttle models: scenarios too large for all interleavings, over many random ones; a broken twin beside each.
//!
//! Each scenario runs half of its schedules under a scheduler that chooses at random, half under one that keeps to
//! priorities and changes them at a few points of its choice (PCT), which finds what needs few but rare exchanges.
//! Shuttle knows no weak memory: which ordering an atomic needs is loom's to say.
//!
//! `EFIO_SHUTTLE_SCHEDULES` sets how many schedules each scenario runs, `EFIO_SHUTTLE_SEED` where they begin. A schedule
//! that fails is printed; `shuttle::replay` in place of `explore` repeats it.

mod channels;
mod event_count;
#[cfg(feature = "sim")]
mod files;
mod gate;
mod locks;
#[cfg(feature = "sim")]
mod module;
mod streams;

use crate::sync::thread::JoinHandle;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

/// How many schedules a scenario runs, if the environment says nothing.
const SCHEDULES: usize = 400;
/// How many schedules a twin gets in which to fail.
const TWIN_SCHEDULES: usize = 20_000;
/// Changes of priority in a schedule of PCT.
const DEPTH: usize = 4;
/// Bytes of a thread's stack: what the engine needs, and a reserve.
const STACK_BYTES: usize = 256 << 10;

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Waits for threads to end, and brings what each came to.
fn join_all<T>(threads: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<T> {
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

/// Runs `scenario` over as many schedules as the environment asks for, and says how many there were.
fn explore(scenario: impl Fn() + Send + Sync + 'static) {
    let wanted = from_environment("EFIO_SHUTTLE_SCHEDULES").map_or(SCHEDULES, |count| count as usize);
    let name = std::thread::current().name().unwrap_or("a scenario").replace("shuttle_tests::", "");
    let seed = from_environment("EFIO_SHUTTLE_SEED").unwrap_or(1);
    println!("schedules: {} of {name}, seed {seed}", run(scenario, wanted, seed));
}

/// Runs `scenario`, which is to fail, until it does.
fn catch(scenario: impl Fn() + Send + Sync + 'static) {
    run(scenario, TWIN_SCHEDULES, 1);
}

/// How many schedules ran.
fn run(scenario: impl Fn() + Send + Sync + 'static, schedules: usize, seed: u64) -> usize {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.silence_warnings = true;
    let scenario = std::sync::Arc::new(scenario);
    let again = scenario.clone();
    let random = RandomScheduler::new_from_seed(seed, schedules.div_ceil(2));
    let priorities = PctScheduler::new_from_seed(seed, DEPTH, schedules / 2);
    Runner::new(random, config.clone()).run(move || scenario())
        + Runner::new(priorities, config).run(move || again())
}
