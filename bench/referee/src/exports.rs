//! The exported symbols: the only `unsafe` of this crate. Pointers become references here and nowhere
//! else; what the functions do is said at [`Engine`].
//!
//! A panic cannot leave these functions: across `extern "C"` it ends the process, as a broken
//! invariant must.

use crate::abi::{self, Cancel, Message, Modify, NewOrder, Report};
use crate::engine::{Engine, Limits, Sink};
use core::cell::UnsafeCell;
use core::ffi::{c_int, c_void};
use firmware::units::Side;

/// A queue of reports between two threads, as the referee hands it over.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Transport {
    /// Makes a queue for at least that many reports; null if it cannot.
    pub create: Option<unsafe extern "C" fn(u32) -> *mut c_void>,
    /// Copies one report into the queue: 1, or 0 if it is full.
    pub push: Option<unsafe extern "C" fn(*mut c_void, *const Report) -> c_int>,
    /// Copies up to so many reports out and gives their number.
    pub drain: Option<unsafe extern "C" fn(*mut c_void, *mut Report, u32) -> u32>,
    /// Publishes what a queue may have held back.
    pub flush: Option<unsafe extern "C" fn(*mut c_void)>,
    /// Ends a queue.
    pub destroy: Option<unsafe extern "C" fn(*mut c_void)>,
}

/// The referee's queue.
struct Outside {
    push: unsafe extern "C" fn(*mut c_void, *const Report) -> c_int,
    handle: *mut c_void,
}

impl Sink for Outside {
    #[inline]
    fn push(&mut self, report: &Report) {
        // SAFETY: `push` and `handle` are a pair that `engine_init` was given for this, valid until
        // `engine_shutdown`, which drops `self`; `report` is a live reference.
        while unsafe { (self.push)(self.handle, report) } == 0 {
            core::hint::spin_loop();
        }
    }
}

struct State(UnsafeCell<Option<(Engine, Outside)>>);

// SAFETY: every access is in a function of this module, and their contract is one call at a time, with
// each call's effects visible to the next; so there is never a second reference to the content.
unsafe impl Sync for State {}

static STATE: State = State(UnsafeCell::new(None));

/// The engine between `engine_init` and `engine_shutdown`.
///
/// # Safety
/// One call at a time, as for all functions of this module; the reference ends with the call.
#[inline]
unsafe fn running<'a>() -> &'a mut (Engine, Outside) {
    // SAFETY: by the contract above no other reference to the content exists.
    let state = unsafe { &mut *STATE.0.get() };
    state.as_mut().expect("engine_init comes first")
}

/// Starts the engine and takes all its memory. Reports go to `transport->push(sink, report)`, again
/// and again while it answers 0.
///
/// # Safety
/// One call of this module at a time; `push` does not call back. `transport` points to a
/// [`Transport`] whose `push` may be called with `sink` until `engine_shutdown`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engine_init(seed: u64, transport: *const Transport, sink: *mut c_void) {
    // SAFETY: the caller says that it points to a transport or is null.
    let transport = unsafe { transport.as_ref() }.expect("a transport");
    let outside = Outside {
        push: transport.push.expect("a transport that takes reports"),
        handle: sink,
    };
    let engine = Engine::new(Limits::FULL, seed).expect("the limits are in range");
    // SAFETY: one call at a time, so no reference to the content exists.
    unsafe { *STATE.0.get() = Some((engine, outside)) };
}

/// Ends the engine and gives its memory back.
///
/// # Safety
/// One call of this module at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engine_shutdown() {
    // SAFETY: one call at a time, so no reference to the content exists.
    unsafe { *STATE.0.get() = None };
}

/// See [`Engine::new_order`].
///
/// # Safety
/// One call of this module at a time, after `engine_init`; `order` points to a whole new order.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engine_on_new_order(order: *const NewOrder) {
    // SAFETY: the caller keeps both contracts.
    let ((engine, sink), order) = unsafe { (running(), &*order) };
    engine.new_order(order, sink);
}

/// See [`Engine::cancel`].
///
/// # Safety
/// One call of this module at a time, after `engine_init`; `cancel` points to a whole cancel.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engine_on_cancel(cancel: *const Cancel) {
    // SAFETY: the caller keeps both contracts.
    let ((engine, sink), cancel) = unsafe { (running(), &*cancel) };
    engine.cancel(cancel, sink);
}

/// See [`Engine::modify`].
///
/// # Safety
/// One call of this module at a time, after `engine_init`; `modify` points to a whole modify.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engine_on_modify(modify: *const Modify) {
    // SAFETY: the caller keeps both contracts.
    let ((engine, sink), modify) = unsafe { (running(), &*modify) };
    engine.modify(modify, sink);
}

/// A run of messages, each done before the next is looked at.
///
/// # Safety
/// One call of this module at a time, after `engine_init`; `messages` points to `count` messages, of
/// which the body that their type names is whole (a cancel need not fill the union).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engine_on_batch(messages: *const Message, count: u32) {
    // SAFETY: one call at a time, after `engine_init`.
    let (engine, sink) = unsafe { running() };
    for at in 0..count as usize {
        // SAFETY: `at` is below the number of messages; no reference to the whole message is made,
        // only to its type and to the body of that type, which are there, and aligned: eight
        // divides both the size of a message and the body's offset.
        unsafe {
            let message = messages.add(at);
            let body = &raw const (*message).body;
            match (*message).kind {
                abi::MESSAGE_NEW => engine.new_order(&*body.cast(), sink),
                abi::MESSAGE_CANCEL => engine.cancel(&*body.cast(), sink),
                abi::MESSAGE_MODIFY => engine.modify(&*body.cast(), sink),
                _ => {}
            }
        }
    }
}

/// Returns when all messages are matched and all reports pushed. They always are.
#[unsafe(no_mangle)]
pub extern "C" fn engine_flush() {}

/// Highest bid, or `i64::MIN` if there is none.
///
/// # Safety
/// One call of this module at a time, after `engine_init`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engine_query_best_bid() -> i64 {
    // SAFETY: the caller keeps the contract.
    let (engine, _) = unsafe { running() };
    engine.best(Side::Buy).unwrap_or(i64::MIN)
}

/// Lowest ask, or `i64::MAX` if there is none.
///
/// # Safety
/// One call of this module at a time, after `engine_init`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engine_query_best_ask() -> i64 {
    // SAFETY: the caller keeps the contract.
    let (engine, _) = unsafe { running() };
    engine.best(Side::Sell).unwrap_or(i64::MAX)
}

/// Quantity that rests at a price; `side` is 0 for bids, 1 for asks.
///
/// # Safety
/// One call of this module at a time, after `engine_init`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engine_query_depth_at(price: i64, side: u8) -> u64 {
    // SAFETY: the caller keeps the contract.
    let (engine, _) = unsafe { running() };
    engine.depth(abi::side_of(side), price)
}
