//! Program: a random sequence of calls on one world, and its end.

use efio::sim::{FaultRule, Sim};
use efio::{Efio, Events, OpenOptions, Operation};

use crate::ensure;
use crate::random::POOL;
use crate::world::{Asked, Check, Flavour, No, Phase, World, libc_errno};

impl World {
    /// Runs the program of this world's seed.
    pub fn run(&mut self) -> Check {
        let steps = 20 + self.random.below(60);
        let crash = 1 + self.random.below(60) as u64;
        if self.flavour == Flavour::Crash {
            self.allowed.push(libc_errno::EIO);
            self.sim.crash_at(crash);
        }
        for _ in 0..steps {
            self.one_call()?;
            if self.flavour == Flavour::Crash && self.sim.steps() >= crash {
                self.crashed = true;
                for _ in 0..5 {
                    self.check_cut()?;
                }
                return Ok(());
            }
        }
        if self.flavour == Flavour::Crash {
            self.crashed = true;
            self.sim.freeze();
            return self.check_cut();
        }
        self.end()
    }

    fn one_call(&mut self) -> Check {
        if self.hands.is_empty() || self.hands.len() < 5 && self.random.chance(12) {
            self.call_open()?;
            return Ok(());
        }
        match self.random.below(100) {
            0..=54 => {
                let at = self.random.below(self.hands.len());
                self.call_on(at)
            }
            55..=66 => self.call_drain().map(|_| ()),
            67..=80 => {
                let turns = 1 + self.random.below(30);
                self.note(|| format!("{turns} turns or steps"));
                let steps = self.random.chance(70);
                (0..turns).for_each(|_| {
                    let _ = if steps { self.efio.step() } else { self.efio.turn() };
                });
                Ok(())
            }
            81..=84 => self.settle(),
            85..=87 => self.call_queue(),
            88 => self.call_take(),
            89..=90 => self.call_stale(),
            91..=93 => self.check_live(),
            94..=95 => self.check_cut(),
            _ => {
                self.disturb();
                Ok(())
            }
        }
    }

    fn call_on(&mut self, at: usize) -> Check {
        if self.hands[at].poison.is_some() && self.random.chance(20) {
            return self.call_recover(at);
        }
        if matches!(self.hands[at].phase, Phase::Closing { .. }) {
            return match self.random.below(6) {
                4 => self.call_task(at),
                0 => self.call_close_status(at),
                1 => self.call_open_status(at),
                2 => self.call_close_immediate(at),
                _ => Ok(()),
            };
        }
        let faults = self.flavour == Flavour::Faults;
        if matches!(&self.hands[at].asked, Some(asked) if *asked == Asked::Extend || faults && *asked != Asked::Size)
        {
            // A file grows beside its writes, in no order that could be known; and a truncate may fail.
            return self.read(at, 1000).map(|_| ());
        }
        match self.random.below(100) {
            0..=27 => self.call_write(at),
            28..=34 => self.call_write_at(at),
            35..=49 => self.call_read(at),
            50..=57 => self.call_read_at(at),
            58..=67 => self.call_seek(at),
            68..=73 => self.call_sync(at),
            74..=76 => self.call_poll(at),
            77..=78 => self.call_task(at),
            79 => self.call_rebind(at),
            80..=82 => self.call_truncate(at),
            83 => self.call_preallocate(at),
            84 => self.call_open_status(at),
            85 if self.hands[at].poison.is_some() => self.call_recover(at),
            85 if self.random.chance(50) => self.call_fstat(at),
            85 => self.call_lock(at),
            86..=87 => self.call_pass(at),
            88 => self.call_busy(at),
            89..=90 => self.call_flush(at),
            91 => self.call_reopen(at),
            92..=94 => self.call_progress(at),
            95 => match self.random.below(3) {
                0 => self.call_close_status(at),
                1 => self.call_new_inbox(),
                _ => self.call_rebind(at),
            },
            96 => self.call_close_immediate(at),
            _ => self.call_close(at),
        }
    }

