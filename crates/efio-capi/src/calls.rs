//! Calls: the functions that a C program has registered, and the one row in which callbacks are made.
//!
//! A registration is a function and its data, swapped in one step. `clear` waits until none runs any more, unless it is
//! called from inside one. No lock of this library is held while a function of the program runs.
#![allow(unsafe_code, reason = "calls functions of the C program")]

use std::cell::Cell;
use std::collections::VecDeque;
use std::ffi::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use crate::bell::lock;

/// `ef_notification_f_type`.
pub(crate) type Callback = unsafe extern "C" fn(c_int, c_int, *mut c_void);
/// `ef_log_func`.
pub(crate) type LogFunction = unsafe extern "C" fn(c_int, *const c_char, *mut c_void);

/// What a callback tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Oper {
    Open = 0,
    Read = 1,
    Close = 2,
}

/// What a function of the program is registered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Callback = 0,
    Log = 1,
}

thread_local! {
    /// How many functions of the program this thread is inside of, by their purpose.
    static INSIDE: [Cell<u32>; 2] = const { [Cell::new(0), Cell::new(0)] };
}

/// This thread runs a function of the program that this library has called.
pub(crate) fn is_inside() -> bool {
    INSIDE.try_with(|inside| inside.iter().any(|count| count.get() > 0)).unwrap_or_default()
}

/// A function of the program, and what it is called with.
#[derive(Debug)]
pub(crate) struct Registration<F> {
    purpose: Purpose,
    set: AtomicBool,
    state: Mutex<Registered<F>>,
    idle: Condvar,
}

#[derive(Debug)]
struct Registered<F> {
    /// The data is an address that is only handed back.
    function: Option<(F, usize)>,
    running: u32,
}

impl<F: Copy> Registration<F> {
    pub(crate) fn new(purpose: Purpose) -> Self {
        let state = Mutex::new(Registered { function: None, running: 0 });
        Self { purpose, set: AtomicBool::new(false), state, idle: Condvar::new() }
    }

    /// There is a function: a look without the lock.
    pub(crate) fn is_set(&self) -> bool {
        // ORDER: Acquire pairs with the Release store in `replace`; who finds none tells nobody.
        self.set.load(Ordering::Acquire)
    }

    /// Sets the function and its data, or none. One that runs goes on.
    pub(crate) fn replace(&self, function: Option<(F, usize)>) {
        let mut state = lock(&self.state);
        state.function = function;
        // ORDER: Release pairs with the Acquire load in `is_set`.
        self.set.store(function.is_some(), Ordering::Release);
    }

    /// None from here on, and none runs when this returns, unless this is called from inside one. Functions that are
    /// registered for something else do not count.
    pub(crate) fn clear(&self) {
        self.replace(None);
        if INSIDE.try_with(|inside| inside[self.purpose as usize].get() > 0).unwrap_or_default() {
            return;
        }
        let state = lock(&self.state);
        let running = |state: &mut Registered<F>| state.running > 0;
        drop(self.idle.wait_while(state, running).unwrap_or_else(PoisonError::into_inner));
    }

    /// Makes `call` with the function and its data, if there is one.
    pub(crate) fn call(&self, call: impl FnOnce(F, *mut c_void)) {
        let function = {
            let mut state = lock(&self.state);
            let Some(function) = state.function else { return };
            state.running += 1;
            function
        };
        let enter = |by: u32| {
            INSIDE.try_with(|inside| {
                let count = &inside[self.purpose as usize];
                count.set(count.get().wrapping_add(by));
            })
        };
        // A thread that is about to end counts for nothing, and nobody asks it.
        let _ = enter(1);
        call(function.0, function.1 as *mut c_void);
        let _ = enter(u32::MAX);
        let mut state = lock(&self.state);
        state.running -= 1;
        if state.running == 0 {
            self.idle.notify_all();
        }
    }
}

/// Calls `function` with these three.
pub(crate) fn call_back(function: Callback, handle: i32, oper: Oper, data: *mut c_void) {
    // SAFETY: the program gave the function and the data for this call, until it unsets them.
    unsafe { function(handle, oper as c_int, data) };
}

/// Calls a log function with a line.
pub(crate) fn call_log(function: LogFunction, level: i32, line: &std::ffi::CStr, data: *mut c_void) {
    // SAFETY: as in `call_back`; the line lives until the call returns.
    unsafe { function(level, line.as_ptr(), data) };
}

