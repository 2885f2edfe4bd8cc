//! Model: random programs of calls on a simulated disk, each answer checked against what must be true.
//!
//! A program follows from its seed alone. One that fails is printed as the list of its calls and answers, and
//! `EFIO_SIM_SEED=n cargo test --features sim --test model` runs it again. `EFIO_SIM_PROGRAMS` sets how many are run,
//! `EFIO_SIM_FIRST` the first seed, `EFIO_SIM_SECONDS` after how long no further program is begun.
#![cfg(feature = "sim")]

#[path = "model/by_offset.rs"]
mod by_offset;
#[path = "model/calls.rs"]
mod calls;
#[path = "model/cut.rs"]
mod cut;
#[path = "model/ending.rs"]
mod ending;
#[path = "model/news.rs"]
mod news;
#[path = "model/opening.rs"]
mod opening;
#[path = "model/program.rs"]
mod program;
#[path = "model/random.rs"]
mod random;
#[path = "model/requests.rs"]
mod requests;
#[path = "model/stream.rs"]
mod stream;
#[path = "model/swap.rs"]
mod swap;
#[path = "model/tasks.rs"]
mod tasks;
#[path = "model/world.rs"]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use world::{Check, Flavour, World};

/// Programs of all tests together, unless `EFIO_SIM_PROGRAMS` says otherwise.
const PROGRAMS: u64 = 20_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Panics that a program asks for, and those that are caught here, are no news.
fn be_quiet() {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let asked =
                info.payload().downcast_ref::<String>().is_some_and(|text| text.starts_with("a fault rule"));
            if !asked {
                before(info);
            }
        }));
    });
}

/// Runs one program; with a list, its calls are put down there.
fn run(seed: u64, flavour: Flavour, trace: Option<Arc<Mutex<Vec<String>>>>) -> Check {
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(seed, flavour)?;
        world.trace = trace;
        let answer = world.run();
        let sim = world.sim.clone();
        let crashed = world.crashed;
        drop(world);
        answer?;
        ensure!(
            crashed || sim.open_handles() == 0,
            "the module has ended with {} open handles",
            sim.open_handles()
        );
        Ok(())
    }));
    caught.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_string())).unwrap_or_default())
    })
}

/// Runs this flavour's share of the programs.
fn all_hold(flavour: Flavour) {
    be_quiet();
    let flavours = Flavour::ALL.len() as u64;
    let mine = Flavour::ALL.iter().position(|other| *other == flavour).unwrap_or(0) as u64;
    let first = number("EFIO_SIM_FIRST").unwrap_or(0);
    let seeds: Vec<u64> = match number("EFIO_SIM_SEED") {
        Some(seed) => [seed].into_iter().filter(|seed| seed % flavours == mine).collect(),
        None => (first..first.saturating_add(number("EFIO_SIM_PROGRAMS").unwrap_or(PROGRAMS)))
            .filter(|seed| seed % flavours == mine)
            .collect(),
    };
    let limit = number("EFIO_SIM_SECONDS").map_or(Duration::MAX, Duration::from_secs);
    let (begun, mut count) = (Instant::now(), 0);
    for seed in seeds.into_iter().take_while(|_| begun.elapsed() < limit) {
        count += 1;
        if let Err(words) = run(seed, flavour, None) {
            let trace = Arc::new(Mutex::new(Vec::new()));
            let again = run(seed, flavour, Some(Arc::clone(&trace)));
            let calls = trace.lock().map(|calls| calls.join("\n")).unwrap_or_default();
            panic!("{calls}\n{flavour:?} program, EFIO_SIM_SEED={seed}: {words}\n(again: {again:?})");
        }
    }
    println!("programs: {count} of {flavour:?}, seed {first}");
}

#[test]
fn every_answer_is_right_on_a_sound_disk() {
    all_hold(Flavour::Sound);
}

#[test]
fn every_error_of_the_disk_is_told_and_hurts_nothing_else() {
    all_hold(Flavour::Faults);
}

#[test]
fn a_full_disk_that_gets_room_again_takes_every_byte() {
    all_hold(Flavour::Space);
}

#[test]
fn a_loss_of_power_leaves_all_that_was_durable_and_nothing_else() {
    all_hold(Flavour::Crash);
}

#[test]
fn what_hangs_or_panics_holds_up_no_other_file() {
    all_hold(Flavour::Hang);
}
