//! What is sent: requests in a fixed order, sealed into their datagrams before the slice that sends them, one
//! request a datagram.

use client::{Keys, Side, cancel, limit_order};
use firmware::wire::datagram::{DatagramBuilder, KIND_DATA};
use firmware::wire::order::{FLAG_POST_ONLY, NewOrder, Request, STP_CANCEL_TAKER, TIF_IOC};
use std::collections::VecDeque;
use std::ops::Range;

/// Orders of the mix `rest` that are in the book at a time.
const RESTING: usize = 500;
/// Prices on each side that the mix `rest` uses.
const LEVELS: i64 = 64;

/// Which requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Mix {
    /// A new order that rests, a cancel of the oldest one, and so on: one report each.
    Rest,
    /// An order that rests, an IOC of another account that takes it whole, and so on, the sides changing
    /// places: four reports for two requests.
    Cross,
}

impl Mix {
    /// Its name in figures.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Cross => "cross",
        }
    }

    /// In words, for the report.
    pub(crate) const fn about(self) -> &'static str {
        match self {
            Self::Rest => {
                "new post-only orders that rest (500 live) and cancels of the oldest, in turn"
            }
            Self::Cross => {
                "an order that rests and an IOC of another account that fills it, in turn"
            }
        }
    }
}

/// What the requests are about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ground {
    /// Two accounts of the member.
    pub(crate) accounts: [u32; 2],
    pub(crate) instrument: u16,
    /// A price inside the collar, x 1e-9: bids rest below it, offers above.
    pub(crate) price_e9: i64,
    pub(crate) tick_e9: i64,
}

/// Datagrams of one slice, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    bytes: Vec<u8>,
    places: Vec<Range<u32>>,
    /// Number of the first request; they rise by one.
    pub(crate) first_client_seq: u64,
    /// Reports that answer them and what follows from them, if nothing is lost or refused.
    pub(crate) reports: usize,
}

impl Prepared {
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn get(&self, i: usize) -> &[u8] {
        let at = &self.places[i];
        &self.bytes[at.start as usize..at.end as usize]
    }
}

/// The flow of one session, from slice to slice.
pub(crate) struct Load {
    keys: Keys,
    ground: Ground,
    next_cl_ord_id: u64,
    /// Live orders of the mix `rest`, oldest first.
    resting: VecDeque<u64>,
    /// Requests of each mix so far.
    made: u64,
    builder: DatagramBuilder,
}

impl Load {
    /// Goes on where the session stands. `first_cl_ord_id` must be higher than any that the member used before.
    pub(crate) fn new(keys: Keys, ground: Ground, first_cl_ord_id: u64) -> Self {
        Self {
            keys,
            ground,
            next_cl_ord_id: first_cl_ord_id,
            resting: VecDeque::with_capacity(RESTING + 1),
            made: 0,
            builder: DatagramBuilder::new(),
        }
    }

    /// The keys and numbers of the session.
    pub(crate) const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Seals the next `count` requests. All of them have to be sent, once each and in this order.
    pub(crate) fn prepare(&mut self, mix: Mix, count: usize, into: &mut Prepared) {
        into.bytes.clear();
        into.places.clear();
        into.first_client_seq = self.keys.next_client_seq;
        into.reports = 0;
        for _ in 0..count {
            let (request, reports) = self.next(mix);
            into.reports += reports;
            self.builder.clear();
            let fits = self.builder.push(request.header(), request.block());
            assert!(fits, "a request fits a datagram");
            self.keys.packet_no += 1;
            let seq = self.keys.next_client_seq;
            self.keys.next_client_seq += 1;
            let key = &self.keys.keys.c2s;
            let payload = self.builder.finish(
                KIND_DATA,
                self.keys.conn_id,
                self.keys.packet_no,
                seq,
                1,
                |no, bytes| key.seal(no, bytes),
            );
            let start = into.bytes.len() as u32;
            into.bytes.extend_from_slice(payload);
            into.places.push(start..into.bytes.len() as u32);
        }
    }

    fn next(&mut self, mix: Mix) -> (Request, usize) {
        let id = self.next_cl_ord_id;
        self.next_cl_ord_id += 1;
        let k = self.made;
        self.made += 1;
        match mix {
            Mix::Rest => (self.rest(id, k), 1),
            Mix::Cross => self.cross(id, k),
        }
    }

