//! The functions of efio.h that are about instances: made, ended, asked for events; and structs that carry their size.
#![allow(unsafe_code, reason = "exports unmangled names, and takes what C points at")]

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::calls::is_inside;
use crate::ef_io::path;
use crate::failure::{Answer, border, fail};
use crate::instance::{Instance, Limits};
use crate::news::{Descriptor, EfEvent};
use crate::open::{Choices, open};
use crate::world::{World, make_world, world};

/// What an instance is to the program: an address, never looked at behind. NULL: the instance of ef_io.h.
#[derive(Debug)]
pub struct EfInstance {
    _private: [u8; 0],
}

/// `struct ef_instance_options`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct EfInstanceOptions {
    size: usize,
    memory_limit: u64,
    file_memory_limit: u64,
    write_limit: u64,
    read_ahead: u64,
    flush_interval: u64,
    close_deadline: u64,
    shutdown_deadline: u64,
    files_limit: u32,
    threads_limit: u32,
}

/// `struct ef_open_options`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct EfOpenOptions {
    size: usize,
    flags: c_int,
    mode: c_uint,
    atomic: c_int,
    durability: c_int,
    on_full: c_int,
    order: c_int,
    io_mode: c_int,
    retain: c_int,
    flush_interval: u64,
    memory_limit: u64,
    write_limit: u64,
    data: *mut c_void,
}

/// Structs of C that begin with their size.
pub(crate) struct Sized;

/// The largest struct that is believed, in bytes.
const LARGEST: usize = 4096;

impl Sized {
    /// What C points at, with zeros for what an older program does not know. `E2BIG`: it sets what is not known here.
    ///
    /// # Safety
    ///
    /// `from` is NULL or points at as many bytes as its first field says. Zeros are a value of `T`, which begins with a
    /// size.
    unsafe fn get<T: Copy>(from: *const T) -> Answer<T> {
        if from.is_null() {
            return fail(libc::EINVAL);
        }
        // SAFETY: the first field of such a struct is its size.
        let size = unsafe { from.cast::<usize>().read() };
        if !(size_of::<usize>()..=LARGEST).contains(&size) {
            return fail(libc::EINVAL);
        }
        // SAFETY: the caller's promise.
        let bytes = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), size) };
        if bytes.iter().skip(size_of::<T>()).any(|byte| *byte != 0) {
            return fail(libc::E2BIG);
        }
        let mut value = std::mem::MaybeUninit::<T>::zeroed();
        // SAFETY: no more is copied than either has; zeros and what C has set are a value of `T`, by the caller's promise.
        unsafe {
            let known = size.min(size_of::<T>());
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), value.as_mut_ptr().cast(), known);
            Ok(value.assume_init())
        }
    }

    /// Fills in as much of a struct as C has room for, its size aside.
    ///
    /// # Safety
    ///
    /// `to` is NULL or room for as many bytes as its first field says.
    pub(crate) unsafe fn put<T: Copy>(to: *mut T, value: T) -> Answer<()> {
        let head = size_of::<usize>();
        if to.is_null() {
            return fail(libc::EINVAL);
        }
        // SAFETY: the first field of such a struct is its size.
        let size = unsafe { to.cast::<usize>().read() };
        if !(head..=LARGEST).contains(&size) {
            return fail(libc::EINVAL);
        }
        // SAFETY: room for `size` bytes, by the caller's promise; no more is copied than either has.
        unsafe {
            std::ptr::write_bytes(to.cast::<u8>().add(head), 0, size - head);
            let from = (&raw const value).cast::<u8>().add(head);
            std::ptr::copy_nonoverlapping(from, to.cast::<u8>().add(head), size.min(size_of::<T>()) - head);
        }
        Ok(())
    }
}

/// The address of an instance: its seat, and who sits there.
fn name_of(seat: u8, serial: u32) -> *mut EfInstance {
    ((serial as usize) << 12 | usize::from(seat) << 4 | 8) as *mut EfInstance
}

/// The seat and serial in an address.
fn seat_of(name: *mut EfInstance) -> Answer<(u8, u32)> {
    let (seat, serial) = (name.addr() >> 4 & 0xff, u32::try_from(name.addr() >> 12));
    match serial {
        Ok(serial) if name == name_of(seat as u8, serial) => Ok((seat as u8, serial)),
        _ => fail(libc::EINVAL),
    }
}

/// The instance of an address; that of ef_io.h for NULL, started if it is not running.
fn find(name: *mut EfInstance) -> Answer<Arc<Instance>> {
    if name.is_null() {
        return make_world()?.global(None, false);
    }
    let (seat, serial) = seat_of(name)?;
    let found = world().and_then(|world| world.instance(seat, serial));
    found.map_or(fail(libc::EINVAL), Ok)
}

