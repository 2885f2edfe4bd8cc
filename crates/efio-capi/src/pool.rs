//! The thread pools of thread_pool.h: efio's own, found by the address that the program was given.
#![allow(unsafe_code, reason = "calls functions of the C program, and exports unmangled names")]

use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use efio::pool::Pool;

use crate::bell::lock;
use crate::failure::{Answer, border, fail};
use crate::world::{make_world, world};

/// A pool, as tasks and callbacks hold it.
pub(crate) type PoolRef = Arc<Pool>;

/// What a pool is to the program: an address, never looked at behind.
#[derive(Debug)]
pub struct ThreadPool {
    _private: [u8; 0],
}

/// The pools of this process that are not destroyed. A pool that is being destroyed is there without its threads.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    pools: Mutex<Listed>,
}

#[derive(Debug, Default)]
struct Listed {
    pools: HashMap<usize, Option<PoolRef>>,
}

/// The last address that was given, also in the process that has forked this one.
static GIVEN: AtomicUsize = AtomicUsize::new(0);

/// An argument that only the task looks at.
struct Carried(*mut c_void);
// SAFETY: the program hands the argument over for use by a thread of the pool.
unsafe impl Send for Carried {}

impl Carried {
    /// Takes the whole of it into a closure.
    fn get(self) -> *mut c_void {
        self.0
    }
}

impl Pools {
    fn add(&self, pool: Pool) -> *mut ThreadPool {
        let mut listed = lock(&self.pools);
        // Never an address that the program could take for memory, and never one that was given before.
        // ORDER: Relaxed: a counter.
        let name = GIVEN.fetch_add(16, Ordering::Relaxed) + 16;
        listed.pools.insert(name, Some(Arc::new(pool)));
        name as *mut ThreadPool
    }

    /// The pool with this address.
    pub(crate) fn find(&self, name: *mut ThreadPool) -> Answer<PoolRef> {
        match lock(&self.pools).pools.get(&name.addr()) {
            Some(Some(pool)) => Ok(Arc::clone(pool)),
            Some(None) => fail(libc::EBUSY),
            None => fail(libc::EINVAL),
        }
    }

    /// Has `end` end the pool with this address, and forgets it.
    fn remove(&self, name: *mut ThreadPool, end: impl FnOnce(PoolRef)) -> Answer<()> {
        let taken = lock(&self.pools).pools.get_mut(&name.addr()).map(Option::take);
        match taken {
            None => fail(libc::EINVAL),
            Some(None) => fail(libc::EBUSY),
            Some(Some(pool)) => {
                end(pool);
                lock(&self.pools).pools.remove(&name.addr());
                Ok(())
            }
        }
    }
}

fn find(name: *mut ThreadPool) -> Answer<PoolRef> {
    world().map_or(fail(libc::EINVAL), |world| world.pools.find(name))
}

/// `create_thread_pool`, see thread_pool.h.
#[unsafe(no_mangle)]
pub extern "C" fn create_thread_pool(num_threads: c_int) -> *mut ThreadPool {
    border(c"create_thread_pool", -1, std::ptr::null_mut(), || {
        let threads = usize::try_from(num_threads).unwrap_or(0);
        if threads == 0 {
            return fail(libc::EINVAL);
        }
        let world = make_world()?;
        match Pool::builder().threads(threads).unbounded().name("efio-pool").build() {
            Ok(pool) => Ok(world.pools.add(pool)),
            Err(error) => fail(error.raw_os_error().unwrap_or(libc::EAGAIN)),
        }
    })
}

/// `destroy_thread_pool`, see thread_pool.h.
#[unsafe(no_mangle)]
pub extern "C" fn destroy_thread_pool(pool: *mut ThreadPool) -> c_int {
    border(c"destroy_thread_pool", -1, -1, || {
        let Some(world) = world() else { return fail(libc::EINVAL) };
        world.pools.remove(pool, |ending| {
            {
                let mut set = lock(&world.pool);
                if set.as_ref().is_some_and(|set| Arc::ptr_eq(set, &ending)) {
                    *set = None;
                }
            }
            ending.shutdown(None);
        })?;
        Ok(0)
    })
}

/// `enqueue_task`, see thread_pool.h.
///
/// # Safety
///
/// `func` may be called with `arg` by another thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn enqueue_task(
    pool: *mut ThreadPool,
    func: Option<unsafe extern "C" fn(*mut c_void)>,
    arg: *mut c_void,
) {
    border(c"enqueue_task", -1, (), || {
        let Some(func) = func else { return fail(libc::EINVAL) };
        let arg = Carried(arg);
        // SAFETY: the caller promises that the function may be called with the argument.
        let task = move || unsafe { func(arg.get()) };
        find(pool)?.submit(task).or(fail(libc::EINVAL))
    });
}

/// `enqueue_task_function`, see thread_pool.h.
///
/// # Safety
///
/// As of [`enqueue_task`]; `done` may be called with what `func` returned, and with `ref_data`, by the same thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn enqueue_task_function(
    pool: *mut ThreadPool,
    func: Option<unsafe extern "C" fn(*mut c_void) -> *mut c_void>,
    arg: *mut c_void,
    ref_data: *mut c_void,
    done: Option<unsafe extern "C" fn(*mut c_void, *mut c_void)>,
) {
    border(c"enqueue_task_function", -1, (), || {
        let Some(func) = func else { return fail(libc::EINVAL) };
        let (arg, reference) = (Carried(arg), Carried(ref_data));
        let task = move || {
            // SAFETY: the caller promises that the functions may be called with these.
            unsafe {
                let answer = func(arg.get());
                let reference = reference.get();
                if let Some(done) = done {
                    done(answer, reference);
                }
            }
        };
        find(pool)?.submit(task).or(fail(libc::EINVAL))
    });
}

/// `thrpool_get_task_count`, see thread_pool.h.
#[unsafe(no_mangle)]
pub extern "C" fn thrpool_get_task_count(pool: *mut ThreadPool) -> c_int {
    border(c"thrpool_get_task_count", -1, -1, || {
        Ok(c_int::try_from(find(pool)?.finished()).unwrap_or(c_int::MAX))
    })
}
