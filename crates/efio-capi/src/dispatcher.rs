//! The dispatcher: the thread that makes the callbacks of ef_io.h, or has a pool of the program make them.
#![allow(unsafe_code, reason = "signals are blocked by calls of the C library")]

use std::sync::Arc;

use crate::bell::lock;
use crate::calls::{Call, Oper, call_back};
use crate::desk::Stage;
use crate::failure::{Answer, Failure};
use crate::instance::Instance;

/// The stack of the thread, in bytes: callbacks are the program's own, and it may be used to much.
const STACK: usize = 2 << 20;

/// Makes a thread in which all signals are blocked.
pub(crate) fn spawn(name: &str, stack: usize, body: impl FnOnce() + Send + 'static) -> Answer<()> {
    // SAFETY: a signal set of zeros is one, and the calls fill it and the old one in.
    let (mut all, mut before): (libc::sigset_t, libc::sigset_t) = unsafe { std::mem::zeroed() };
    // SAFETY: as above; the mask is this thread's own, and the new thread begins with it.
    unsafe {
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
    }
    let made = std::thread::Builder::new().name(name.into()).stack_size(stack).spawn(body);
    // SAFETY: `before` is the mask that this thread had.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
    let refused = |error: std::io::Error| Failure::Errno(error.raw_os_error().unwrap_or(libc::EAGAIN));
    made.map(drop).map_err(refused)
}

/// Starts the thread of an instance.
pub(crate) fn start(instance: &Arc<Instance>) -> Answer<()> {
    let instance = Arc::clone(instance);
    spawn("efio-callbacks", STACK, move || dispatch(&instance))
}

fn dispatch(instance: &Arc<Instance>) {
    loop {
        let heard = instance.bell.rings();
        instance.pump();
        make_calls(instance);
        if instance.is_stopping() && instance.calls.is_empty() {
            return;
        }
        let here = std::ptr::from_ref(instance.world);
        if !crate::world::world().is_some_and(|world| std::ptr::eq(world, here)) {
            // A callback has forked, and this is the child.
            return;
        }
        instance.bell.wait(heard, None);
    }
}

/// Makes what callbacks are to be made: here, or as a task of the program's pool.
fn make_calls(instance: &Arc<Instance>) {
    if instance.calls.is_empty() {
        return;
    }
    let pool = lock(&instance.world.pool).clone();
    if let Some(pool) = pool {
        let task = Arc::clone(instance);
        if pool.submit(move || make_all(&task)).is_ok() {
            return;
        }
        // The pool has ended.
    }
    make_all(instance);
}

fn make_all(instance: &Instance) {
    instance.calls.make_all(|call| make(instance, call));
    if instance.is_ending() {
        // Somebody may wait for the last of them.
        instance.bell.ring();
    }
}

/// Makes one callback, and what its return allows.
fn make(instance: &Instance, call: Call) {
    let Call { handle, life, oper } = call;
    let Some(cell) = instance.world.cells.get(handle as i32) else { return };
    let wanted = {
        let mut desk = cell.desk();
        if desk.life != life {
            return;
        }
        if oper == Oper::Read {
            desk.notes.read_queued = false;
        }
        oper != Oper::Read || desk.stage == Stage::Open
    };
    if wanted {
        instance.world.callbacks.call(|function, data| call_back(function, handle as i32, oper, data));
    }
    if oper != Oper::Read {
        let mut desk = cell.desk();
        if desk.life == life {
            desk.notes.owed = desk.notes.owed.saturating_sub(1);
            instance.world.free_if_done(&mut desk, handle);
        }
    }
}
