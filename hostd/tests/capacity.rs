//! The largest box: a million live orders over 256 instruments, of 4,096 members, in 2 GiB that are taken at
//! the start. One test in a binary of its own: what is measured is the memory of the process.

use bytemuck::Zeroable;
use firmware::gate::Command;
use firmware::limits::{INSTRUMENTS, MEMBERS};
use firmware::reject::RejectCode;
use firmware::units::{InstrumentId, MemberId, Side, TimeNs};
use firmware::wire::input::{InDeposit, InOracle, InTimer, TIMER_SEAL};
use firmware::wire::order::{Cancel, NewOrder, ORD_LIMIT, Request, TIF_GTC, TIF_IOC};
use firmware::wire::report::Report;
use hostd::capacity::{TICK_BYTES, resident_bytes};
use hostd::config::{Config, spec};
use hostd::feed::PACKETS_DEPTH;
use hostd::storage::recover::missing;
use hostd::tiles::core::Core;
use hostd::tiles::egress::{Egress, FeedEgress};
use hostd::tiles::gateway::Flows;
use hostd::tiles::meters::LaneMeter;
use lane::bounded;
use matcher::batch::Touched;
use matcher::book::OrderBook;
use matcher::outbox::Outcome;
use matcher::risk_table::{VolInput, build_table};
use matcher::sequencer::Input;
use std::fmt::Write;

const ORDERS: u32 = 1_000_000;
const MEMORY_MAX: u64 = 2 << 30;
/// What may be found missing after the start: pages of the test itself and of the allocator.
const GROWTH_MAX: u64 = 8 << 20;
const NOW: TimeNs = TimeNs(1_760_000_000_000_000_000);
const INDEX: i64 = 50_000;
/// Prices of a band; a domain of so many instruments lists mostly options, whose bands are narrow.
const BAND: i64 = 1 << 15;
const BAND_LOW: i64 = INDEX - BAND / 2;

/// The example's sections, but its own members and instruments.
fn config(members: u32, instruments: u16) -> String {
    let key = handshake::SecretKey::from_seed(&[7; 32]).public();
    let key: String = key.to_bytes().iter().fold(String::new(), |mut hex, b| {
        write!(hex, "{b:02x}").unwrap();
        hex
    });
    let example = include_str!("example.toml");
    let head = &example[..example.find("[[members]]").unwrap()];
    let mut text = format!(
        "{}\n[capacity]\norders = {ORDERS}\naccounts = 65536\nmembers = {MEMBERS}\ninstruments = {INSTRUMENTS}\n\
         [[oracles]]\nid = 1\npublic_key = \"{key}\"\n",
        head.replacen("[domain]", "[domain]\nproofs = false", 1)
    );
    for id in 1..=members {
        // Every leaf of the state tree but the first belongs to somebody.
        let accounts: Vec<u32> = (id..1 << 16).step_by(MEMBERS).collect();
        writeln!(
            text,
            "[[members]]\nid = {id}\nname = \"m{id}\"\npublic_key = \"{key}\"\naccounts = {accounts:?}\norders_per_second = 1000000000"
        )
        .unwrap();
    }
    for id in 0..instruments {
        writeln!(
            text,
            "[[instruments]]\nid = {id}\nsymbol = \"PERP-{id}\"\nkind = \"perpetual\"\ntick = \"1\"\nlot = \"0.001\"\n\
             band_low = \"{BAND_LOW}\"\nband_high = \"{}\"\ncollar_ppm = 300000\norder_lots_max = 1000\nposition_lots_max = 1000000",
            BAND_LOW + BAND - 1
        )
        .unwrap();
    }
    text
}

struct Venue {
    core: Core,
    /// What the gateway holds of what was said.
    flows: Flows,
    egress: Egress,
    requests: u64,
}

