//! News: the list of events of an instance, the descriptor that is readable while there are any, and what C sees of them.
#![allow(unsafe_code, reason = "an eventfd is made and used by its number")]

use std::ffi::c_void;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use efio::Readiness;

use crate::bell::lock;
use crate::desk::{Backing, Desk, Stage};
use crate::failure::{Answer, errno, fail};
use crate::instance::Instance;

/// The bits of `ef_event.what`.
pub(crate) mod bits {
    pub(crate) const OPENED: u32 = 0x001;
    pub(crate) const READABLE: u32 = 0x002;
    pub(crate) const WRITABLE: u32 = 0x004;
    pub(crate) const SYNCED: u32 = 0x008;
    pub(crate) const DONE: u32 = 0x010;
    pub(crate) const STALLED: u32 = 0x020;
    pub(crate) const RESUMED: u32 = 0x040;
    pub(crate) const ERROR: u32 = 0x080;
    pub(crate) const CLOSED: u32 = 0x100;
}

/// efio's names of what passes through as it is.
pub(crate) const NAMES: [(Readiness, u32); 6] = [
    (Readiness::READABLE, bits::READABLE),
    (Readiness::WRITABLE, bits::WRITABLE),
    (Readiness::SYNCED, bits::SYNCED),
    (Readiness::DONE, bits::DONE),
    (Readiness::STALLED, bits::STALLED),
    (Readiness::RESUMED, bits::RESUMED),
];

/// `struct ef_event`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct EfEvent {
    fd: i32,
    what: u32,
    error: i32,
    reserved: i32,
    pub(crate) data: *mut c_void,
    lost: u64,
    accepted: u64,
    written: u64,
    durable: u64,
}

/// An eventfd, made when it is first needed.
#[derive(Debug, Default)]
pub(crate) struct Descriptor(OnceLock<OwnedFd>);

impl Descriptor {
    /// Its number; made if there is none.
    pub(crate) fn make(&self) -> Answer<RawFd> {
        if let Some(descriptor) = self.0.get() {
            return Ok(descriptor.as_raw_fd());
        }
        // SAFETY: makes a descriptor from two numbers.
        let made = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if made < 0 {
            return fail(errno());
        }
        // SAFETY: the descriptor was made just above and is nobody else's.
        let made = unsafe { OwnedFd::from_raw_fd(made) };
        Ok(self.0.get_or_init(|| made).as_raw_fd())
    }

    /// Makes it readable.
    pub(crate) fn raise(&self) {
        let Some(descriptor) = self.0.get() else { return };
        let one = 1_u64;
        // SAFETY: writes the eight bytes of `one`. A counter that is full is readable already.
        let _ = unsafe { libc::write(descriptor.as_raw_fd(), std::ptr::from_ref(&one).cast(), 8) };
    }

    /// Makes it unreadable.
    pub(crate) fn lower(&self) {
        let Some(descriptor) = self.0.get() else { return };
        let mut count = 0_u64;
        // SAFETY: reads at most eight bytes into `count`. One that is unreadable already stays so.
        let _ = unsafe { libc::read(descriptor.as_raw_fd(), std::ptr::from_mut(&mut count).cast(), 8) };
    }
}

impl Instance {
    /// Puts events of a handle on the list.
    pub(crate) fn raise(&self, desk: &mut Desk, handle: u32, what: u32, errno: i32) {
        // ORDER: Acquire pairs with the store in `listen`.
        if !self.listed.load(Ordering::Acquire) {
            return;
        }
        let fresh = desk.notes.news == 0;
        desk.notes.news |= what;
        if errno != 0 {
            desk.notes.news_error = errno;
        }
        if fresh {
            lock(&self.list).push_back((handle, desk.life));
            self.descriptor.raise();
        }
    }

    /// The descriptor for a loop; events are kept from here on.
    pub(crate) fn listen(&self) -> Answer<RawFd> {
        let descriptor = self.descriptor.make()?;
        // ORDER: Release pairs with the load in `raise`: the descriptor is there.
        self.listed.store(true, Ordering::Release);
        Ok(descriptor)
    }

    /// Takes events, one after the other, until `put` has no room for more.
    pub(crate) fn take_events(&self, room: usize, mut put: impl FnMut(usize, EfEvent)) -> Answer<i32> {
        self.listen()?;
        self.descriptor.lower();
        self.pump();
        let mut taken = 0;
        while taken < room {
            let next = lock(&self.list).pop_front();
            let Some((handle, life)) = next else { break };
            let Some(cell) = self.world.cells.get(handle as i32) else { continue };
            let mut desk = cell.desk();
            if desk.life != life || desk.notes.news == 0 {
                continue;
            }
            put(taken, self.event(&mut desk, handle));
            taken += 1;
        }
        // ORDER: SeqCst, as where they are counted: one who is counted too late for this look sees that the end has begun.
        let others_wait = self.is_ending() && self.waiters.load(Ordering::SeqCst) > 0;
        if others_wait || !lock(&self.list).is_empty() {
            self.descriptor.raise();
        }
        Ok(taken as i32)
    }

    fn event(&self, desk: &mut Desk, handle: u32) -> EfEvent {
        let progress = match desk.backing {
            Backing::File(fd) => self.efio.ef_progress(fd).unwrap_or(desk.notes.progress),
            Backing::Stream(ref stream) => stream.progress(),
            Backing::None => desk.notes.progress,
        };
        let what = std::mem::take(&mut desk.notes.news);
        let error = std::mem::take(&mut desk.notes.news_error);
        let closed = what & bits::CLOSED != 0;
        let event = EfEvent {
            fd: handle as i32,
            what,
            error,
            reserved: 0,
            data: desk.notes.data as *mut c_void,
            lost: if closed { desk.notes.lost } else { 0 },
            accepted: progress.accepted + desk.backlog.bytes,
            written: progress.written,
            durable: progress.durable,
        };
        if closed && desk.stage == Stage::Ended {
            desk.notes.asked = true;
            self.world.free_if_done(desk, handle);
        }
        event
    }
}
