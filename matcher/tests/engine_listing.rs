//! Listing and delisting while the day runs: from the first order of a new instrument to the end of an old one, on
//! both books, from a snapshot and in the replay.

mod common;

use common::day::{Day, MICRO, e9};
use common::{CALL, DAY, INDEX, PERP, PUT, RULES, Record, SECOND, T0, Venue, specs};
use firmware::limits::DOMAIN_LOTS_MAX;
use firmware::reject::RejectCode;
use firmware::units::{InstrumentId, TimeNs};
use firmware::wire::feed::{FeedMessage, STATE_DELISTED, STATE_OPEN};
use firmware::wire::input::{InRiskRules, InTradingState};
use firmware::wire::order::{NewOrder, ORD_LIMIT, TIF_GTC};
use firmware::wire::report::Report;
use firmware::wire::sbe::ID16_NULL;
use matcher::book::{LadderBook, OrderBook};
use matcher::engine::{Engine, EngineLimits, ListingError};
use matcher::instrument::{InstrumentKind, InstrumentSpec};
use matcher::outbox::{Outbox, Outcome};
use matcher::reference::ReferenceBook;
use matcher::sequencer::Sequencer;

const FUTURE: u16 = 7;

fn future(expiry: u64) -> InstrumentSpec {
    InstrumentSpec {
        id: InstrumentId(FUTURE),
        kind: InstrumentKind::Future {
            expiry: TimeNs(expiry),
        },
        position_lots_max: 1_000,
        ..specs()[0]
    }
}

/// The state that the journal leads to on a book.
fn replayed<B: OrderBook>(journal: &[Record], limits: EngineLimits) -> [u8; 32] {
    let mut engine: Engine<B> = Engine::new(limits).unwrap();
    let (mut sequencer, mut out) = (Sequencer::new(), Outbox::new());
    for record in journal {
        record.replay(&mut sequencer, |input| engine.apply(input, &mut out));
    }
    engine.state_hash()
}

/// What the venue is leads the same way on both books, and from a snapshot taken now.
fn agree(day: &Day) {
    let engine = &day.venue.engine;
    let limits = EngineLimits {
        accounts: common::ACCOUNTS,
        orders: 10_000,
        ..EngineLimits::default()
    };
    let journal = day.venue.journal.as_ref().unwrap();
    assert_eq!(replayed::<LadderBook>(journal, limits), engine.state_hash());
    assert_eq!(
        replayed::<ReferenceBook>(journal, limits),
        engine.state_hash()
    );
    let mut bytes = Vec::new();
    engine.save(&mut bytes);
    let again: Engine<LadderBook> = Engine::load(limits, &mut &bytes[..]).unwrap();
    assert_eq!(again.state_hash(), engine.state_hash());
}

/// Why an order of account 3 in an instrument is refused.
fn refused(day: &mut Day, name: u64, instrument: u16) -> u16 {
    let order = NewOrder {
        cl_ord_id: name,
        price: e9(1_000),
        quantity: 1,
        account: 3,
        instrument,
        ord_type: ORD_LIMIT,
        time_in_force: TIF_GTC,
        ..bytemuck::Zeroable::zeroed()
    };
    day.venue.request(4, order);
    day.check();
    let last = day.told.iter().rev().find_map(|o| match o {
        Outcome::Report(_, Report::Rejected(m)) => Some((m.cl_ord_id, m.reason)),
        _ => None,
    });
    assert_eq!(last.map(|l| l.0), Some(name), "it was taken");
    last.unwrap().1
}

fn held(accounts: usize) -> Result<(), ListingError> {
    Err(ListingError::Held {
        instrument: FUTURE,
        accounts,
    })
}

#[test]
fn a_future_is_listed_trades_is_closed_and_delisted_while_the_day_runs() {
    let mut day = Day::new(T0, &[1_000, 1_000, 1_000], &RULES);
    day.trade(1, 2, PERP, 10, e9(1_000));
    assert_eq!(
        refused(&mut day, 1, FUTURE),
        RejectCode::UnknownInstrument as u16
    );
    day.venue.list(&future(T0 + DAY)).unwrap();
    day.check();
    let shown = |m: &FeedMessage| matches!(m, FeedMessage::InstrumentDefinition(d) if d.instrument == FUTURE && d.kind == 3);
    assert!(
        day.told
            .iter()
            .any(|o| matches!(o, Outcome::Feed(m) if shown(m)))
    );
    // Without a mark it has no collar, so nothing trades; the next table brings both.
    assert_eq!(refused(&mut day, 2, FUTURE), RejectCode::Halted as u16);
    day.index(INDEX);
    day.trade(1, 2, FUTURE, 20, e9(1_000));
    day.order(2, FUTURE, -5, e9(1_010));
    agree(&day);
    assert_eq!(day.venue.delist(FUTURE), held(2));
    // A settlement right after the first trade moves nothing but what the mark moved.
    day.index(INDEX * 103 / 100);
    let moved = day.told.iter().rev().find_map(|o| match o {
        Outcome::Report(_, Report::SettlementReport(m)) if m.account == 1 => Some(m.transfer),
        _ => None,
    });
    assert_eq!(moved, Some(30 * 3 * MICRO / 100));
    day.trade(2, 1, FUTURE, 20, e9(1_005));
    // Held by nobody, with an order resting and the trade in the open batch.
    day.venue.delist(FUTURE).unwrap();
    day.check();
    let gone = |o: &Outcome| matches!(o, Outcome::Report(_, Report::Canceled(m)) if m.instrument == FUTURE);
    assert!(day.told.iter().any(gone));
    let told = |o: &Outcome| matches!(o, Outcome::Feed(FeedMessage::TradingStatus(m)) if m.instrument == FUTURE && m.state == STATE_DELISTED);
    assert!(day.told.iter().any(told));
    assert_eq!(
        refused(&mut day, 3, FUTURE),
        RejectCode::UnknownInstrument as u16
    );
    agree(&day);
    // No state, no expiry and no table wakes it.
    day.venue.venue(&InTradingState {
        instrument: ID16_NULL,
        state: STATE_OPEN,
        ..bytemuck::Zeroable::zeroed()
    });
    day.check();
    day.index(INDEX);
    day.venue.now += 2 * DAY;
    day.index(INDEX);
    day.timer(1);
    let after = day.told.iter().rposition(told).unwrap();
    let said = |o: &Outcome| match o {
        Outcome::Feed(FeedMessage::TradingStatus(m)) => m.instrument == FUTURE,
        Outcome::Feed(FeedMessage::MarkPrice(m)) => m.instrument == FUTURE,
        Outcome::Feed(FeedMessage::InstrumentSettled(m)) => m.instrument == FUTURE,
        _ => false,
    };
    assert!(!day.told[after + 1..].iter().any(said));
    let column = day.venue.engine.table().unwrap().columns[usize::from(FUTURE)];
    assert_eq!((column.mark_micro, column.collar_width_ticks), (0, 0));
    let again = day.venue.list(&future(T0 + 9 * DAY));
    assert_eq!(again, Err(ListingError::Used(FUTURE)));
    agree(&day);
    let _ = day.end();
}

