//! The engine on the fast book and on its slow twin, through gate and sequencer, over any stream of requests
//! and operator actions: the machine of the matcher's property tests, driven by the fuzzer's bytes.
//!
//! After each step both must have told and sealed the same and be in the same state, and everything that the
//! tests' watch knows must hold; at the end the journal must give the same state.
#![no_main]

#[path = "../../../matcher/tests/common/mod.rs"]
mod common;

use common::machine::{Entry, Mix, Step, check};
use fuzz::Bytes;
use libfuzzer_sys::fuzz_target;

const STEPS_MAX: usize = 64;
const ENTRIES_MAX: u32 = 5;

fn away(bytes: &mut Bytes<'_>) -> i64 {
    match bytes.byte() {
        0..200 => bytes.within(-6, 6),
        _ => bytes.within(-700, 700),
    }
}

fn lots(bytes: &mut Bytes<'_>) -> i64 {
    match bytes.byte() {
        0..220 => bytes.within(1, 40),
        _ => bytes.within(0, 12_000),
    }
}

/// Groups run from 1 to 16; zero is none, and 17 does not exist.
fn group(bytes: &mut Bytes<'_>) -> u8 {
    match bytes.byte() {
        0..140 => 0,
        140..240 => bytes.below(3) as u8,
        _ => bytes.below(18) as u8,
    }
}

fn entry(bytes: &mut Bytes<'_>) -> Entry {
    let side = |bytes: &mut Bytes<'_>| {
        bytes.maybe(|b| {
            if b.byte() < 30 {
                (0, 0)
            } else {
                (lots(b), away(b))
            }
        })
    };
    Entry {
        at: bytes.byte(),
        bid: side(bytes),
        ask: side(bytes),
    }
}

fn step(bytes: &mut Bytes<'_>, accounts: u8) -> Step {
    let who = bytes.below(u32::from(accounts)) as u8;
    match bytes.below(64) {
        0..20 => Step::Order {
            who,
            at: bytes.byte(),
            sell: bytes.flag(),
            lots: lots(bytes),
            away: away(bytes),
            kind: bytes.below(14) as u8,
            flags: bytes.below(9) as u8,
            stp: bytes.below(5) as u8,
            smp_id: u64::from(bytes.below(3)),
            group: group(bytes),
            life: u64::from(bytes.below(60)),
        },
        20..25 => Step::Replace {
            who,
            pick: bytes.byte(),
            by_id: bytes.flag(),
            lots: lots(bytes),
            away: away(bytes),
            flags: [0, 1, 8, 9, 2][bytes.below(5) as usize],
        },
        25..27 => Step::Reduce {
            who,
            pick: bytes.byte(),
            by_id: bytes.flag(),
            lots: lots(bytes),
        },
        27..35 => {
            let count = bytes.below(ENTRIES_MAX);
            Step::Quote {
                who,
                entries: (0..count).map(|_| entry(bytes)).collect(),
                flags: [0, 1, 4, 5, 2][bytes.below(5) as usize],
                stp: bytes.below(5) as u8,
                smp_id: u64::from(bytes.below(3)),
                group: group(bytes),
            }
        }
        35..38 => Step::Cancel {
            who,
            pick: bytes.byte(),
            by_id: bytes.flag(),
        },
        38 => Step::MassCancel {
            who,
            all: bytes.flag(),
            at: bytes.maybe(Bytes::byte),
            side: bytes.maybe(Bytes::flag),
            scope: bytes.below(4) as u8,
            group: bytes.maybe(group),
        },
        39 => Step::Withdraw {
            who,
            percent: bytes.within(1, 110),
        },
        40 => Step::Deposit {
            who,
            amount: 1 + bytes.word() % 20_000_000,
        },
        41..44 => Step::Table {
            move_ppm: bytes.within(-25_000, 25_000),
            vol_percent: bytes.within(40, 90),
            fees: bytes.maybe(|b| [(500, -100), (300, 200), (333, -333)][b.below(3) as usize]),
        },
        44 => Step::Oracle,
        45 | 46 => Step::Wait {
            seconds: u64::from(bytes.below(80)),
        },
        47 | 48 => Step::Timer {
            flags: bytes.below(4) as u8,
        },
        49 => Step::Session {
            who,
            event: bytes.below(5) as u8,
            policy: bytes.below(3) as u8,
        },
        50 | 51 => Step::MmpConfig {
            who,
            group: group(bytes),
            window_s: u64::from(bytes.below(20)),
            freeze_s: u64::from(bytes.below(20)),
            lots: bytes.within(0, 200),
            delta_e9: bytes.within(0, 200) * 10_000_000,
            vega: bytes.within(0, 200) * 10_000,
        },
        52 => Step::MmpReset {
            who,
            group: group(bytes),
        },
        53 => Step::KillSwitch {
            who,
            all: bytes.flag(),
            unlock: bytes.below(4) > 0,
        },
        54 => Step::DeadMan {
            who,
            seconds: u64::from(bytes.below(20)),
        },
        55 => Step::OpenOrders {
            who,
            at: bytes.maybe(Bytes::byte),
            after: u64::from(bytes.byte()),
        },
        56 => Step::Positions { who },
        57 => Step::Gap {
            who,
            count: 1 + u64::from(bytes.byte()),
        },
        58..62 => Step::State {
            at: bytes.maybe(Bytes::byte),
            state: [2, 2, 2, 0, 1, 1, 3, 4, 5, 6][bytes.below(10) as usize],
        },
        62 => Step::OperatorCancel {
            member: bytes.maybe(|_| who),
            who: bytes.maybe(|_| who),
            at: bytes.maybe(Bytes::byte),
        },
        _ => Step::Lock {
            who,
            all: bytes.flag(),
            unlock: bytes.below(4) > 0,
        },
    }
}

fuzz_target!(|data: &[u8]| {
    let mut bytes = Bytes::new(data);
    let mix = Mix {
        accounts: 2 + bytes.below(7) as u8,
        stake: [12_000_000, 400_000_000][bytes.below(2) as usize],
        trading: 0,
        wild: false,
        orders: [6, 24][bytes.below(2) as usize],
        steps: STEPS_MAX,
        cases: 1,
        risk: false,
    };
    let mut steps = Vec::new();
    while !bytes.is_empty() && steps.len() < STEPS_MAX {
        steps.push(step(&mut bytes, mix.accounts));
    }
    check(mix, &steps);
});
