//! Where the engine says what happened: the gateway, on the same tile or at the other end of a lane.

use crate::tiles::lanes::{Stopped, Told};
use crate::tiles::meters::LaneMeter;
use firmware::units::MemberId;
use firmware::wire::feed::FeedMessage;
use firmware::wire::report::Report;
use lane::{Producer, Waker};

/// Takes what members and everybody are to be told, in order.
pub trait Outlet {
    /// Whether what one burst causes as a rule can be handed over.
    fn has_room(&self) -> bool;
    /// A member's next report.
    fn report(&mut self, member: MemberId, report: &Report);
    /// The next feed message, and the record that caused it.
    fn feed(&mut self, seq: u64, message: &FeedMessage);
    /// The last word.
    fn stopped(&mut self, stopped: Stopped);
    /// Counts a turn in which nothing was taken in because there was no room here.
    fn note_stall(&mut self);
    /// Whoever listened is gone.
    fn is_abandoned(&self) -> bool;
    /// The journal's lane is full in the middle of an event: waits a little for room, or makes some where the journal
    /// is on the same tile. `false`: there will never be any.
    fn wait_for_journal(&mut self) -> bool {
        std::hint::spin_loop();
        true
    }
}

/// Room that the lane must have before anything is taken in: what one burst causes as a rule.
pub const TOLD_ROOM: usize = 8_192;

/// The engine's end of the lane to a gateway that is another tile.
pub struct TellLane {
    lane: Producer<Told>,
    gateway: Waker,
    meter: LaneMeter,
}

impl TellLane {
    /// The lane, who waits at its other end, and its meter.
    #[must_use]
    pub const fn new(lane: Producer<Told>, gateway: Waker, meter: LaneMeter) -> Self {
        Self {
            lane,
            gateway,
            meter,
        }
    }

    /// After a turn: wakes the gateway if it sleeps and something may have been said, and shows how full the lane is.
    pub fn end_turn(&mut self, has_worked: bool) {
        if has_worked || self.meter.used() > 0 {
            self.meter.note_room(self.lane.room());
            self.gateway.wake();
        }
    }

    fn push(&mut self, item: Told) {
        let mut left = self.lane.push(item);
        // There was room for what one burst causes as a rule. More than that waits here: the gateway takes
        // from this lane whatever the engine does.
        while let Err(item) = left {
            if self.lane.is_abandoned() {
                // The loop finds it out and stops the box.
                return;
            }
            self.meter.waited();
            self.gateway.wake();
            std::hint::spin_loop();
            left = self.lane.push(item);
        }
    }
}

impl Outlet for TellLane {
    fn has_room(&self) -> bool {
        self.lane.has_room(TOLD_ROOM)
    }

    fn report(&mut self, member: MemberId, report: &Report) {
        self.push(Told::Report(member, *report));
    }

    fn feed(&mut self, seq: u64, message: &FeedMessage) {
        self.push(Told::Feed(seq, *message));
    }

    fn stopped(&mut self, stopped: Stopped) {
        self.push(Told::Stopped(stopped));
    }

    fn note_stall(&mut self) {
        self.meter.stalled();
    }

    fn is_abandoned(&self) -> bool {
        self.lane.is_abandoned()
    }
}