impl Venue {
    fn venue<'a>(&mut self, input: impl Into<Input<'a>>) {
        let sequenced = self.core.sequencer.venue(input, NOW);
        self.core.apply(&sequenced);
        self.say();
    }

    /// Says what came of the last input, as the gateway is told it.
    fn say(&mut self) {
        for (member, report) in self.core.told() {
            let flow = self.flows.get_mut(member).expect("a flow of each member");
            flow.reports.push(*report);
        }
        let seq = self.core.engine.last_seq().0;
        for message in self.core.said() {
            self.egress.say(seq, message);
        }
    }

    /// A member's request; the reject code if it was refused.
    fn ask(&mut self, member: u32, request: impl Into<Request>) -> Option<RejectCode> {
        self.requests += 1;
        let member = MemberId(member);
        let command = Command {
            member,
            client_seq: self.requests,
            rx_time: NOW,
            request: request.into(),
        };
        match self.core.gate.check(&command, NOW) {
            Ok(admitted) => {
                let sequenced = self.core.sequencer.admit(&admitted, NOW);
                self.core.apply(&sequenced);
            }
            Err(refused) => {
                let sequenced = self.core.sequencer.session(member, &refused, NOW);
                self.core.apply(&sequenced);
            }
        }
        self.say();
        self.core.outbox.outcomes().iter().find_map(|o| match o {
            Outcome::Report(_, Report::Rejected(r)) => RejectCode::from_wire(r.reason),
            _ => None,
        })
    }

    /// An order of one lot for the `n`-th place of the book: instruments and accounts in turn, buys below the
    /// index and sales above it.
    fn order(&mut self, n: u32, time_in_force: u8) -> Option<RejectCode> {
        let account = 1 + n % 65_535;
        let level = i64::from(n / 512 % 64) + 1;
        let side = (n / 256 % 2) as u8;
        let price = if side == 0 {
            INDEX - level
        } else {
            INDEX + level
        };
        let order = NewOrder {
            cl_ord_id: self.requests + 1,
            price: price * 1_000_000_000,
            quantity: 1,
            account,
            instrument: (n % INSTRUMENTS as u32) as u16,
            side,
            ord_type: ORD_LIMIT,
            time_in_force,
            ..NewOrder::zeroed()
        };
        self.ask(1 + (account - 1) % MEMBERS as u32, order)
    }

    /// A sale at once to the best buyer of an instrument, for an account that is not the buyer's.
    fn take(&mut self, instrument: u32) -> Option<RejectCode> {
        let id = InstrumentId(instrument as u16);
        let front = self.core.engine.book().front(id, Side::Buy);
        let front = front.expect("somebody buys");
        let account = if front.info.account.0 == 1 { 2 } else { 1 };
        let order = NewOrder {
            cl_ord_id: self.requests + 1,
            price: i64::from(front.price.0) * 1_000_000_000,
            quantity: 1,
            account,
            instrument: id.0,
            side: 1,
            ord_type: ORD_LIMIT,
            time_in_force: TIF_IOC,
            ..NewOrder::zeroed()
        };
        self.ask(account, order)
    }

    fn live(&self) -> usize {
        self.core.engine.book().live()
    }
}

fn open(config: &Config) -> Venue {
    let mut core = Core::new(&config.capacity);
    for m in &config.members {
        core.add_member(m.member(), m.rates());
    }
    let listing = missing(config, &core).unwrap();
    let (lane, _) = bounded(PACKETS_DEPTH);
    let feed = FeedEgress::new(
        config.feed.session_name(),
        config.feed.lines().collect(),
        1,
        (lane, LaneMeter::new(PACKETS_DEPTH)),
        core.next_feed,
        config.capacity.orders as usize,
    );
    let mut venue = Venue {
        flows: Flows::after(&core),
        egress: Egress::new(feed, 0),
        core,
        requests: 0,
    };
    venue.venue(&listing.domain.unwrap());
    for i in &listing.instruments {
        venue.venue(i);
    }
    for a in &listing.accounts {
        venue.venue(a);
    }
    for account in 1..1 << 16 {
        let mut owner = [1; 20];
        owner[..4].copy_from_slice(&u32::to_le_bytes(account));
        venue.venue(&InDeposit {
            queue_index: u64::from(account) - 1,
            amount: 1_000_000_000_000,
            account,
            owner,
            key: [0; 32],
        });
    }
    let oracle = InOracle {
        timestamp: NOW.0,
        index_micro: INDEX * 1_000_000,
        ..InOracle::zeroed()
    };
    venue.venue(&oracle);
    let specs: Vec<_> = listing.instruments.iter().map(spec).collect();
    let vol = VolInput::flat(600_000_000);
    let table = build_table(
        1,
        NOW,
        oracle.index_micro,
        &vol,
        &config.risk_params(),
        &specs,
    );
    venue.venue(&table.unwrap());
    venue
}