    fn rest(&mut self, id: u64, k: u64) -> Request {
        let g = self.ground;
        if k % 2 == 1
            && self.resting.len() > RESTING
            && let Some(oldest) = self.resting.pop_front()
        {
            return Request::Cancel(cancel(id, g.accounts[0], g.instrument, oldest));
        }
        self.resting.push_back(id);
        let side = if (k / 2).is_multiple_of(2) {
            Side::Buy
        } else {
            Side::Sell
        };
        let off = (1 + (k / 4) as i64 % LEVELS) * g.tick_e9;
        let price = match side {
            Side::Buy => g.price_e9 - off,
            Side::Sell => g.price_e9 + off,
        };
        Request::NewOrder(NewOrder {
            flags: FLAG_POST_ONLY,
            ..limit_order(id, g.accounts[0], g.instrument, side, price, 1)
        })
    }

    /// Account 0 rests and account 1 takes; then the sides change, so that no position grows.
    fn cross(&self, id: u64, k: u64) -> (Request, usize) {
        let g = self.ground;
        let (side, other) = if (k / 2).is_multiple_of(2) {
            (Side::Sell, Side::Buy)
        } else {
            (Side::Buy, Side::Sell)
        };
        if k.is_multiple_of(2) {
            let order = limit_order(id, g.accounts[0], g.instrument, side, g.price_e9, 1);
            return (Request::NewOrder(order), 1);
        }
        let order = NewOrder {
            time_in_force: TIF_IOC,
            stp_mode: STP_CANCEL_TAKER,
            ..limit_order(id, g.accounts[1], g.instrument, other, g.price_e9, 1)
        };
        (Request::NewOrder(order), 3)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use firmware::tag::Suite;
    use firmware::wire::datagram::{messages, split};
    use handshake::{TagKey, TagKeys};

    pub(crate) fn keys() -> Keys {
        let key = |k| TagKey::new(Suite::Aes128Gmac, &[k; 16], [k; 4]);
        Keys {
            conn_id: 5,
            keys: TagKeys {
                c2s: key(1),
                s2c: key(2),
            },
            packet_no: 7,
            next_client_seq: 20,
        }
    }

    pub(crate) const GROUND: Ground = Ground {
        accounts: [1, 2],
        instrument: 0,
        price_e9: 60_000_000_000_000,
        tick_e9: 100_000_000,
    };

    fn requests(p: &Prepared) -> Vec<Request> {
        let one = |i| {
            let (header, body, tag) = split(p.get(i)).unwrap();
            assert_eq!(header.next_seq_no, p.first_client_seq + i as u64);
            let signed = &p.get(i)[..p.get(i).len() - tag.len()];
            assert!(keys().keys.c2s.verify(header.packet_no, signed, tag));
            let all: Vec<_> = messages(body).collect();
            assert_eq!(all.len(), 1);
            Request::decode(all[0].unwrap()).unwrap()
        };
        (0..p.len()).map(one).collect()
    }

    #[test]
    fn what_rests_is_cancelled_once_oldest_first_and_the_flow_has_no_gap() {
        let mut load = Load::new(keys(), GROUND, 100);
        let (mut p, mut all) = (Prepared::default(), Vec::new());
        for slice in 0..4 {
            load.prepare(Mix::Rest, 1_000, &mut p);
            assert_eq!(p.first_client_seq, 20 + 1_000 * slice);
            assert_eq!(p.reports, 1_000);
            all.extend(requests(&p));
        }
        assert_eq!(load.keys().packet_no, 7 + 4_000);
        let (mut live, mut cancels, mut last) = (VecDeque::new(), 0, 99);
        for request in &all {
            let id = match request {
                Request::NewOrder(m) => {
                    live.push_back(m.cl_ord_id);
                    m.cl_ord_id
                }
                Request::Cancel(m) => {
                    cancels += 1;
                    assert_eq!(live.pop_front(), Some(m.orig_cl_ord_id));
                    m.cl_ord_id
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(id, last + 1, "ids rise");
            last = id;
        }
        assert!(live.len().abs_diff(RESTING) <= 1 && cancels > 1_700);
    }

    #[test]
    fn what_crosses_leaves_no_position_and_no_order() {
        let mut load = Load::new(keys(), GROUND, 1);
        let mut p = Prepared::default();
        load.prepare(Mix::Cross, 8, &mut p);
        assert_eq!(p.reports, 16);
        let mut position = [0i64; 3];
        for pair in requests(&p).chunks(2) {
            let [Request::NewOrder(rests), Request::NewOrder(takes)] = pair else {
                panic!("{pair:?}");
            };
            assert_eq!((rests.price, rests.quantity), (takes.price, takes.quantity));
            assert_ne!(rests.side, takes.side);
            assert_eq!(takes.time_in_force, TIF_IOC);
            for m in [rests, takes] {
                position[m.account as usize] += if m.side == 0 { 1 } else { -1 };
            }
        }
        assert_eq!(position, [0; 3]);
    }
}