/// The limits that C sets.
///
/// # Safety
///
/// `options` is NULL or points at a struct whose first field is its size.
unsafe fn limits(options: *const EfInstanceOptions) -> Answer<Limits> {
    if options.is_null() {
        return Ok(Limits::default());
    }
    // SAFETY: the caller's promise; the struct is numbers.
    let options = unsafe { Sized::get(options) }?;
    Ok(Limits {
        memory: options.memory_limit,
        file_memory: options.file_memory_limit,
        write: options.write_limit,
        read_ahead: options.read_ahead,
        flush_interval: options.flush_interval,
        close_deadline: options.close_deadline,
        shutdown_deadline: options.shutdown_deadline,
        files: options.files_limit,
        threads: options.threads_limit,
    })
}

/// `ef_options_init`, see efio.h.
///
/// # Safety
///
/// `options` is NULL or room for `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ef_options_init(options: *mut c_void, size: usize) {
    border(c"ef_options_init", -1, (), || {
        if options.is_null() || !(size_of::<usize>()..=LARGEST).contains(&size) {
            return fail(libc::EINVAL);
        }
        // SAFETY: room for `size` bytes, of which a number takes no more.
        unsafe {
            std::ptr::write_bytes(options.cast::<u8>(), 0, size);
            options.cast::<usize>().write_unaligned(size);
        }
        Ok(())
    });
}

/// `ef_init_with`, see efio.h.
///
/// # Safety
///
/// `options` is NULL or points at a struct whose first field is its size.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ef_init_with(options: *const EfInstanceOptions) -> c_int {
    border(c"ef_init_with", -1, -1, || {
        // SAFETY: the caller's promise.
        let limits = unsafe { limits(options) }?;
        make_world()?.global(Some(limits), true)?;
        Ok(0)
    })
}

/// `ef_instance_new`, see efio.h.
///
/// # Safety
///
/// `options` is NULL or points at a struct whose first field is its size.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ef_instance_new(options: *const EfInstanceOptions) -> *mut EfInstance {
    border(c"ef_instance_new", -1, std::ptr::null_mut(), || {
        // SAFETY: the caller's promise.
        let limits = unsafe { limits(options) }?;
        let (seat, serial) = make_world()?.add(limits)?;
        Ok(name_of(seat, serial))
    })
}

/// `ef_instance_free`, see efio.h.
#[unsafe(no_mangle)]
pub extern "C" fn ef_instance_free(instance: *mut EfInstance, deadline: u64) -> c_int {
    border(c"ef_instance_free", -1, -1, || {
        let (seat, serial) = seat_of(instance)?;
        if is_inside() {
            return fail(libc::EDEADLK);
        }
        let found = find(instance)?;
        let ended = found.shut_down(Duration::from_micros(deadline));
        found.forget_handles();
        let world: &'static World = found.world;
        drop(found);
        if !world.remove(seat, serial) {
            return fail(libc::EINVAL);
        }
        match ended {
            // It was shut down before.
            Err(failure) if failure.errno() == libc::ESHUTDOWN => Ok(0),
            ended => ended.map(|()| 0),
        }
    })
}

/// `ef_shutdown`, see efio.h.
#[unsafe(no_mangle)]
pub extern "C" fn ef_shutdown(instance: *mut EfInstance, deadline: u64) -> c_int {
    border(c"ef_shutdown", -1, -1, || {
        let found = match instance.is_null() {
            true => world().and_then(World::running),
            false => Some(find(instance)?),
        };
        // What was never started has ended.
        found.map_or(Ok(()), |found| found.shut_down(Duration::from_micros(deadline)))?;
        Ok(0)
    })
}

/// `ef_set_write_limit`, see efio.h.
#[unsafe(no_mangle)]
pub extern "C" fn ef_set_write_limit(instance: *mut EfInstance, bytes: u64) -> c_int {
    border(c"ef_set_write_limit", -1, -1, || {
        find(instance)?.set_write_limit(bytes);
        Ok(0)
    })
}

/// `ef_open_with`, see efio.h.
///
/// # Safety
///
/// `path` is NULL or a string that ends with a NUL byte; `options` is NULL or points at a struct whose first field is its
/// size.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ef_open_with(
    instance: *mut EfInstance,
    path: *const c_char,
    options: *const EfOpenOptions,
) -> c_int {
    border(c"ef_open_with", -1, -1, || {
        // SAFETY: the caller's promise; the struct is numbers and an address that is only handed back.
        let (path, options) = unsafe { (self::path(path), Sized::get(options)?) };
        let one_of = |choice: c_int, most: c_int| (0..=most).contains(&choice);
        if !one_of(options.durability, 3) || !one_of(options.on_full, 1) || !one_of(options.order, 1) {
            return fail(libc::EINVAL);
        }
        if !one_of(options.io_mode, 1) {
            return fail(libc::ENOTSUP);
        }
        let choices = Choices {
            flags: options.flags,
            mode: if options.mode == 0 { 0o666 } else { options.mode & 0o7777 },
            atomic: options.atomic != 0,
            durability: options.durability,
            retry: options.on_full == 1,
            per_thread: options.order == 1,
            uncached: options.io_mode == 1,
            retain: options.retain != 0,
            flush_interval: options.flush_interval,
            memory_limit: options.memory_limit,
            write_limit: options.write_limit,
            default_limit: 0,
            data: options.data as usize,
        };
        open(&find(instance)?, path, &choices)
    })
}