#[test]
fn what_was_settled_and_paid_out_is_delisted_and_keeps_its_value() {
    let mut day = Day::new(T0, &[1_000, 1_000], &RULES);
    day.venue.list(&future(T0 + 100 * SECOND)).unwrap();
    day.check();
    day.index(INDEX);
    day.trade(1, 2, FUTURE, 20, e9(1_000));
    day.timer(101);
    assert_eq!(day.venue.delist(FUTURE), held(2));
    day.index(INDEX * 101 / 100);
    let settled = day.venue.engine.table().unwrap().columns[usize::from(FUTURE)];
    assert_eq!(settled.is_settled, 1);
    day.timer(1);
    day.venue.delist(FUTURE).unwrap();
    day.check();
    for _ in 0..3 {
        day.index(INDEX);
        day.timer(1);
    }
    let now = day.venue.engine.table().unwrap().columns[usize::from(FUTURE)];
    assert_eq!(now, settled, "in the proof it is settled for good");
    agree(&day);
    let _ = day.end();
}

#[test]
fn funding_of_what_is_delisted_does_not_stop_the_tables() {
    let mut day = Day::new(T0, &[1_000, 1_000, 1_000], &RULES);
    day.trade(1, 2, PERP, 100, e9(1_000));
    day.order(3, PERP, 3, e9(1_002));
    day.timer(10);
    day.index(INDEX);
    assert!(day.venue.engine.table().unwrap().columns[0].funding_micro > 0);
    day.trade(2, 1, PERP, 97, e9(1_002));
    day.order(1, PERP, -3, e9(1_002));
    day.order(2, PERP, 3, e9(1_002));
    day.order(3, PERP, -3, e9(1_002));
    let holders = (1..=3).filter(|n| day.position(*n, PERP) != 0).count();
    assert_eq!(holders, 0);
    day.venue.delist(PERP).unwrap();
    day.check();
    day.index(INDEX);
    let column = day.venue.engine.table().unwrap().columns[0];
    assert_eq!((column.funding_micro, column.mark_micro), (0, 0));
    assert_eq!(day.venue.engine.counters().tables_refused, 0);
    agree(&day);
    let _ = day.end();
}

#[test]
fn what_cannot_be_listed_or_delisted_is_refused_for_its_reason() {
    let mut venue: Venue<LadderBook> = Venue::new(64);
    let good = future(T0 + DAY);
    let at = |id: u16| InstrumentSpec {
        id: InstrumentId(id),
        ..good
    };
    assert_eq!(venue.list(&at(16)), Err(ListingError::Id(16, 16)));
    assert_eq!(venue.list(&at(CALL)), Err(ListingError::Used(CALL)));
    assert_eq!(venue.list(&future(T0)), Err(ListingError::Expired(T0)));
    let flat = InstrumentSpec {
        book_width_ticks: 0,
        ..good
    };
    assert!(matches!(venue.list(&flat), Err(ListingError::Band(_))));
    let none = InstrumentSpec {
        order_lots_max: 0,
        ..good
    };
    assert_eq!(venue.list(&none), Err(ListingError::Limits));
    let room = DOMAIN_LOTS_MAX - 3 * 6_000;
    let large = InstrumentSpec {
        position_lots_max: room + 1,
        ..good
    };
    assert_eq!(
        venue.list(&large),
        Err(ListingError::Positions(DOMAIN_LOTS_MAX + 1))
    );
    assert_eq!(venue.delist(FUTURE), Err(ListingError::NotListed(FUTURE)));
    assert_eq!(venue.delist(200), Err(ListingError::NotListed(200)));
    let all = InstrumentSpec {
        position_lots_max: room,
        ..good
    };
    venue.list(&all).unwrap();
    // What is delisted leaves its share of the limits to others.
    assert!(venue.list(&at(8)).is_err());
    venue.delist(FUTURE).unwrap();
    venue.list(&at(8)).unwrap();
    venue.bind(5, 1);
    venue.venue(&InRiskRules {
        vault_account: 5,
        vault_instrument: PUT,
        ..RULES
    });
    assert_eq!(venue.delist(PUT), Err(ListingError::Vault(PUT)));
}
