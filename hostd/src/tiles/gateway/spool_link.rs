//! The gateway's ends of the lanes to and from the spool tile.

use crate::tiles::lanes::{SpoolAnswer, SpoolRead, ToSpool, WireCounters};
use crate::tiles::meters::LaneMeter;
use firmware::units::MemberId;
use firmware::wire::report::Report;
use lane::{Consumer, Producer, Waker};

/// Room that the lane must have before a burst is taken: the reports of what it may cause as a rule.
const ROOM: usize = 8_192;
/// With less room than this the spool tile is woken; with more it comes by itself in time.
const ROOM_AT_EASE: usize = 4 * ROOM;
/// Reads under way, of all members together: the depth of the lane of answers.
pub const SPOOL_READS_MAX: usize = 64;

/// Reports out, and old ones back.
pub struct SpoolLink {
    lane: Producer<ToSpool>,
    waker: Waker,
    answers: Consumer<SpoolAnswer>,
    under_way: usize,
    /// Reports were pushed since the last look at the room.
    has_pushed: bool,
    meter: LaneMeter,
}

impl SpoolLink {
    /// Both lanes, a meter of the one out, and who waits at the other end. `answers` must have room for [`SPOOL_READS_MAX`].
    #[must_use]
    pub const fn new(
        lane: Producer<ToSpool>,
        waker: Waker,
        answers: Consumer<SpoolAnswer>,
        meter: LaneMeter,
    ) -> Self {
        Self {
            lane,
            waker,
            answers,
            under_way: 0,
            has_pushed: false,
            meter,
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.lane.has_room(ROOM)
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.lane.is_abandoned()
    }

    pub(super) fn has_answers(&self) -> bool {
        !self.answers.is_empty()
    }

    /// Hands a report over. An event that makes more of them than the lane has room for waits here.
    pub(super) fn report(
        &mut self,
        member: MemberId,
        report: &Report,
        counters: &mut WireCounters,
    ) {
        self.has_pushed = true;
        let mut left = self.lane.push(ToSpool::Report(member, *report));
        while let Err(item) = left {
            if self.lane.is_abandoned() {
                // The loop finds it out and stops the box.
                return;
            }
            counters.spool_waits += 1;
            self.waker.wake();
            std::hint::spin_loop();
            left = self.lane.push(item);
        }
    }

    /// Wakes the spool tile if its lane fills up.
    pub(super) fn nudge(&mut self) {
        if !std::mem::take(&mut self.has_pushed) && self.meter.used() == 0 {
            return;
        }
        let room = self.lane.room();
        self.meter.note_room(room);
        if room < ROOM_AT_EASE {
            self.waker.wake();
        }
    }

    /// Asks for reports; `false` when too many reads are under way.
    pub(super) fn read(&mut self, read: SpoolRead) -> bool {
        let sent = self.under_way < SPOOL_READS_MAX && self.lane.push(ToSpool::Read(read)).is_ok();
        if sent {
            self.under_way += 1;
            self.waker.wake();
        }
        sent
    }

    pub(super) fn answer(&mut self) -> Option<SpoolAnswer> {
        let answer = self.answers.pop()?;
        self.under_way -= 1;
        Some(answer)
    }
}