/// `ef_notify_fd`, see efio.h.
#[unsafe(no_mangle)]
pub extern "C" fn ef_notify_fd(instance: *mut EfInstance) -> c_int {
    border(c"ef_notify_fd", -1, -1, || find(instance)?.listen())
}

/// Takes events into an array of C, whose elements may be smaller or larger than those here.
///
/// # Safety
///
/// `events` is NULL or room for `max` elements of `size` bytes.
unsafe fn take(instance: &Instance, events: *mut EfEvent, size: usize, max: c_int) -> Answer<c_int> {
    let room = usize::try_from(max).unwrap_or(0);
    let least = std::mem::offset_of!(EfEvent, data);
    if events.is_null() || room == 0 || !(least..=LARGEST).contains(&size) {
        return fail(libc::EINVAL);
    }
    instance.take_events(room, |place, event| {
        // SAFETY: `place` is below `max`; no more is copied than either has.
        unsafe {
            let to = events.cast::<u8>().add(place * size);
            std::ptr::write_bytes(to, 0, size);
            std::ptr::copy_nonoverlapping((&raw const event).cast(), to, size.min(size_of::<EfEvent>()));
        }
    })
}

/// `ef_events`, see efio.h.
///
/// # Safety
///
/// `events` is NULL or room for `max` elements of `size_of_event` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ef_events(
    instance: *mut EfInstance,
    events: *mut EfEvent,
    size_of_event: usize,
    max: c_int,
) -> c_int {
    // SAFETY: the caller's promise.
    border(c"ef_events", -1, -1, || unsafe { take(&*find(instance)?, events, size_of_event, max) })
}

/// Counts a thread in `ef_wait`.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicU32) -> Self {
        // ORDER: SeqCst pairs with the look in `take_events`.
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // ORDER: SeqCst, as in `enter`.
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// `ef_wait`, see efio.h.
///
/// # Safety
///
/// As of [`ef_events`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ef_wait(
    instance: *mut EfInstance,
    events: *mut EfEvent,
    size_of_event: usize,
    max: c_int,
    timeout: c_int,
) -> c_int {
    border(c"ef_wait", -1, -1, || {
        let instance = find(instance)?;
        let limit = u64::try_from(timeout).ok().map(Duration::from_millis);
        let until = limit.and_then(|limit| Instant::now().checked_add(limit));
        let descriptor: &Descriptor = &instance.descriptor;
        let _waiting = Waiting::enter(&instance.waiters);
        loop {
            // SAFETY: the caller's promise.
            let taken = unsafe { take(&instance, events, size_of_event, max) }?;
            let left = limit.map(|_| crate::world::left(until));
            if taken > 0 || left.is_some_and(|left| left.is_zero()) || instance.is_ending() {
                return Ok(taken);
            }
            crate::device::wait_for(descriptor, left);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_one_instance_and_nothing_else_does() {
        for (seat, serial) in [(0, 1), (254, 7), (3, u32::MAX)] {
            assert_eq!(seat_of(name_of(seat, serial)).unwrap(), (seat, serial));
        }
        for wrong in [0_usize, 1, 16, 0x7fff_ffff_f008_usize << 12, usize::MAX] {
            assert!(seat_of(wrong as *mut EfInstance).is_err(), "{wrong:x}");
        }
    }

    #[test]
    fn structs_of_other_sizes_are_taken_as_far_as_they_are_known() {
        #[repr(C)]
        #[derive(Clone, Copy, Default)]
        struct Larger {
            known: EfInstanceOptions,
            unknown: u64,
        }
        let get = |value: &Larger, size: usize| {
            let mut value = *value;
            value.known.size = size;
            // SAFETY: the struct is as large as its size says.
            unsafe { Sized::get((&raw const value).cast::<EfInstanceOptions>()) }
        };
        let mut larger = Larger::default();
        larger.known.memory_limit = 7;
        larger.known.threads_limit = 9;
        assert_eq!(get(&larger, size_of::<Larger>()).unwrap().threads_limit, 9);
        assert_eq!(get(&larger, 16).unwrap().memory_limit, 7);
        assert_eq!(get(&larger, 16).unwrap().threads_limit, 0);
        larger.unknown = 1;
        assert_eq!(get(&larger, size_of::<Larger>()).unwrap_err().errno(), libc::E2BIG);
        assert_eq!(get(&larger, 4).unwrap_err().errno(), libc::EINVAL);
        assert_eq!(get(&larger, 1 << 20).unwrap_err().errno(), libc::EINVAL);
    }
}