    /// Does to the disk what this flavour of program does.
    fn disturb(&mut self) {
        let target = self.random.below(self.targets.len());
        let path = self.targets[target].path.clone();
        match self.flavour {
            Flavour::Sound | Flavour::Crash => {}
            Flavour::Space => {
                let bytes = self.random.below(100_000) as u64;
                self.note(|| format!("room for {bytes}"));
                self.allowed = vec![libc_errno::ENOSPC];
                self.ill = true;
                self.sim.set_space(bytes);
            }
            Flavour::Hang if self.random.chance(70) => {
                self.note(|| format!("hang {path}"));
                self.ill = true;
                self.sim.hang(path);
            }
            Flavour::Hang => {
                let operation = self.random.pick(&[Operation::Write, Operation::Sync, Operation::Read]);
                let after = self.random.below(3) as u64;
                self.note(|| format!("panic of {operation:?} on {path} after {after}"));
                self.panics = true;
                self.sim.fail(FaultRule::new(operation, FaultRule::PANIC).on(path).after(after).times(1));
            }
            Flavour::Faults => self.add_rule(&path),
        }
    }

    fn add_rule(&mut self, path: &str) {
        use libc_errno::{EACCES, EDQUOT, EFBIG, EIO, EMFILE, ENOMEM, ENOSPC};
        let operation = self.random.pick(&[
            Operation::Write,
            Operation::Write,
            Operation::Write,
            Operation::Sync,
            Operation::Sync,
            Operation::Read,
            Operation::Open,
            Operation::Close,
            Operation::Rename,
            Operation::Publish,
            Operation::Truncate,
            Operation::Preallocate,
        ]);
        let errno = match operation {
            Operation::Write => self.random.pick(&[ENOSPC, EIO, EDQUOT, EFBIG, ENOMEM]),
            Operation::Open => self.random.pick(&[EMFILE, EACCES, EIO]),
            _ => EIO,
        };
        let mut rule = FaultRule::new(operation, errno).after(self.random.below(4) as u64);
        let times = self.random.pick(&[1, 1, 3, 8, u64::MAX]);
        rule = rule.times(times);
        if self.random.chance(70) {
            rule = rule.on(path);
        }
        self.note(|| format!("rule {rule:?}"));
        self.allowed.push(errno);
        self.ill |= times == u64::MAX || operation == Operation::Write;
        self.sim.fail(rule);
    }

    fn heal(&mut self) {
        self.note(|| "heal".into());
        self.sim.heal();
        for target in &self.targets {
            self.sim.release(&target.path);
        }
        self.ill = false;
    }

    /// Lets everything happen that can, and checks that every refusal was answered and every byte has arrived.
    pub fn settle(&mut self) -> Check {
        self.note(|| "settle".into());
        if self.flavour == Flavour::Crash || self.ill && self.random.chance(60) {
            for _ in 0..50 {
                let _ = self.efio.step();
            }
            return self.drain_all();
        }
        if self.ill {
            self.heal();
        }
        while {
            self.step_to_idle()?;
            self.call_drain()?
        } {}
        if self.ill || self.flavour == Flavour::Faults {
            return self.check_live();
        }
        // What is read ahead for one file takes pages that another one waits for.
        for round in 0..2 {
            let owed = self.hands.iter().any(|hand| hand.owed_write || hand.owed_read);
            if round == 0 && owed {
                self.read_all()?;
            }
        }
        for at in 0..self.hands.len() {
            self.check_settled(at)?;
        }
        ensure!(self.queued.is_empty(), "queued calls were not answered: {:?}", self.queued);
        self.check_live()
    }

    fn check_settled(&mut self, at: usize) -> Check {
        self.call_progress(at)?;
        let hand = &mut self.hands[at];
        if std::mem::take(&mut hand.doubled) && std::mem::take(&mut hand.spare) {
            hand.asked = None;
            if hand.stream != usize::MAX {
                self.streams[hand.stream].confirm();
            }
        }
        let hand = &self.hands[at];
        let who = format!("#{} of {}", hand.number, self.targets[hand.target].path);
        ensure!(hand.phase == Phase::Open, "{who} is still {:?}", hand.phase);
        ensure!(!hand.owed_write, "{who}: a refused write was never answered");
        ensure!(!hand.owed_read, "{who}: a refused read was never answered");
        ensure!(hand.asked.is_none(), "{who}: a request was never answered: {:?}", hand.asked);
        ensure!(hand.syncs.is_empty(), "{who}: a sync was never answered: {:?}", hand.syncs);
        let poisoned = self.efio.ef_poll(hand.fd).is_ok_and(|ready| ready.is_error());
        ensure!(poisoned || hand.poison.is_none(), "{who}: an error is forgotten: {:?}", hand.poison);
        if !poisoned {
            let last = hand.last;
            ensure!(last.written == hand.accepted, "{who}: {last:?} at rest");
            let promised = !matches!(hand.durability, efio::Durability::None | efio::Durability::OnClose);
            let named = !hand.creates || hand.durability == efio::Durability::Interval;
            ensure!(
                !promised || !named || last.durable == hand.accepted,
                "{who}: {:?}, {last:?} at rest",
                hand.durability
            );
        }
        Ok(())
    }