/// A callback that is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) handle: u32,
    pub(crate) life: u32,
    pub(crate) oper: Oper,
}

/// Callbacks in their order, made by one thread at a time. Their number is bounded by that of the handles, three each.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    row: Mutex<VecDeque<Call>>,
    making: AtomicBool,
}

impl Calls {
    pub(crate) fn push(&self, call: Call) {
        lock(&self.row).push_back(call);
    }

    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.row).is_empty()
    }

    /// None is to be made, and none is being made.
    pub(crate) fn are_made(&self) -> bool {
        let row = lock(&self.row);
        // ORDER: Acquire pairs with the Release half of the store in `make_all`; the row is looked at under its lock, under
        // which each call is taken by one who is the maker already.
        row.is_empty() && !self.making.load(Ordering::Acquire)
    }

    /// Makes every call by `make`, unless another thread does. What is pushed meanwhile is made too.
    pub(crate) fn make_all(&self, mut make: impl FnMut(Call)) {
        while !self.is_empty() {
            // ORDER: AcqRel: the Acquire half pairs with the Release store below, so that one maker follows the other.
            if self.making.swap(true, Ordering::AcqRel) {
                return;
            }
            loop {
                let next = lock(&self.row).pop_front();
                let Some(call) = next else { break };
                make(call);
            }
            // ORDER: SeqCst, before the look at the row above: a call that was pushed while this thread was the maker is
            // seen by it, or by its pusher's own `make_all`. Pairs with the swap.
            self.making.store(false, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    unsafe extern "C" fn nothing(_: c_int, _: c_int, _: *mut c_void) {}

    #[test]
    fn after_clear_none_runs_and_inside_a_call_it_does_not_wait_for_itself() {
        let registration = Registration::<Callback>::new(Purpose::Callback);
        assert!(!registration.is_set());
        registration.call(|_, _| panic!("there is none"));
        registration.replace(Some((nothing, 7)));
        let (entered, left) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                registration.call(|_, data| {
                    assert_eq!(data.addr(), 7);
                    entered.store(true, Ordering::SeqCst);
                    std::thread::sleep(std::time::Duration::from_millis(30));
                    left.store(true, Ordering::SeqCst);
                });
            });
            while !entered.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            registration.clear();
            assert!(left.load(Ordering::SeqCst), "a callback runs after `clear` has returned");
        });
        let (entered, left) = (AtomicBool::new(false), AtomicBool::new(false));
        let log = Registration::<Callback>::new(Purpose::Log);
        log.replace(Some((nothing, 9)));
        registration.replace(Some((nothing, 7)));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                registration.call(|_, _| {
                    entered.store(true, Ordering::SeqCst);
                    std::thread::sleep(std::time::Duration::from_millis(30));
                    left.store(true, Ordering::SeqCst);
                });
            });
            while !entered.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            log.call(|_, _| registration.clear());
            assert!(left.load(Ordering::SeqCst), "inside another function `clear` has not waited");
        });
        registration.replace(Some((nothing, 8)));
        registration.call(|_, _| registration.clear());
        assert!(!registration.is_set() && !is_inside());
    }

    #[test]
    fn function_and_data_change_together() {
        unsafe extern "C" fn other(_: c_int, _: c_int, _: *mut c_void) {}
        let registration = Registration::<Callback>::new(Purpose::Callback);
        let pairs: [(Callback, usize); 2] = [(nothing, 1), (other, 2)];
        std::thread::scope(|scope| {
            let setter =
                scope.spawn(|| (0..20_000).for_each(|turn| registration.replace(Some(pairs[turn % 2]))));
            while !setter.is_finished() {
                registration.call(|function, data| {
                    let expected = if function as usize == nothing as *const () as usize { 1 } else { 2 };
                    assert_eq!(data.addr(), expected);
                });
            }
        });
    }

    #[test]
    fn calls_are_made_once_in_order_by_one_thread_at_a_time() {
        let calls = Calls::default();
        let (inside, made) = (AtomicU32::new(0), Mutex::new(Vec::new()));
        let make = |call: Call| {
            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two at a time");
            made.lock().unwrap().push(call.handle);
            inside.fetch_sub(1, Ordering::SeqCst);
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for handle in 0..2000 {
                        calls.push(Call { handle, life: 1, oper: Oper::Read });
                        calls.make_all(make);
                    }
                });
            }
        });
        assert!(calls.is_empty(), "a call was left behind");
        let made = made.into_inner().unwrap();
        assert_eq!(made.len(), 8000);
    }
}
