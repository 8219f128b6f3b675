//! The range that follows volatility: what the engine says after each table is what the model alone comes to, in the
//! replay and from a snapshot too; a change waits for its notice and goes on from the range in force.

mod common;

use common::{ACCOUNTS, INDEX, SECOND, T0, Venue};
use firmware::units::TimeNs;
use firmware::wire::input::InVolModel;
use matcher::book::LadderBook;
use matcher::engine::{Engine, EngineLimits, check_vol_model, vol_model};
use matcher::outbox::Outbox;
use matcher::sequencer::Sequencer;
use matcher::volatility::{ModelError, Volatility};

const MODEL: InVolModel = InVolModel {
    effective_time: 0,
    sample_ns: 60 * SECOND,
    ewma_ppm: 60_000,
    horizon0: 5,
    horizon1: 20,
    horizon2: 60,
    weight0_ppm: 450_000,
    weight1_ppm: 350_000,
    weight2_ppm: 200_000,
    cover_samples: 60,
    multiple_milli: 4_000,
    narrowest_ppm: 20_000,
    widest_ppm: 400_000,
    narrow_ppm: 50_000,
};

const LIMITS: EngineLimits = EngineLimits {
    accounts: ACCOUNTS,
    orders: 64,
    members: firmware::limits::MEMBERS as u32,
    instruments: firmware::limits::TIER_INSTRUMENTS as u16,
};

/// An index that is calm for an hour, wild for a quarter of one, and calm again.
fn path(step: u64) -> i64 {
    let wild = (60..75).contains(&step);
    let away = (step as i64 * 7_919 % 201 - 100) * if wild { 300 } else { 5 };
    INDEX + INDEX / 1_000_000 * away
}

fn go_on(
    venue: &mut Venue<LadderBook>,
    twin: &mut Volatility,
    steps: std::ops::Range<u64>,
) -> Vec<u32> {
    steps
        .map(|step| {
            venue.now = T0 + step * 47 * SECOND;
            venue.market.index_micro = path(step);
            venue.adopt();
            twin.observe(TimeNs(venue.now), path(step));
            let range = venue.engine.range_ppm().unwrap();
            assert_eq!(range, twin.range_ppm(), "step {step}");
            range
        })
        .collect()
}

#[test]
fn the_range_is_the_models_and_survives_snapshot_and_replay() {
    let mut venue: Venue<LadderBook> = Venue::new(LIMITS.orders);
    assert_eq!(venue.engine.range_ppm(), None);
    venue.venue(&MODEL);
    let mut twin = Volatility::new(vol_model(&MODEL)).unwrap();
    // Nothing is known yet.
    assert_eq!(venue.engine.range_ppm(), Some(400_000));
    let first = go_on(&mut venue, &mut twin, 0..60);
    let mut bytes = Vec::new();
    venue.engine.save(&mut bytes);
    let loaded: Engine<LadderBook> = Engine::load(LIMITS, &mut &bytes[..]).unwrap();
    assert_eq!(loaded.state_hash(), venue.engine.state_hash());
    venue.engine = loaded;
    let wild = go_on(&mut venue, &mut twin, 60..75);
    let calm = go_on(&mut venue, &mut twin, 75..400);
    assert!(
        first[59] < 60_000 && wild[14] > 150_000,
        "{first:?} {wild:?}"
    );
    assert!(calm[0] > wild[14] / 2 && calm[324] < 60_000, "{calm:?}");
    let mut engine: Engine<LadderBook> = Engine::new(LIMITS).unwrap();
    let (mut sequencer, mut out) = (Sequencer::new(), Outbox::new());
    for record in venue.journal.as_ref().unwrap() {
        record.replay(&mut sequencer, |input| engine.apply(input, &mut out));
    }
    assert_eq!(engine.state_hash(), venue.engine.state_hash());
    assert_eq!(engine.range_ppm(), venue.engine.range_ppm());
}

#[test]
fn another_model_waits_for_its_notice_and_goes_on_from_the_range_in_force() {
    let mut venue: Venue<LadderBook> = Venue::new(LIMITS.orders);
    venue.venue(&MODEL);
    let mut twin = Volatility::new(vol_model(&MODEL)).unwrap();
    go_on(&mut venue, &mut twin, 0..50);
    let other = InVolModel {
        effective_time: venue.now + 200 * SECOND,
        multiple_milli: 8_000,
        narrow_ppm: 1_000,
        ..MODEL
    };
    venue.venue(&other);
    assert_eq!(venue.engine.vol_model(), Some(other));
    // 47 seconds a step: four of them are within the notice.
    let held = go_on(&mut venue, &mut twin, 50..54);
    venue.now += 47 * SECOND;
    venue.adopt();
    assert_eq!(venue.engine.range_ppm(), Some(held[3]));
    let mut bytes = Vec::new();
    venue.engine.save(&mut bytes);
    let loaded: Engine<LadderBook> = Engine::load(LIMITS, &mut &bytes[..]).unwrap();
    assert_eq!(loaded.state_hash(), venue.engine.state_hash());
}

#[test]
fn a_model_that_makes_no_sense_is_refused() {
    assert_eq!(check_vol_model(&MODEL), Ok(()));
    for (bad, why) in [
        (
            InVolModel {
                sample_ns: 0,
                ..MODEL
            },
            ModelError::Sample,
        ),
        (
            InVolModel {
                horizon1: 5,
                ..MODEL
            },
            ModelError::Horizons([5, 5, 60]),
        ),
        // Shocks of a grid of four steps need as many ppm to differ.
        (
            InVolModel {
                narrowest_ppm: 3,
                ..MODEL
            },
            ModelError::Range(3, 400_000),
        ),
        (
            InVolModel {
                narrow_ppm: 0,
                ..MODEL
            },
            ModelError::Narrow(0),
        ),
    ] {
        assert_eq!(check_vol_model(&bad), Err(why));
    }
}
