//! Several inboxes: who hears of what, what a rebind brings along, and what the drop of an inbox leaves behind.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use efio::{Efio, ErrorKind, Event, Events, Fd, Inbox, OpenOptions, Readiness, Wake};
use support::{run, simulated};

/// What an inbox has, of each file.
fn take(inbox: &Inbox) -> Vec<(Fd, Readiness)> {
    let mut events = Events::with_capacity(64);
    inbox.events(&mut events).unwrap();
    events.iter().map(|event: &Event| (event.fd(), event.readiness())).collect()
}

fn only(inbox: &Inbox, fd: Fd) -> Readiness {
    let news = take(inbox);
    assert!(news.iter().all(|(other, _)| *other == fd), "news of others: {news:?}");
    news.iter().fold(Readiness::NONE, |all, (_, bits)| all | *bits)
}

fn nothing(inbox: &Inbox) {
    assert_eq!(take(inbox), []);
}

fn reading() -> OpenOptions {
    OpenOptions::new().read(true)
}

fn appending() -> OpenOptions {
    OpenOptions::new().append(true).create(true)
}

#[test]
fn each_file_and_each_queued_call_reports_to_the_inbox_it_is_bound_to() {
    let (_sim, efio) = simulated();
    let (first, second) =
        (efio.new_inbox(Wake::descriptor()).unwrap(), efio.new_inbox(Wake::descriptor()).unwrap());
    let of_second = efio.with_inbox(&second).unwrap();
    let plain = efio.ef_open("/plain", &appending()).unwrap();
    let chosen = efio.ef_open("/chosen", &appending().inbox(&first)).unwrap();
    let viewed = of_second.ef_open("/viewed", &appending()).unwrap();
    run(&efio);
    for (inbox, fd) in [(&efio.inbox(), plain), (&first, chosen), (&second, viewed)] {
        assert_eq!(only(inbox, fd), Readiness::OPENED);
    }
    let op = of_second.ef_stat("/plain").unwrap();
    run(&efio);
    assert_eq!(only(&of_second.inbox(), op.fd()), Readiness::DONE);
    of_second.take(op).unwrap();
    let op = efio.ef_stat("/plain").unwrap();
    efio.ef_rebind(op.fd(), &first).unwrap();
    run(&efio);
    assert_eq!(only(&first, op.fd()), Readiness::DONE);
    efio.take(op).unwrap();
    for fd in [plain, chosen, viewed] {
        efio.ef_close(fd).unwrap();
    }
    run(&efio);
    for (inbox, fd) in [(&efio.inbox(), plain), (&first, chosen), (&second, viewed)] {
        assert_eq!(only(inbox, fd), Readiness::CLOSED);
    }
}

#[test]
fn a_rebind_brings_along_what_is_pending_and_raises_what_is_ready_anew() {
    let (sim, efio) = simulated();
    sim.put("/file", b"some bytes");
    let other = efio.new_inbox(Wake::descriptor()).unwrap();
    let fd = efio.ef_open("/file", &reading().write(true)).unwrap();
    run(&efio);
    assert!(only(&efio.inbox(), fd).is_opened());
    let mut byte = [0];
    assert!(efio.ef_read(fd, &mut byte).is_err_and(|error| error.is_would_block()));
    efio.ef_sync(fd).unwrap();
    run(&efio);
    // Both events stand in the list of the old inbox, undrained.
    efio.ef_rebind(fd, &other).unwrap();
    nothing(&efio.inbox());
    let news = only(&other, fd);
    assert!(news.contains(Readiness::READABLE | Readiness::SYNCED | Readiness::WRITABLE), "{news:?}");
    // Drained and not acted on: what is ready comes again, what was told once does not.
    efio.ef_rebind(fd, &efio.inbox()).unwrap();
    let news = only(&efio.inbox(), fd);
    assert!(news.contains(Readiness::READABLE | Readiness::WRITABLE) && !news.is_synced(), "{news:?}");
    nothing(&other);
    assert_eq!(efio.ef_read(fd, &mut byte).unwrap(), 1);
    // The closed event that is on its way goes along too.
    efio.ef_close(fd).unwrap();
    run(&efio);
    efio.ef_rebind(fd, &other).unwrap();
    nothing(&efio.inbox());
    assert_eq!(only(&other, fd), Readiness::CLOSED);
    assert_eq!(efio.ef_rebind(fd, &other).unwrap_err().kind(), ErrorKind::Stale);
}

#[test]
fn the_owner_of_a_file_rebinds_it() {
    let (_sim, efio) = simulated();
    let other = efio.new_inbox(Wake::descriptor()).unwrap();
    let file = efio.open("/file", &appending()).unwrap();
    file.rebind(&other).unwrap();
    run(&efio);
    nothing(&efio.inbox());
    assert!(only(&other, file.fd()).is_opened());
    let fd = file.close().unwrap();
    run(&efio);
    assert!(only(&other, fd).is_closed());
}

#[test]
fn the_files_of_a_dropped_inbox_report_to_the_module_s_own() {
    let (_sim, efio) = simulated();
    let inbox = efio.new_inbox(Wake::descriptor()).unwrap();
    let bound = efio.with_inbox(&inbox).unwrap();
    let ends = bound.ef_open("/ends", &appending()).unwrap();
    let stays = bound.ef_open("/stays", &appending()).unwrap();
    run(&efio);
    take(&inbox);
    let op = bound.ef_stat("/stays").unwrap();
    efio.ef_close(ends).unwrap();
    run(&efio);
    // A file keeps no inbox: only the two handles do.
    let file = bound.open("/owned", &appending()).unwrap();
    drop((bound, inbox));
    run(&efio);
    let news = take(&efio.inbox());
    for (fd, bits) in [
        (ends, Readiness::CLOSED),
        (op.fd(), Readiness::DONE),
        (stays, Readiness::WRITABLE),
        (file.fd(), Readiness::OPENED),
    ] {
        assert!(
            news.iter().any(|(other, got)| *other == fd && got.contains(bits)),
            "{bits:?} of {fd:?}: {news:?}"
        );
    }
}

