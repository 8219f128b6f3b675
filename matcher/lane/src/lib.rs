//! What joins tiles: a bounded queue between exactly two of them, a way to sleep without missing work,
//! and a core to sit on.
//!
//! A [lane](bounded), of items of one size or of [frames](fn@frames) of any, never grows and never blocks: a full one returns the item, and the sender decides.
//! A tile with nothing to do spins for a while, then parks on one eventfd, its [`Parker`], whatever
//! number of lanes feed it. Who fills a lane holds a [`Waker`] of the tile behind it.
//!
//! What may never enter: a lock, an allocation after start, a queue with two writers.

mod event;
mod frames;
mod gauges;
mod park;
mod pin;
mod queue;
#[cfg(loom)]
mod ring;
mod sync;
mod watermark;

pub use frames::{FRAME_HEAD, FrameConsumer, FrameFull, FrameProducer, frame_words, frames};
pub use gauges::{Gauges, GaugesReader};
pub use park::{Parker, Waker};
pub use pin::{PinError, pin_to_core};
pub use queue::{Consumer, Producer, bounded};
pub use watermark::{Watermark, WatermarkReader};
