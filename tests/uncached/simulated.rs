//! Uncached files on a simulated disk: whose error it is that bytes did not get there, and who waits for the rest of a block.

use super::*;
use efio::Operation;
use efio::sim::{FaultRule, Sim, SimOptions};
use support::run;

fn disk() -> (Sim, Efio) {
    let options = SimOptions { dont_cache: false, ..SimOptions::default() };
    let sim = Sim::with_options(5, options);
    let efio = Efio::builder().sim(&sim).flush_interval(Duration::from_secs(3600)).build().unwrap();
    (sim, efio)
}

fn opened(efio: &Efio, options: &OpenOptions) -> efio::Fd {
    let fd = efio.ef_open("/file", options).unwrap();
    run(efio);
    efio.ef_open_status(fd).unwrap();
    fd
}

#[test]
fn bytes_that_do_not_get_to_the_disk_poison_the_file_and_no_sync_calls_that_success() {
    let (sim, efio) = disk();
    let fd = opened(&efio, &uncached().write(true).create(true));
    sim.fail(FaultRule::new(Operation::Sync, libc::EIO).on("/file").times(1));
    let piece = noise(1, 1 << 20);
    for _ in 0..8 {
        if efio.ef_write_at(fd, &piece, efio.ef_progress(fd).unwrap().accepted).is_err() {
            break;
        }
        run(&efio);
    }
    let error = efio.ef_sync(fd).expect_err("a sync after that cannot know");
    assert_eq!(
        (error.kind(), error.operation(), error.raw_os_error()),
        (ErrorKind::Os, Operation::Sync, Some(5))
    );
    efio.ef_close(fd).unwrap();
    run(&efio);
    let mut events = efio::Events::with_capacity(8);
    efio.events(&mut events).unwrap();
    let closed = events.iter().find(|event| event.readiness().is_closed()).unwrap();
    assert!(closed.error().is_some() && closed.bytes_lost() > 0, "{closed:?}");
}

#[test]
fn the_last_bytes_error_on_their_way_to_the_disk_is_told_by_the_close() {
    let (sim, efio) = disk();
    let fd = opened(&efio, &uncached().write(true).create(true));
    efio.ef_write(fd, b"few").unwrap();
    sim.fail(FaultRule::new(Operation::Sync, libc::EIO).on("/file").times(1));
    efio.ef_close(fd).unwrap();
    run(&efio);
    let mut events = efio::Events::with_capacity(8);
    efio.events(&mut events).unwrap();
    let closed = events.iter().find(|event| event.readiness().is_closed()).unwrap();
    assert_eq!((closed.error().unwrap().operation(), closed.bytes_lost()), (Operation::Sync, 3));
}

#[test]
fn a_writer_that_waits_for_room_does_not_wait_for_the_rest_of_a_block() {
    let (sim, efio) = disk();
    let fd = opened(&efio, &uncached().write(true).create(true).memory_limit(4096));
    let (begin, mut events) = (sim.now(), efio::Events::with_capacity(8));
    let mut written = 0;
    for _ in 0..20 {
        while efio.ef_write(fd, &[7; 3000]).is_err_and(|error| error.is_would_block()) {
            // To the event that is owed now.
            let mut told = false;
            while !told && efio.step() {
                efio.events(&mut events).unwrap();
                told = events.iter().any(|event| event.readiness().is_writable());
            }
            assert!(told && sim.now() - begin < Duration::from_secs(60), "it waited for the timer");
        }
        written += 3000;
    }
    efio.ef_close(fd).unwrap();
    run(&efio);
    assert_eq!(sim.read("/file").unwrap(), vec![7; written]);
}

/// Steps until it is so, or an hour would be waited.
fn step_until(sim: &Sim, efio: &Efio, what: &str, is_so: impl Fn() -> bool) {
    let begin = sim.now();
    while !is_so() {
        assert!(efio.step() && sim.now() - begin < Duration::from_secs(60), "{what} without the timer");
    }
}

#[test]
fn small_pieces_by_offset_go_out_though_sixteen_of_them_are_no_block() {
    let (sim, efio) = disk();
    let fd = opened(&efio, &uncached().write(true).create(true));
    let bytes = noise(2, 4000);
    for (number, piece) in bytes.chunks(100).enumerate() {
        efio.ef_write_at(fd, piece, number as u64 * 100).unwrap();
    }
    // All but the pieces that are too few for one write.
    step_until(&sim, &efio, "written", || efio.ef_progress(fd).unwrap().written >= 3200);
    efio.ef_close(fd).unwrap();
    run(&efio);
    assert!(sim.read("/file").unwrap() == bytes);
}

#[test]
fn while_pages_are_scarce_no_file_keeps_one_for_the_rest_of_a_block() {
    let sim = Sim::new(6);
    let builder = Efio::builder().sim(&sim).flush_interval(Duration::from_secs(3600));
    let efio = builder.memory_limit(4 << 20).build().unwrap();
    let fd = opened(&efio, &uncached().write(true).create(true));
    let hung = efio.ef_open("/hung", &OpenOptions::new().write(true).create(true)).unwrap();
    run(&efio);
    sim.hang("/hung");
    for _ in 0..40 {
        assert_eq!(efio.ef_write(hung, &[7; 64 << 10]).unwrap(), 64 << 10, "half of all pages and more");
    }
    efio.ef_write_at(fd, b"few", 0).unwrap();
    step_until(&sim, &efio, "written", || efio.ef_progress(fd).unwrap().written == 3);
}

#[test]
fn bytes_that_did_not_get_to_the_disk_are_lost_also_of_a_file_that_had_failed_before() {
    let mut met = 0;
    for seed in 0..64 {
        let options = SimOptions { dont_cache: false, ..SimOptions::default() };
        let sim = Sim::with_options(seed, options);
        let interval = Duration::from_secs(3600);
        let efio = Efio::builder().sim(&sim).flush_interval(interval).build().unwrap();
        let fd = opened(&efio, &uncached().write(true).create(true));
        for number in 0..4 {
            efio.ef_write_at(fd, &noise(number, 1 << 20), number << 20).unwrap();
            run(&efio);
        }
        // Beside the write that waits for what was written before, the file fails.
        sim.fail(FaultRule::new(Operation::Sync, libc::EIO).on("/file").times(1));
        sim.fail(FaultRule::new(Operation::Preallocate, FaultRule::PANIC).on("/file").times(1));
        efio.ef_write_at(fd, &noise(9, 1 << 20), 4 << 20).unwrap();
        efio.ef_preallocate(fd, 0, 4096, true).unwrap();
        efio.ef_close(fd).unwrap();
        run(&efio);
        let mut events = efio::Events::with_capacity(8);
        efio.events(&mut events).unwrap();
        let closed = events.iter().find(|event| event.readiness().is_closed()).unwrap();
        let error = closed.error().unwrap();
        met += usize::from(error.kind() == ErrorKind::Panicked);
        assert_eq!(closed.bytes_lost(), 5 << 20, "seed {seed}: {closed:?}");
    }
    assert!(met > 0, "no program in which the panic came first");
}
