//! A member's side of the wire: order entry and market data over UDP.
//!
//! It promises: reports come once each and in order, whatever the network loses, repeats or reorders; a
//! request is never sent twice, and one that got lost comes back as [`Event::NotApplied`], for the caller
//! to decide; books change only in whole matching events. It never blocks: everything happens in `poll`,
//! with the time handed in.
//! What may never enter: a thread, a runtime, or a strategy.
//!
//! Start with `examples/hello.rs`.
#![forbid(unsafe_code)]

mod answers;
mod book;
mod checkpoint;
mod feed;
mod helpers;
mod link;
mod market;
mod ordered;
mod session;
mod snapshot;
mod wire;

pub use answers::answered;
pub use book::{Book, BookOrder, Level};
pub use checkpoint::Verdict;
pub use feed::{Checkpoints, Feed, FeedConfig, FeedCounters, FeedEvent, LineCounters, Start};
pub use helpers::{
    E9, OrderIds, ParseE9Error, cancel, dead_man_timer, kill_switch, limit_order, market_order,
    mass_cancel, mass_quote, now, open_orders, parse_e9, positions, quote, reduce, unlock,
};
pub use market::Instrument;
pub use session::{Config, EndReason, Event, Keys, SendError, Sent, Session, SessionCounters};
pub use wire::{FeedSockets, Source, Udp, Wire};

pub use firmware::units::{MemberId, Side, TimeNs};
pub use firmware::wire::feed::FeedMessage;
pub use firmware::wire::order::Request;
pub use firmware::wire::report::Report;
pub use handshake::{Credentials, PublicKey, SecretKey};
