//! Figures: what a module says that it has done and holds is what it has done and holds.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use efio::{Durability, Efio, Events, FigureKind, OpenOptions, PathCall, Stats};

/// Takes news until `done`.
fn until(efio: &Efio, mut done: impl FnMut() -> bool) {
    let mut events = Events::with_capacity(16);
    while !done() {
        efio.wait(&mut events, Some(Duration::from_millis(5))).unwrap();
    }
}

#[test]
fn a_module_counts_what_it_does_while_files_are_open_and_after() {
    let folder = tempfile::tempdir().unwrap();
    let efio = Efio::builder().memory_limit(8 << 20).build().unwrap();
    let start = efio.stats();
    assert_eq!((start.files_open, start.page_bytes_used, start.page_bytes_limit), (0, 0, 8 << 20));
    let free = start.pages_free_small * 4096
        + start.pages_free_medium * 65_536
        + start.pages_free_large * (1 << 20)
        + start.page_bytes_uncut;
    assert_eq!(free + 8 * (1 << 20) / 16, 8 << 20, "all but the reserve is free or uncut");
    let all = |stats: &Stats| [stats.pages_small, stats.pages_medium, stats.pages_large, stats.pages_reserve];
    let used = |stats: &Stats| {
        [stats.pages_used_small, stats.pages_used_medium, stats.pages_used_large, stats.pages_used_reserve]
    };
    let bytes = |pages: [u64; 4]| {
        pages.iter().zip([4096, 65_536, 1 << 20, 4096]).map(|(n, size)| n * size).sum::<u64>()
    };
    assert_eq!((used(&start), start.pages_reserve), ([0; 4], 8 * (1 << 20) / 16 / 4096));
    assert_eq!(bytes(all(&start)) + start.page_bytes_uncut, 8 << 20, "each page is of one size");

    let options = OpenOptions::new().write(true).create(true).durability(Durability::OnClose);
    let fd = efio.ef_open(folder.path().join("a"), &options).unwrap();
    until(&efio, || efio.ef_open_status(fd).is_ok());
    efio.ef_write(fd, &[7; 10_000]).unwrap();
    let held = efio.stats();
    assert_eq!((held.files_open, held.files_opened, held.bytes_accepted), (1, 1, 10_000));
    assert!(held.page_bytes_writing >= 10_000 && held.page_bytes_used >= held.page_bytes_writing, "{held}");
    assert!(bytes(used(&held)) == held.page_bytes_used && used(&held) == [0, 1, 0, 0], "{held}");
    let left: Vec<u64> = all(&held).iter().zip(used(&held)).map(|(all, used)| all - used).collect();
    let free =
        [held.pages_free_small, held.pages_free_medium, held.pages_free_large, held.pages_free_reserve];
    assert_eq!(left, free);
    let op = efio.ef_queue(&PathCall::stat(folder.path())).unwrap();
    assert_eq!(efio.stats().calls_queued, 1);
    until(&efio, || efio.take(op).is_ok());
    efio.ef_close_immediate(fd).unwrap();
    // The call's place is free when its event has been drained.
    until(&efio, || efio.stats().page_bytes_used == 0 && efio.stats().calls_queued == 0);
    let end = efio.stats();
    assert_eq!(
        (end.bytes_accepted, end.bytes_written, end.bytes_durable, end.bytes_lost),
        (10_000, 10_000, 10_000, 0)
    );
    assert_eq!((end.files_open, end.files_closed, end.calls_queued, end.jobs_close), (0, 1, 0, 1));
    assert!(end.jobs_write >= 1 && end.jobs_sync >= 1 && end.jobs_meta >= 2 && end.threads >= 1, "{end}");
}