    /// Reads on every file until it would block or ends, so that nothing is held for a reader.
    fn read_all(&mut self) -> Check {
        for _ in 0..200 {
            let mut any = false;
            for at in 0..self.hands.len() {
                let hand = &self.hands[at];
                if hand.phase == Phase::Open && hand.read {
                    any |= matches!(self.read(at, 100_000)?, Ok(bytes) if bytes > 0);
                }
            }
            self.step_to_idle()?;
            self.drain_all()?;
            if !any && self.hands.iter().all(|hand| !hand.owed_read) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Heals the disk, closes everything, and checks that nothing is left.
    fn end(&mut self) -> Check {
        self.heal();
        if self.flavour != Flavour::Faults {
            self.settle()?;
        }
        for round in 0..1000 {
            let open =
                (0..self.hands.len()).find(|at| !matches!(self.hands[*at].phase, Phase::Closing { .. }));
            match open {
                Some(at) => self.call_close(at)?,
                None if self.hands.is_empty() && self.queued.is_empty() => break,
                None => ensure!(round < 500, "files are never closed: {:?}", self.hands),
            }
            self.step_to_idle()?;
            self.drain_all()?;
        }
        self.check_live()?;
        self.check_counts()?;
        self.dir = None;
        let hidden = self.sim.live().keys().any(|path| path.windows(6).any(|part| part == b".efio-"));
        ensure!(!hidden || self.flavour == Flavour::Faults, "a hidden name is left");
        ensure!(self.sim.open_handles() == 0, "{} handles are left open", self.sim.open_handles());
        if self.random.chance(4) {
            self.check_memory()?;
        }
        Ok(())
    }

    /// Every byte that was accepted is in a file, or was told to be lost.
    fn check_counts(&self) -> Check {
        let stats = self.efio.stats();
        let open = (stats.files_open, stats.calls_queued);
        ensure!(open == (0, 0), "{open:?} files and calls are counted after the end");
        ensure!(stats.bytes_accepted == self.ended, "{} accepted, counted {stats:?}", self.ended);
        ensure!(
            stats.bytes_written + stats.bytes_lost == stats.bytes_accepted
                && stats.bytes_durable <= stats.bytes_written,
            "the counts do not add up: {stats:?}"
        );
        let lost = self.lost.unwrap_or(stats.bytes_lost);
        ensure!(lost == stats.bytes_lost, "{lost} were told to be lost, counted {stats:?}");
        Ok(())
    }

    /// A new file can take all the memory that it can take in a new module: no page is held by anybody.
    fn check_memory(&mut self) -> Check {
        let sim = Sim::new(1);
        let fresh = Efio::builder().sim(&sim).memory_limit(self.memory).whole_write(self.whole_write).build();
        let fresh = capacity(&fresh.map_err(|error| error.to_string())?, &sim)?;
        let now = capacity(&self.efio, &self.sim)?;
        ensure!(now >= fresh && fresh > 1 << 20, "a new file takes {now} bytes, in a new module {fresh}");
        Ok(())
    }
}

/// How many bytes a new file takes while none is written.
fn capacity(efio: &Efio, sim: &Sim) -> Result<usize, String> {
    let words = |error: efio::Error| error.to_string();
    let options = OpenOptions::new().write(true).create(true).memory_limit(1 << 30);
    let fd = efio.ef_open("/memory", &options).map_err(words)?;
    while efio.ef_open_status(fd).is_err() {
        ensure!(efio.step(), "the file does not open");
    }
    sim.hang("/memory");
    let (mut taken, mut refused) = (0, 0);
    while refused < 3 {
        match efio.ef_write(fd, &POOL[..4096]).map_err(No::from) {
            Ok(bytes) => taken += bytes,
            Err(No::WouldBlock) => refused += 1,
            Err(no) => return Err(format!("{no:?}")),
        }
        while efio.turn() {}
    }
    sim.release("/memory");
    efio.ef_abort(fd).map_err(words)?;
    while efio.step() {}
    let mut events = Events::with_capacity(8);
    while efio.events(&mut events).map_err(words)? > 0 {}
    Ok(taken)
}