#[test]
fn inboxes_are_bounded_and_a_number_comes_back_with_a_sound_wake_up() {
    let (_sim, efio) = simulated();
    let woken = Arc::new(AtomicUsize::new(0));
    let wake = || {
        let woken = Arc::clone(&woken);
        Wake::function(move || _ = woken.fetch_add(1, Ordering::Relaxed))
    };
    let mut inboxes: Vec<_> = (1..Efio::INBOXES_LIMIT).map(|_| efio.new_inbox(wake()).unwrap()).collect();
    assert_eq!(efio.new_inbox(wake()).unwrap_err().kind(), ErrorKind::TableFull);
    // An inbox that was called and never drained leaves its number.
    let last = inboxes.pop().unwrap();
    let fd = efio.ef_open("/file", &appending().inbox(&last)).unwrap();
    run(&efio);
    assert_eq!(woken.swap(0, Ordering::Relaxed), 1);
    drop(last);
    let again = efio.new_inbox(wake()).unwrap();
    nothing(&again);
    assert!(only(&efio.inbox(), fd).is_opened());
    efio.ef_rebind(fd, &again).unwrap();
    assert_eq!(woken.load(Ordering::Relaxed), 1, "nobody was called");
    assert!(only(&again, fd).is_writable());
}

#[test]
fn an_inbox_of_another_module_is_refused() {
    let ((_one, efio), (_two, other)) = (simulated(), simulated());
    let foreign = other.inbox();
    let refused = [
        efio.with_inbox(&foreign).map(|_| ()).unwrap_err(),
        efio.ef_open("/file", &appending().inbox(&foreign)).map(|_| ()).unwrap_err(),
    ];
    assert!(refused.iter().all(|error| error.kind() == ErrorKind::InvalidInput), "{refused:?}");
    let fd = efio.ef_open("/file", &appending()).unwrap();
    assert_eq!(efio.ef_rebind(fd, &foreign).unwrap_err().kind(), ErrorKind::InvalidInput);
    run(&efio);
}

#[test]
fn answers_that_are_asked_for_use_up_no_place_in_an_inbox_that_nobody_drains() {
    let sim = efio::sim::Sim::new(7);
    let efio = Efio::builder().sim(&sim).files_limit(100).build().unwrap();
    let inbox = efio.new_inbox(Wake::function(|| ())).unwrap();
    let efio = efio.with_inbox(&inbox).unwrap();
    for _ in 0..1_000 {
        let op = efio.ef_stat("/").unwrap();
        while efio.take(op).is_err_and(|error| error.is_would_block()) {
            assert!(efio.step(), "nothing is left to happen");
        }
    }
}

/// Loops in threads of their own hand their files round; each does a step for a file and passes it on.
#[test]
fn files_that_go_round_among_loops_lose_no_event() {
    const LOOPS: usize = 3;
    const FILES: usize = 24;
    const ROUNDS: usize = 40;
    let folder = tempfile::tempdir().unwrap();
    let efio = Efio::new().unwrap();
    let inboxes: Vec<_> = (0..LOOPS).map(|_| efio.new_inbox(Wake::descriptor()).unwrap()).collect();
    let done = AtomicUsize::new(0);
    let (ended, end) = mpsc::channel();
    std::thread::scope(|scope| {
        for number in 0..LOOPS {
            let (efio, inboxes, done, ended) = (&efio, &inboxes, &done, ended.clone());
            scope.spawn(move || {
                let mut events = Events::with_capacity(8);
                while done.load(Ordering::Relaxed) < FILES {
                    inboxes[number].wait(&mut events, Some(support::PATIENCE / 100)).unwrap();
                    for event in &events {
                        let fd = event.fd();
                        assert!(event.error().is_none(), "{event:?}");
                        if event.readiness().is_closed() {
                            ended.send(event.token()).unwrap();
                            done.fetch_add(1, Ordering::Relaxed);
                            continue;
                        }
                        if !event.readiness().intersects(Readiness::OPENED | Readiness::SYNCED) {
                            continue;
                        }
                        // Opened and writable come again with each rebind; a step is done once for each sync.
                        let opened = efio.ef_progress(fd).is_ok_and(|progress| progress.accepted == 0);
                        if !event.readiness().is_synced() && !opened {
                            continue;
                        }
                        if efio.ef_progress(fd).unwrap().accepted >= ROUNDS as u64 {
                            efio.ef_close(fd).unwrap();
                        } else {
                            assert_eq!(efio.ef_write(fd, b"x").unwrap(), 1);
                            efio.ef_sync(fd).unwrap();
                        }
                        let next = &inboxes[(number + fd.index() as usize + 1) % LOOPS];
                        efio.ef_rebind(fd, next).unwrap();
                    }
                }
            });
        }
        for file in 0..FILES {
            let options = appending().token(file as u64).inbox(&inboxes[file % LOOPS]);
            efio.ef_open(folder.path().join(file.to_string()), &options).unwrap();
        }
        let mut closed: Vec<_> = (0..FILES).map(|_| end.recv_timeout(support::PATIENCE).unwrap()).collect();
        closed.sort_unstable();
        assert_eq!(closed, (0..FILES as u64).collect::<Vec<_>>());
    });
    for file in 0..FILES {
        assert_eq!(std::fs::read(folder.path().join(file.to_string())).unwrap().len(), ROUNDS);
    }
}