#[test]
fn a_million_orders_of_4096_members_in_256_instruments_fit_two_gib_taken_at_the_start() {
    let config = Config::parse(&config(MEMBERS as u32, INSTRUMENTS as u16)).unwrap();
    let before = resident_bytes();
    let mut venue = open(&config);
    let at_start = resident_bytes();
    // What `hostd doctor` says that a box of this size needs is what it takes.
    let books = u64::from(INSTRUMENTS as u32) * BAND as u64 * TICK_BYTES;
    let (said, took) = (config.capacity.core_bytes() + books, at_start - before);
    assert!(said.abs_diff(took) < took / 10, "{took} bytes, not {said}");
    for n in 0..ORDERS {
        assert_eq!(venue.order(n, TIF_GTC), None, "order {n}");
    }
    assert_eq!(venue.live(), ORDERS as usize);
    let full = resident_bytes();
    println!(
        "resident: {} MiB before, {} MiB at the start, {} MiB with {ORDERS} live orders",
        before >> 20,
        at_start >> 20,
        full >> 20
    );

    // What finds no room is refused and changes nothing; what needs none goes on.
    assert_eq!(venue.order(ORDERS, TIF_GTC), Some(RejectCode::BookFull));
    assert_eq!(venue.order(ORDERS, TIF_IOC), None);
    let (live, order) = (venue.live(), first_order(&venue));
    assert_eq!(venue.ask(order.0, order.1), None, "a cancel always passes");
    assert_eq!(venue.live(), live - 1);
    assert_eq!(venue.order(ORDERS, TIF_GTC), None);
    venue.core.engine.assert_conserved();

    // A trade in the last instrument, and the batch that tells of it.
    let last = INSTRUMENTS as u32 - 1;
    assert_eq!(venue.take(last), None);
    let fills = venue.core.engine.counters().fills;
    assert_eq!(fills, 1);
    venue.venue(&InTimer {
        flags: TIMER_SEAL,
        pad1: 0,
    });
    let sealed = venue.core.outbox.sealed().next();
    let batch = matcher::batch::decode(sealed.expect("a batch")).unwrap();
    assert_eq!(batch.table.columns.len(), INSTRUMENTS);
    assert_eq!(u32::from(batch.fills[0].instrument.0), last);
    let held = |t: &Touched| t.new.positions[last as usize];
    assert_eq!(batch.touched.iter().map(held).sum::<i64>(), 0);
    assert_eq!(batch.touched.iter().filter(|t| held(t) != 0).count(), 2);

    // The index runs away: one input cancels everything, settles, and needs no more memory than was taken.
    let mut table = venue.core.engine.table().expect("a table").to_owned();
    table.epoch += 1;
    table
        .columns
        .iter_mut()
        .for_each(|c| c.collar_width_ticks = 0);
    venue.venue(&*table);
    assert_eq!(venue.live(), 0);
    venue.core.engine.assert_conserved();
    let swept = resident_bytes();

    assert!(swept <= MEMORY_MAX, "{swept} bytes are more than two GiB");
    assert!(
        swept - at_start <= GROWTH_MAX,
        "{} KiB were not taken at the start",
        (swept - at_start) >> 10
    );
}

/// Who has the oldest buy of the first instrument, and how that is cancelled.
fn first_order(venue: &Venue) -> (u32, Cancel) {
    let front = venue.core.engine.book().front(InstrumentId(0), Side::Buy);
    let front = front.expect("the book is full");
    let cancel = Cancel {
        cl_ord_id: 0,
        order_id: front.id.0,
        account: front.info.account.0,
        ..Cancel::zeroed()
    };
    (front.info.session, cancel)
}
