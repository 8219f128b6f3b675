//! What is not a snapshot is refused with a reason, whatever is wrong with it. That a snapshot is the whole
//! state is shown by `engine_properties`: each of its streams goes on from two of them.

mod common;

use common::{ACCOUNTS, PERP, Venue};
use firmware::limits::{MEMBERS, TIER_INSTRUMENTS};
use firmware::wire::order::{NewOrder, ORD_LIMIT, TIF_GTC};
use matcher::book::LadderBook;
use matcher::engine::{Engine, EngineLimits};
use matcher::snapshot::{SNAPSHOT_LAYOUT, SnapshotError};

const LIMITS: EngineLimits = EngineLimits {
    accounts: ACCOUNTS,
    orders: 64,
    members: MEMBERS as u32,
    instruments: TIER_INSTRUMENTS as u16,
};

/// A venue with a book, positions and an open batch.
fn snapshot() -> Vec<u8> {
    let mut venue: Venue<LadderBook> = Venue::new(LIMITS.orders);
    for who in 1..=4 {
        venue.bind(who, who);
        venue.deposit(who, 1_000_000_000).expect("it follows");
    }
    venue.adopt();
    venue.oracle();
    for n in 1..40u32 {
        let who = 1 + n % 4;
        let order = NewOrder {
            cl_ord_id: u64::from(n),
            price: i64::from(990 + n * 7 % 20) * 100_000_000,
            quantity: i64::from(1 + n % 5),
            account: who,
            instrument: PERP,
            side: (n % 2) as u8,
            ord_type: ORD_LIMIT,
            time_in_force: TIF_GTC,
            ..bytemuck::Zeroable::zeroed()
        };
        venue.request(who, order);
    }
    let counters = venue.engine.counters();
    assert!(counters.fills > 10 && !venue.engine.batch_is_empty());
    let mut bytes = Vec::new();
    venue.engine.save(&mut bytes);
    bytes
}

fn load(mut bytes: &[u8]) -> Result<Engine<LadderBook>, SnapshotError> {
    let engine = Engine::load(LIMITS, &mut bytes)?;
    if bytes.is_empty() {
        Ok(engine)
    } else {
        Err(SnapshotError::Long)
    }
}

#[test]
fn a_snapshot_that_is_cut_short_or_goes_on_is_refused() {
    let mut bytes = snapshot();
    assert!(load(&bytes).is_ok());
    for end in (0..bytes.len()).step_by(13) {
        assert_eq!(load(&bytes[..end]).unwrap_err(), SnapshotError::Short);
    }
    bytes.push(0);
    assert_eq!(load(&bytes).unwrap_err(), SnapshotError::Long);
}

#[test]
fn another_layout_and_other_limits_are_refused() {
    let bytes = snapshot();
    let mut other = bytes.clone();
    other[4..8].copy_from_slice(&(SNAPSHOT_LAYOUT + 1).to_le_bytes());
    let error = load(&other).unwrap_err();
    assert_eq!(error.to_string(), "the snapshot's layout cannot be");
    assert_eq!(
        load(b"not a snapshot").unwrap_err().to_string(),
        "part ENGN of the snapshot does not begin where it should"
    );
    for limits in [
        EngineLimits {
            orders: 3,
            ..LIMITS
        },
        EngineLimits {
            accounts: 2,
            ..LIMITS
        },
        EngineLimits {
            members: 2,
            ..LIMITS
        },
    ] {
        assert!(Engine::<LadderBook>::load(limits, &mut bytes.as_slice()).is_err());
    }
}

#[test]
fn any_flipped_bit_is_refused_or_gives_another_state_and_never_a_panic() {
    let bytes = snapshot();
    let hash = load(&bytes).unwrap().state_hash();
    let (mut refused, mut other, mut same) = (0, 0, 0);
    for at in (0..bytes.len()).step_by(3) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        match load(&flipped) {
            Err(_) => refused += 1,
            Ok(engine) => {
                let mut again = Vec::new();
                engine.save(&mut again);
                if engine.state_hash() == hash {
                    // Counters and names that the hash does not cover.
                    same += 1;
                } else {
                    other += 1;
                }
                assert!(again != bytes, "byte {at} is read by nobody");
            }
        }
    }
    assert!(refused > 300 && other > 300, "{refused} {other} {same}");
}
