//! The feed tile: the desk's thread.

use super::FeedPacket;
use super::day::SealedNote;
use super::desk::{Desk, FeedCounters};
use crate::machine::clock::Clock;
use crate::nic::{Nic, RxBurst};
use crate::tiles::tile::Pace;
use anyhow::Context;
use firmware::units::TimeNs;
use lane::{Consumer, Parker};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// Packets taken off the lane in one turn.
const LANE_BURST: usize = 256;
/// Longest sleep. The hot tile does not wake this one, so that a packet costs it one push and no call; the
/// lane holds what comes meanwhile.
const PARK: Duration = Duration::from_millis(2);
/// Counters are shown this often, ns.
const SHOW_NS: u64 = 100_000_000;

/// The tile.
pub struct FeedTile<N> {
    /// Its sockets.
    pub nic: N,
    /// Packets of the feed.
    pub lane: Consumer<FeedPacket>,
    /// Batches that were written.
    pub sealed: mpsc::Receiver<SealedNote>,
    /// Where it sleeps.
    pub parker: Parker,
    /// Its work.
    pub desk: Desk,
    /// What is shown.
    pub shown: Arc<Mutex<FeedCounters>>,
    /// Requests are served for so long after the end of the session.
    pub linger: Duration,
}

impl<N: Nic> FeedTile<N> {
    /// Runs until the hot tile is gone; after an orderly end for the time of `linger` more.
    ///
    /// # Errors
    /// When the NIC or the store fails: the hot tile finds its lane closed and stops the box.
    pub fn run(mut self, mut pace: Pace<impl Clock>) -> anyhow::Result<()> {
        let mut burst = RxBurst::new();
        let (mut next_show, mut until) = (0, None);
        loop {
            let now = pace.now();
            let work = self.turn(&mut burst, now)?;
            if now.0 >= next_show {
                next_show = now.0 + SHOW_NS;
                *self.shown.lock().expect("nobody panics with the lock held") =
                    self.desk.counters();
            }
            if self.desk.is_ended() {
                let end = *until.get_or_insert(now.0 + self.linger.as_nanos() as u64);
                if now.0 >= end {
                    return Ok(());
                }
            } else if self.lane.is_abandoned() && self.lane.is_empty() {
                return Ok(());
            }
            pace.turn(work);
            if work == 0 {
                self.parker.announce();
                self.nic.wait(&self.parker, PARK).context("feed tile")?;
                pace.slept(self.parker.resume());
            }
        }
    }
    /// One turn of the loop; returns how much was done.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn turn(&mut self, burst: &mut RxBurst, now: TimeNs) -> anyhow::Result<usize> {
        let mut work = 0;
        while work < LANE_BURST
            && let Some(packet) = self.lane.peek()
        {
            self.desk.feed(packet.bytes())?;
            self.lane.pop();
            work += 1;
        }
        while let Ok(note) = self.sealed.try_recv() {
            self.desk.sealed(note);
        }
        let requests = self.nic.poll(burst).context("feed tile")?;
        for i in 0..requests {
            let frame = burst.get(i);
            self.desk
                .request(&mut self.nic, frame.from, frame.payload, now)?;
        }
        work += requests + self.desk.turn(&mut self.nic, now) as usize;
        self.nic.flush();
        Ok(work)
    }
}
