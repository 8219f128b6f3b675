//! Domains that list more than the circuit's small tier proves: what is sealed, and that sizes do not show.

use bytemuck::Zeroable;
use firmware::limits::{INSTRUMENTS, TIER_INSTRUMENTS};
use firmware::units::TimeNs;
use firmware::wire::feed::STATE_OPEN;
use firmware::wire::input::{InDeposit, InDomain, InInstrument, InTimer, TIMER_SEAL};
use matcher::batch::decode;
use matcher::book::{LadderBook, OrderBook};
use matcher::engine::{Engine, EngineLimits};
use matcher::outbox::Outbox;
use matcher::reference::ReferenceBook;
use matcher::sequencer::{Input, Sequencer};
use matcher::table::RiskTable;

/// Highest instrument listed.
const HIGHEST: u16 = 20;

struct Venue<B> {
    sequencer: Sequencer,
    engine: Engine<B>,
    out: Outbox,
    sealed: Vec<Vec<u8>>,
}

impl<B: OrderBook> Venue<B> {
    fn new(instruments: u16) -> Self {
        let limits = EngineLimits {
            accounts: 24,
            orders: 16,
            members: 2,
            instruments,
        };
        Self {
            sequencer: Sequencer::new(),
            engine: Engine::new(limits).unwrap(),
            out: Outbox::of(&limits),
            sealed: Vec::new(),
        }
    }

    fn input<'a>(&mut self, input: impl Into<Input<'a>>) {
        let sequenced = self.sequencer.venue(input, TimeNs(1));
        self.engine.apply(&sequenced, &mut self.out);
        self.sealed.extend(self.out.sealed().map(<[u8]>::to_vec));
    }

    fn list(&mut self, instrument: u16) {
        self.input(&InInstrument {
            lot_e9: 1_000_000,
            tick_micro: 1_000_000,
            order_lots_max: 10,
            position_lots_max: 1_000,
            base_ticks: 1,
            width_ticks: 100,
            instrument,
            state: STATE_OPEN,
            ..InInstrument::zeroed()
        });
    }

    fn deposit(&mut self, account: u32) {
        self.input(&InDeposit {
            queue_index: self.engine.next_deposit(),
            amount: 5,
            account,
            owner: [7; 20],
            key: [0; 32],
        });
    }

    /// A deposit on each side of the listing that makes the domain wide.
    fn day(mut self) -> (Vec<Vec<u8>>, [u8; 32]) {
        self.input(&InDomain {
            settlement_interval_ns: u64::MAX,
            ..InDomain::zeroed()
        });
        self.list(0);
        self.deposit(1);
        self.list(HIGHEST);
        self.deposit(2);
        let mut table = RiskTable::zeroed(RiskTable::width_for(HIGHEST));
        (table.epoch, table.index_micro) = (1, 1_000_000);
        self.input(&table);
        self.input(&InTimer {
            flags: TIMER_SEAL,
            pad1: 0,
        });
        self.engine.assert_conserved();
        (self.sealed, self.engine.state_hash())
    }
}

#[test]
fn the_listing_that_widens_a_domain_closes_the_batch_before_it() {
    let (sealed, _) = Venue::<LadderBook>::new(INSTRUMENTS as u16).day();
    let version = |bytes: &[u8]| u32::from_le_bytes(bytes[8..12].try_into().unwrap());
    let [narrow, wide] = &sealed[..] else {
        panic!("{} batches", sealed.len())
    };
    assert_eq!((version(narrow), version(wide)), (3, 3));
    let (narrow, wide) = (decode(narrow).unwrap(), decode(wide).unwrap());
    assert_eq!(narrow.table.columns.len(), TIER_INSTRUMENTS);
    assert_eq!(wide.table.columns.len(), usize::from(HIGHEST) + 1);
    assert_eq!(narrow.touched[0].new.positions.len(), TIER_INSTRUMENTS);
    assert_eq!(
        wide.touched[0].new.positions.len(),
        usize::from(HIGHEST) + 1
    );
}

#[test]
fn neither_the_room_for_instruments_nor_the_book_shows_in_what_is_sealed() {
    let first = Venue::<LadderBook>::new(HIGHEST + 1).day();
    assert_eq!(first, Venue::<LadderBook>::new(INSTRUMENTS as u16).day());
    assert_eq!(first, Venue::<ReferenceBook>::new(HIGHEST + 1).day());
}

#[test]
#[should_panic(expected = "a table is as wide as the listed instruments ask for")]
fn a_table_that_leaves_out_a_listed_instrument_stops_the_box() {
    let mut venue = Venue::<LadderBook>::new(INSTRUMENTS as u16);
    venue.list(HIGHEST);
    let mut table = RiskTable::zeroed(TIER_INSTRUMENTS);
    table.epoch = 1;
    venue.input(&table);
}