#[test]
fn every_figure_has_a_name_of_its_own_and_totals_never_fall() {
    let efio = Efio::new().unwrap();
    let names: std::collections::BTreeSet<_> = efio.stats().figures().map(|(name, _, _)| name).collect();
    assert_eq!(names.len(), efio.stats().figures().count());
    let before: Vec<_> = efio.stats().figures().collect();
    let op = efio.ef_queue(&PathCall::stat("/")).unwrap();
    until(&efio, || efio.take(op).is_ok());
    for ((name, kind, old), (_, _, new)) in before.into_iter().zip(efio.stats().figures()) {
        assert!(kind != FigureKind::Total || new >= old, "{name} fell from {old} to {new}");
    }
}

#[test]
fn what_was_found_at_the_start_is_told() {
    let info = Efio::builder().memory_limit((8 << 20) - 1).threads_limit(3).build().unwrap().info();
    assert_eq!((info.memory_limit, info.threads_limit, info.backend), (8 << 20, 3, "threads"));
    assert_eq!(info.version, env!("CARGO_PKG_VERSION"));
}

#[cfg(feature = "sim")]
#[test]
fn stalls_failures_and_losses_are_counted() {
    use efio::sim::Sim;
    let sim = Sim::new(3);
    let efio = Efio::builder().sim(&sim).memory_limit(4 << 20).build().unwrap();
    assert_eq!(efio.info().backend, "sim");
    let fd = efio.ef_open("/a", &OpenOptions::new().append(true).create(true)).unwrap();
    let mut events = Events::with_capacity(8);
    let settle = |events: &mut Events, done: &dyn Fn(Stats) -> bool| {
        for _ in 0..10_000 {
            if done(efio.stats()) {
                return;
            }
            let _ = efio.step();
            efio.events(events).unwrap();
        }
        panic!("never came to it: {}", efio.stats());
    };
    settle(&mut events, &|stats| stats.files_opened == 1);
    sim.set_space(0);
    efio.ef_write(fd, b"refused").unwrap();
    settle(&mut events, &|stats| stats.files_stalled == 1);
    assert_eq!((efio.stats().stalls, efio.stats().poisons), (1, 0));
    sim.heal();
    settle(&mut events, &|stats| stats.bytes_written == 7);
    assert_eq!(efio.stats().files_stalled, 0);
    sim.fail(efio::sim::FaultRule::new(efio::Operation::Write, 27));
    efio.ef_write(fd, b"lost").unwrap();
    settle(&mut events, &|stats| stats.poisons == 1 && stats.files_poisoned == 1);
    efio.ef_close(fd).unwrap();
    settle(&mut events, &|stats| stats.files_closed == 1);
    let end = efio.stats();
    assert_eq!((end.bytes_accepted, end.bytes_written, end.bytes_lost, end.files_poisoned), (11, 7, 4, 0));
}

#[cfg(feature = "metrics")]
#[test]
fn figures_go_out_through_the_metrics_facade() {
    use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<std::collections::BTreeMap<String, f64>>>);
    struct One(Kept, String);
    impl metrics::CounterFn for One {
        fn increment(&self, _: u64) {}
        fn absolute(&self, value: u64) {
            self.0.0.lock().unwrap().insert(self.1.clone(), value as f64);
        }
    }
    impl metrics::GaugeFn for One {
        fn increment(&self, _: f64) {}
        fn decrement(&self, _: f64) {}
        fn set(&self, value: f64) {
            self.0.0.lock().unwrap().insert(self.1.clone(), value);
        }
    }
    impl Recorder for Kept {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(Arc::new(One(self.clone(), key.name().to_owned())))
        }
        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(Arc::new(One(self.clone(), key.name().to_owned())))
        }
        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }
    let kept = Kept::default();
    let efio = Efio::builder().memory_limit(4 << 20).build().unwrap();
    metrics::with_local_recorder(&kept, || efio.publish_metrics());
    let kept = kept.0.lock().unwrap();
    assert_eq!(kept.len(), efio.stats().figures().count());
    assert_eq!((kept["efio_page_bytes_limit"], kept["efio_files_opened"]), (f64::from(4 << 20), 0.0));
}
