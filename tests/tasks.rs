//! Readiness for tasks: who is told, the task or the inbox, and what is left when a task goes away.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use efio::sim::FaultRule;
use efio::{Efio, ErrorKind, Events, Fd, Interest, OpenOptions, Operation, Readiness};
use support::{run, simulated};

/// Counts how often it was woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Count {
    fn take(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }
}

fn task() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count::default());
    (Arc::clone(&count), count.into())
}

fn events(efio: &Efio) -> Vec<(Fd, Readiness)> {
    let mut events = Events::with_capacity(64);
    efio.events(&mut events).unwrap();
    events.iter().map(|event| (event.fd(), event.readiness())).collect()
}

fn poll(efio: &Efio, fd: Fd, interest: Interest, waker: &Waker) -> Option<efio::Result<Readiness>> {
    match efio.poll_ready(fd, interest, &mut Context::from_waker(waker)) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

fn open(efio: &Efio, options: &OpenOptions) -> Fd {
    let fd = efio.ef_open("/file", options).unwrap();
    run(efio);
    assert_eq!(events(efio).len(), 1);
    fd
}

#[test]
fn each_direction_wakes_its_own_task_once_and_sends_no_event() {
    let (sim, efio) = simulated();
    sim.put("/file", &[1; 100]);
    let ((opener, opens), (reader, reads), (syncer, syncs)) = (task(), task(), task());
    let fd = efio.ef_open("/file", &OpenOptions::new().read(true).write(true)).unwrap();
    assert!(poll(&efio, fd, Interest::OPENED, &opens).is_none());
    run(&efio);
    assert_eq!(opener.take(), 1);
    assert!(poll(&efio, fd, Interest::OPENED, &opens).unwrap().unwrap().is_opened());
    assert!(poll(&efio, fd, Interest::WRITABLE, &opens).unwrap().unwrap().is_writable());
    assert!(poll(&efio, fd, Interest::READABLE, &reads).is_none());
    assert!(poll(&efio, fd, Interest::SYNCED, &syncs).is_none());
    assert!(efio.ef_read(fd, &mut [0; 10]).unwrap_err().is_would_block());
    efio.ef_sync(fd).unwrap();
    run(&efio);
    assert_eq!((opener.take(), reader.take(), syncer.take()), (0, 1, 1));
    assert_eq!(poll(&efio, fd, Interest::READABLE, &reads).unwrap().unwrap(), Readiness::READABLE);
    assert_eq!(poll(&efio, fd, Interest::SYNCED, &syncs).unwrap().unwrap(), Readiness::SYNCED);
    assert!(poll(&efio, fd, Interest::SYNCED, &syncs).is_none(), "a sync is told once");
    assert_eq!(events(&efio), []);
    // The close wakes whoever waits, and its answer is kept for the task.
    assert!(poll(&efio, fd, Interest::CLOSED, &opens).is_none());
    efio.ef_close(fd).unwrap();
    run(&efio);
    assert_eq!((opener.take(), syncer.take()), (1, 0), "a direction has one task, the last");
    assert_eq!(events(&efio), []);
    assert!(poll(&efio, fd, Interest::CLOSED, &opens).unwrap().unwrap().is_closed());
    efio.ef_close_status(fd).unwrap();
    let error = poll(&efio, fd, Interest::CLOSED, &opens).unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stale);
}

#[test]
fn a_direction_without_a_task_is_the_inbox_s() {
    let (sim, efio) = simulated();
    sim.put("/file", &[1; 100]);
    let (writer, writes) = task();
    let fd = open(&efio, &OpenOptions::new().read(true).write(true));
    assert!(poll(&efio, fd, Interest::DONE, &writes).is_none());
    assert!(efio.ef_read(fd, &mut [0; 10]).unwrap_err().is_would_block());
    run(&efio);
    assert_eq!(writer.take(), 0);
    assert_eq!(events(&efio), [(fd, Readiness::READABLE)]);
    // What the inbox has not drained yet goes to a task that comes.
    efio.ef_sync(fd).unwrap();
    run(&efio);
    assert_eq!(poll(&efio, fd, Interest::SYNCED, &writes).unwrap().unwrap(), Readiness::SYNCED);
    assert_eq!(events(&efio), []);
}

#[test]
fn a_future_that_is_dropped_leaves_its_events_to_the_inbox() {
    let (_sim, efio) = simulated();
    let fd = open(&efio, &OpenOptions::new().append(true).create(true));
    let (count, waker) = task();
    let before = Arc::strong_count(&count);
    for told in [false, true] {
        let mut ready = efio.ready(fd, Interest::SYNCED);
        let polled = Pin::new(&mut ready).poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        efio.ef_sync(fd).unwrap();
        if told {
            run(&efio);
        }
        drop(ready);
        run(&efio);
        assert_eq!(count.take(), usize::from(told));
        assert_eq!(events(&efio), [(fd, Readiness::SYNCED)]);
        assert_eq!(Arc::strong_count(&count), before, "the waker is kept");
    }
    // So does the closed event, with which the place is free again.
    let mut ready = efio.ready(fd, Interest::CLOSED);
    assert!(Pin::new(&mut ready).poll(&mut Context::from_waker(&waker)).is_pending());
    efio.ef_close(fd).unwrap();
    run(&efio);
    assert_eq!(events(&efio), []);
    drop(ready);
    assert_eq!(events(&efio), [(fd, Readiness::CLOSED)]);
    assert_eq!(open(&efio, &OpenOptions::new().append(true)).index(), fd.index());
}

#[test]
fn a_task_hears_of_the_error_and_of_the_end_whatever_it_waits_for() {
    let (sim, efio) = simulated();
    let fd = open(&efio, &OpenOptions::new().append(true).create(true));
    let ((syncer, syncs), (writer, writes)) = (task(), task());
    sim.fail(FaultRule::new(Operation::Sync, 5).times(1));
    assert!(poll(&efio, fd, Interest::SYNCED, &syncs).is_none());
    efio.ef_write(fd, b"bytes").unwrap();
    efio.ef_sync(fd).unwrap();
    run(&efio);
    assert!(syncer.take() >= 1);
    let error = poll(&efio, fd, Interest::SYNCED, &syncs).unwrap().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(5));
    assert!(
        poll(&efio, fd, Interest::WRITABLE, &writes).unwrap().unwrap().is_writable(),
        "a write would answer"
    );
    events(&efio);
    assert!(poll(&efio, fd, Interest::READABLE, &writes).is_none());
    efio.ef_close(fd).unwrap();
    run(&efio);
    assert_eq!(writer.take(), 1);
    assert!(poll(&efio, fd, Interest::READABLE, &writes).unwrap().unwrap().is_closed());
    assert!(matches!(events(&efio)[..], [(closed, bits)] if closed == fd && bits.is_closed()));
}

#[test]
fn queued_calls_are_waited_for_by_tasks_too() {
    let (_sim, efio) = simulated();
    let (count, waker) = task();
    let op = efio.ef_stat("/").unwrap();
    assert!(poll(&efio, op.fd(), Interest::DONE, &waker).is_none());
    run(&efio);
    assert_eq!((count.take(), events(&efio).len()), (1, 0));
    assert!(poll(&efio, op.fd(), Interest::DONE, &waker).unwrap().unwrap().is_done());
    efio.take(op).unwrap();
    assert_eq!(efio.take(op).unwrap_err().kind(), ErrorKind::Stale);
}
