//! What the box sends, looked at before it leaves: only here can be told what was durable at that moment.

use crate::invariant::hold;
use crate::tally::Tally;
use client::Report;
use firmware::wire::datagram::{self, DatagramHeader, KIND_DATA, KIND_RETRANSMISSION};
use firmware::wire::mold::{END_OF_SESSION, MoldHeader};
use hostd::nic::sim::SimNic;
use hostd::nic::{Endpoint, Nic, NicCounters, RxBurst, TxFull};
use hostd::tiles::egress::FEED;
use journal::faults::Medium;
use lane::Parker;
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// What the hot tile sends, looked at before it leaves.
pub(crate) struct Watched {
    pub(crate) nic: SimNic,
    pub(crate) medium: Medium,
    /// The standby's, if there is one.
    pub(crate) standby: Option<Medium>,
    /// Number after the last feed message that has left.
    pub(crate) feed_sent: Rc<Cell<u64>>,
    pub(crate) tally: Tally,
}

impl Watched {
    fn check_reports(&self, payload: &[u8]) {
        let (header, body, _): (DatagramHeader, _, _) = datagram::split(payload).unwrap();
        if header.kind != KIND_DATA && header.kind != KIND_RETRANSMISSION {
            return;
        }
        if header.kind == KIND_RETRANSMISSION {
            self.tally.count("retransmission");
        }
        let (durable, has_failed) = (self.medium.durable_seq(), self.medium.has_failed());
        for message in datagram::messages(body) {
            let report = Report::decode(message.unwrap()).unwrap();
            let seq = report.engine_seq();
            hold!(
                SilentAfterError,
                !has_failed || seq <= durable,
                "record {seq} was acknowledged after the disk had failed at {durable}"
            );
            hold!(
                DurableFirst,
                seq <= durable,
                "a report of record {seq} left, durable is {durable}: {report:?}"
            );
            let standby = self.standby.as_ref().map(Medium::durable_seq);
            hold!(
                ReplicatedFirst,
                standby.is_none_or(|there| seq <= there),
                "a report of record {seq} left, the standby has {standby:?}: {report:?}"
            );
        }
    }
}

impl Nic for Watched {
    fn poll(&mut self, rx: &mut RxBurst) -> io::Result<usize> {
        self.nic.poll(rx)
    }

    fn send(&mut self, socket: usize, to: Endpoint, payload: &[u8]) -> Result<(), TxFull> {
        self.nic.send(socket, to, payload)?;
        if socket == FEED {
            let (header, _) = MoldHeader::decode(payload).unwrap();
            let count = if header.count == END_OF_SESSION {
                0
            } else {
                header.count
            };
            let next = header.sequence + u64::from(count);
            self.feed_sent.set(self.feed_sent.get().max(next));
        } else {
            self.check_reports(payload);
        }
        Ok(())
    }

    fn flush(&mut self) {
        self.nic.flush();
    }

    fn wait(&mut self, tile: &Parker, timeout: Duration) -> io::Result<()> {
        self.nic.wait(tile, timeout)
    }

    fn counters(&self) -> &NicCounters {
        self.nic.counters()
    }
}
