//! The builder of the risk table: values, collars, and every refusal.
#![expect(clippy::disallowed_types, reason = "the twin is in floats")]

mod pricing_twin;

use firmware::limits::{INSTRUMENTS, LOT_VALUE_MICRO_MAX, SCENARIOS, TIER_INSTRUMENTS};
use firmware::units::{InstrumentId, TimeNs};
use matcher::instrument::{
    Collar, EverlastingTerms, INDEX_MICRO_MAX, InstrumentError, InstrumentKind, InstrumentSpec,
    OptionTerms,
};
use matcher::pricing::{PERIOD_NS_MAX, PricingError};
use matcher::risk_table::{RiskParams, TableError, VolInput, build_table, scenario_index};
use matcher::table::{Column, RiskTable};
use pricing_twin::{YEAR_NS, twin};

const NOW: TimeNs = TimeNs(1_760_000_000_000_000_000);
const EXPIRY: TimeNs = TimeNs(NOW.0 + 30 * 86_400_000_000_000);
const INDEX_MICRO: i64 = 100_000_000_000;
const VOL_E9: i64 = 600_000_000;

/// A thousandth of a BTC a lot, ticks of 0.1 for the perpetual.
fn perpetual(id: u16) -> InstrumentSpec {
    InstrumentSpec {
        id: InstrumentId(id),
        kind: InstrumentKind::Perpetual,
        lot_e9: 1_000_000,
        tick_micro: 100_000,
        collar: Collar::PpmOfIndex(50_000),
        book_base_ticks: 500_000,
        book_width_ticks: 1_000_000,
        order_lots_max: 100_000,
        position_lots_max: 1_000_000,
    }
}

/// The same lot, ticks of 1.
fn option(id: u16, kind: fn(OptionTerms) -> InstrumentKind, strike_micro: i64) -> InstrumentSpec {
    InstrumentSpec {
        kind: kind(OptionTerms {
            strike_micro,
            expiry: EXPIRY,
        }),
        tick_micro: 1_000_000,
        book_base_ticks: 1,
        book_width_ticks: 200_000,
        ..perpetual(id)
    }
}

fn build_at(now: TimeNs, specs: &[InstrumentSpec]) -> Result<Box<RiskTable>, TableError> {
    build_table(
        7,
        now,
        INDEX_MICRO,
        &VolInput::flat(VOL_E9),
        &RiskParams::default(),
        specs,
    )
}

fn build_with(params: RiskParams) -> Result<Box<RiskTable>, TableError> {
    build_table(
        7,
        NOW,
        INDEX_MICRO,
        &VolInput::flat(VOL_E9),
        &params,
        &[perpetual(0)],
    )
}

fn refusal(spec: InstrumentSpec) -> InstrumentError {
    match build_at(NOW, &[spec]) {
        Err(TableError::Instrument { id, source }) if id == spec.id.0 => source,
        other => panic!("expected a refused instrument, got {other:?}"),
    }
}

#[test]
fn a_perpetual_is_worth_the_index_and_its_scenarios_the_shocked_index() {
    let table = build_at(NOW, &[perpetual(3)]).unwrap();
    assert_eq!((table.epoch, table.index_micro), (7, INDEX_MICRO));
    assert_eq!((table.taker_fee_ppm, table.maker_fee_ppm), (500, 0));
    let column = &table.columns[3];
    assert_eq!(column.mark_micro, 100_000_000);
    assert_eq!(
        column.delta_e9, 1_000_000,
        "one micro of the index moves a lot by a thousandth"
    );
    assert_eq!(column.tick_value_micro, 100);
    for v in 0..3 {
        for (p, percent) in [84, 88, 92, 96, 100, 104, 108, 112, 116]
            .into_iter()
            .enumerate()
        {
            assert_eq!(
                column.scenario_micro[scenario_index(v, p)],
                percent * 1_000_000
            );
        }
    }
    assert_eq!(
        (column.collar_lo_ticks, column.collar_width_ticks),
        (950_000, 100_001)
    );
    let unlisted = table
        .columns
        .iter()
        .filter(|c| c.collar_width_ticks == 0)
        .count();
    assert_eq!(unlisted, TIER_INSTRUMENTS - 1);
}

#[test]
fn a_table_is_as_wide_as_the_highest_instrument_asks_for() {
    for (highest, columns) in [(0, 16), (15, 16), (16, 17), (255, INSTRUMENTS)] {
        let table = build_at(NOW, &[perpetual(highest)]).unwrap();
        assert_eq!(table.columns.len(), columns);
        assert_ne!(table.columns[usize::from(highest)].tick_value_micro, 0);
    }
}

#[test]
fn option_scenarios_follow_the_twin_by_price_shock_within_volatility_shock() {
    let strikes = [70_000_000_000, 100_000_000_000, 140_000_000_000];
    let mut specs = Vec::new();
    for (i, strike) in strikes.into_iter().enumerate() {
        specs.push(option(2 * i as u16, InstrumentKind::Call, strike));
        specs.push(option(2 * i as u16 + 1, InstrumentKind::Put, strike));
    }
    let table = build_at(NOW, &specs).unwrap();
    let years = (EXPIRY.0 - NOW.0) as f64 / YEAR_NS;
    let close = |ours: i64, per_unit: f64, f: f64| {
        (ours as f64 - per_unit / 1e3).abs() <= f / 1e3 * 1e-6 + 1.0
    };
    for (i, strike) in strikes.into_iter().enumerate() {
        let (call, put) = (&table.columns[2 * i], &table.columns[2 * i + 1]);
        for (v, vol) in [0.45, 0.6, 0.75].into_iter().enumerate() {
            for p in 0..9 {
                let f = INDEX_MICRO as f64 * (0.84 + 0.04 * p as f64);
                let exact = twin(f, strike as f64, vol, years);
                let s = scenario_index(v, p);
                assert!(
                    close(call.scenario_micro[s], exact.call, f),
                    "call {strike} scenario {s}"
                );
                assert!(
                    close(put.scenario_micro[s], exact.put, f),
                    "put {strike} scenario {s}"
                );
            }
        }
        for column in [call, put] {
            assert_eq!(
                column.scenario_micro[scenario_index(1, 4)],
                column.mark_micro
            );
        }
        let exact = twin(INDEX_MICRO as f64, strike as f64, 0.6, years);
        assert!((call.delta_e9 as f64 - exact.delta * 1e6).abs() <= 1.5);
        assert!((put.delta_e9 as f64 - (exact.delta - 1.0) * 1e6).abs() <= 1.5);
        let parity = call.mark_micro - put.mark_micro - (INDEX_MICRO - strike) / 1_000;
        assert!(parity.abs() <= 1, "each lot rounds by itself: {parity}");
    }
}

#[test]
fn delta_is_the_slope_of_the_lot_between_two_tables() {
    let specs = [
        perpetual(0),
        option(1, InstrumentKind::Call, INDEX_MICRO),
        option(2, InstrumentKind::Put, INDEX_MICRO),
    ];
    let at = |index| {
        build_table(
            1,
            NOW,
            index,
            &VolInput::flat(VOL_E9),
            &RiskParams::default(),
            &specs,
        )
        .unwrap()
    };
    // A tenth of a per cent either way: wide against the rounding, narrow against the gamma.
    let (below, here, above) = (
        at(INDEX_MICRO - 100_000_000),
        at(INDEX_MICRO),
        at(INDEX_MICRO + 100_000_000),
    );
    for i in 0..3 {
        let slope = (above.columns[i].mark_micro - below.columns[i].mark_micro) * 5;
        assert!(
            (slope - here.columns[i].delta_e9).abs() <= 20,
            "instrument {i}: slope {slope}"
        );
    }
}

#[test]
fn an_expired_option_is_worth_its_intrinsic_value_and_trades_no_more() {
    let specs = [
        option(0, InstrumentKind::Call, 90_000_000_000),
        option(1, InstrumentKind::Put, 90_000_000_000),
        perpetual(2),
    ];
    for now in [EXPIRY, TimeNs(EXPIRY.0 + 1)] {
        let table = build_at(now, &specs).unwrap();
        let [call, put, perpetual] = [0, 1, 2].map(|i| &table.columns[i]);
        assert_eq!((call.mark_micro, call.delta_e9), (10_000_000, 1_000_000));
        assert_eq!((put.mark_micro, put.delta_e9), (0, 0));
        for v in 0..3 {
            for (p, index) in [84, 88, 92, 96, 100, 104, 108, 112, 116]
                .into_iter()
                .enumerate()
            {
                assert_eq!(
                    call.scenario_micro[scenario_index(v, p)],
                    0.max(index - 90) * 1_000_000
                );
                assert_eq!(
                    put.scenario_micro[scenario_index(v, p)],
                    0.max(90 - index) * 1_000_000
                );
            }
        }
        assert_eq!((call.collar_width_ticks, put.collar_width_ticks), (0, 0));
        assert!(perpetual.collar_width_ticks > 0);
    }
    let before = build_at(TimeNs(EXPIRY.0 - 1), &specs).unwrap();
    assert!(before.columns[0].collar_width_ticks > 0);
}

#[test]
fn a_future_is_a_perpetual_until_it_expires() {
    let future = InstrumentSpec {
        kind: InstrumentKind::Future { expiry: EXPIRY },
        ..perpetual(1)
    };
    let table = build_at(NOW, &[perpetual(0), future]).unwrap();
    assert_eq!(table.columns[0], table.columns[1]);
    let after = build_at(EXPIRY, &[perpetual(0), future]).unwrap();
    assert_eq!(after.columns[1].mark_micro, after.columns[0].mark_micro);
    assert_eq!(after.columns[1].collar_width_ticks, 0);
}

#[test]
fn a_power_perpetual_gains_more_than_it_loses() {
    let squared = InstrumentSpec {
        kind: InstrumentKind::Squared {
            scale_micro: INDEX_MICRO,
        },
        ..perpetual(0)
    };
    let column = build_at(NOW, &[squared]).unwrap().columns[0];
    assert_eq!(
        (column.mark_micro, column.delta_e9),
        (100_000_000, 2_000_000)
    );
    for v in 0..3 {
        // 0.84^2 and 1.16^2 of the mark, at any volatility.
        assert_eq!(column.scenario_micro[scenario_index(v, 0)], 70_560_000);
        assert_eq!(column.scenario_micro[scenario_index(v, 8)], 134_560_000);
    }
    let tiny = InstrumentSpec {
        kind: InstrumentKind::Squared { scale_micro: 1 },
        ..squared
    };
    assert!(matches!(
        build_at(NOW, &[tiny]),
        Err(TableError::LotValue { id: 0, .. })
    ));
}

#[test]
fn an_everlasting_option_has_all_scenarios_and_never_expires() {
    let terms = EverlastingTerms {
        strike_micro: INDEX_MICRO,
        period_ns: 86_400_000_000_000,
    };
    let listed = |id, kind: fn(EverlastingTerms) -> InstrumentKind| InstrumentSpec {
        kind: kind(terms),
        tick_micro: 1_000_000,
        book_base_ticks: 1,
        book_width_ticks: 200_000,
        ..perpetual(id)
    };
    let specs = [
        listed(0, InstrumentKind::EverlastingCall),
        listed(1, InstrumentKind::EverlastingPut),
    ];
    for now in [NOW, TimeNs(NOW.0 + 3_000 * 86_400_000_000_000)] {
        let table = build_at(now, &specs).unwrap();
        let (call, put) = (&table.columns[0], &table.columns[1]);
        // At the money both are worth the same, and move by half of the index, in opposite ways.
        assert!((call.mark_micro - put.mark_micro).abs() <= 1 && call.mark_micro > 1_000_000);
        assert!((call.delta_e9 - 500_000).abs() < 20_000);
        assert_eq!(call.delta_e9 - put.delta_e9, 1_000_000);
        assert!(call.collar_width_ticks > 0 && put.collar_width_ticks > 0);
        let at = |c: &Column, v, p| c.scenario_micro[scenario_index(v, p)];
        assert!(at(call, 2, 4) > at(call, 1, 4) && at(call, 0, 4) < at(call, 1, 4));
        assert!(at(call, 1, 8) > at(call, 1, 4) && at(put, 1, 8) < at(put, 1, 4));
    }
}

#[test]
fn the_collar_is_cut_to_the_book_and_never_empty_while_the_mark_is_inside() {
    let collar = |spec: InstrumentSpec| {
        let column = build_at(NOW, &[spec]).unwrap().columns[usize::from(spec.id.0)];
        (column.collar_lo_ticks, column.collar_width_ticks)
    };
    let book = |base, width, collar| InstrumentSpec {
        book_base_ticks: base,
        book_width_ticks: width,
        collar,
        ..perpetual(0)
    };
    // The mark is 1,000,000 ticks.
    assert_eq!(collar(book(1, 2_000_000, Collar::Ticks(1))), (999_999, 3));
    assert_eq!(
        collar(book(1, 2_000_000, Collar::PpmOfIndex(1))),
        (999_999, 3),
        "a tick at the least"
    );
    assert_eq!(
        collar(book(1_000_000, 5, Collar::Ticks(100))),
        (1_000_000, 5)
    );
    assert_eq!(collar(book(999_999, 2, Collar::Ticks(100))), (999_999, 2));
    assert_eq!(
        collar(book(1_000_101, 5, Collar::Ticks(100))),
        (0, 0),
        "the book lies above the collar"
    );
    assert_eq!(
        collar(book(1, 900, Collar::Ticks(100))),
        (0, 0),
        "the book lies below the collar"
    );
    assert_eq!(
        collar(book(1, 2_000_000, Collar::Ticks(u32::MAX))),
        (475_713, (1 << 20) - 1),
        "bounded by the circuit"
    );
    // A worthless option can still be bought back at the lowest prices of the book.
    let far = InstrumentSpec {
        collar: Collar::Ticks(10),
        ..option(0, InstrumentKind::Call, 900_000_000_000)
    };
    assert_eq!(collar(far), (1, 10));
}

#[test]
fn a_bad_instrument_is_refused_by_its_own_reason() {
    use InstrumentError as E;
    let p = perpetual(0);
    assert_eq!(
        refusal(InstrumentSpec {
            id: InstrumentId(INSTRUMENTS as u16),
            ..p
        }),
        E::Id(INSTRUMENTS as u16)
    );
    assert_eq!(refusal(option(1, InstrumentKind::Put, 0)), E::Strike(0));
    let kind = |kind| InstrumentSpec { kind, ..p };
    for scale_micro in [0, INDEX_MICRO_MAX + 1] {
        let squared = InstrumentKind::Squared { scale_micro };
        assert_eq!(refusal(kind(squared)), E::Scale(scale_micro));
    }
    let ever = |strike_micro, period_ns| {
        kind(InstrumentKind::EverlastingPut(EverlastingTerms {
            strike_micro,
            period_ns,
        }))
    };
    assert_eq!(refusal(ever(-1, 1)), E::Strike(-1));
    for period in [0, PERIOD_NS_MAX + 1] {
        assert_eq!(refusal(ever(1, period)), E::Period(period));
    }
    assert_eq!(refusal(InstrumentSpec { lot_e9: 0, ..p }), E::Lot(0));
    assert_eq!(
        refusal(InstrumentSpec {
            tick_micro: -1,
            ..p
        }),
        E::Tick(-1)
    );
    let fraction = E::TickValueFraction {
        tick_micro: 100_001,
        lot_e9: 1_000_000,
    };
    assert_eq!(
        refusal(InstrumentSpec {
            tick_micro: 100_001,
            ..p
        }),
        fraction
    );
    assert_eq!(
        refusal(InstrumentSpec {
            tick_micro: 65_536_000,
            ..p
        }),
        E::TickValue(65_536)
    );
    assert_eq!(
        refusal(InstrumentSpec {
            collar: Collar::Ticks(0),
            ..p
        }),
        E::Collar
    );
    assert_eq!(
        refusal(InstrumentSpec {
            collar: Collar::PpmOfIndex(0),
            ..p
        }),
        E::Collar
    );
    for (base, width) in [
        (0, 10),
        (10, 0),
        (1 << 24, 1),
        (1, 1 << 24),
        (i32::MAX, i32::MAX),
    ] {
        let spec = InstrumentSpec {
            book_base_ticks: base,
            book_width_ticks: width,
            ..p
        };
        assert_eq!(refusal(spec), E::BookWindow { base, width });
    }
    assert_eq!(
        refusal(InstrumentSpec {
            order_lots_max: 0,
            ..p
        }),
        E::OrderLots(0)
    );
    assert_eq!(
        refusal(InstrumentSpec {
            position_lots_max: 1 << 29,
            ..p
        }),
        E::PositionLots(1 << 29)
    );
    assert_eq!(
        fraction.to_string(),
        "tick_micro 100001 x lot_e9 1000000 is not a multiple of 1e9, so a tick of a lot is no whole number of micro-units"
    );
    assert_eq!(
        build_at(NOW, &[perpetual(4), perpetual(4)]),
        Err(TableError::Duplicate(4))
    );
}

#[test]
fn bad_market_inputs_are_refused_by_name() {
    let build = |index, vol| {
        let specs = [perpetual(0), option(1, InstrumentKind::Call, INDEX_MICRO)];
        build_table(
            1,
            NOW,
            index,
            &VolInput::flat(vol),
            &RiskParams::default(),
            &specs,
        )
    };
    let index_error = |index_micro, shock_ppm, at| {
        Err(TableError::Index {
            index_micro,
            shock_ppm,
            source: PricingError::Forward(at),
        })
    };
    assert_eq!(build(0, VOL_E9), index_error(0, 0, 0));
    assert_eq!(build(-5, VOL_E9), index_error(-5, 0, -5));
    assert_eq!(build(i64::MAX, VOL_E9), index_error(i64::MAX, 0, i64::MAX));
    let near = 17_000_000_000_000;
    assert_eq!(
        build(near, VOL_E9),
        index_error(near, 40_000, 17_680_000_000_000)
    );
    assert_eq!(
        build(INDEX_MICRO, 0),
        Err(TableError::Pricing {
            id: 1,
            source: PricingError::Vol(0)
        })
    );
    let late = InstrumentSpec {
        kind: InstrumentKind::Call(OptionTerms {
            strike_micro: 1,
            expiry: TimeNs(u64::MAX),
        }),
        ..option(1, InstrumentKind::Call, 1)
    };
    let tenor = PricingError::Tenor(u64::MAX - NOW.0);
    assert_eq!(
        build_at(NOW, &[late]),
        Err(TableError::Pricing {
            id: 1,
            source: tenor
        })
    );
}

#[test]
fn a_lot_beyond_the_bound_of_the_circuit_is_refused_in_the_scenario_that_breaks_it() {
    // 926 at the mark, 1,074.2 at +16 %: the bound is 1,073.7.
    let spec = InstrumentSpec {
        lot_e9: 9_260_000,
        ..perpetual(5)
    };
    let expected = TableError::LotValue {
        id: 5,
        value_micro: 1_074_160_000,
        shock_ppm: 160_000,
    };
    assert_eq!(build_at(NOW, &[spec]), Err(expected));
    let fits = InstrumentSpec {
        lot_e9: 9_250_000,
        ..spec
    };
    assert!(build_at(NOW, &[fits]).unwrap().columns[5].scenario_micro[8] <= LOT_VALUE_MICRO_MAX);
}

#[test]
fn bad_parameters_are_refused() {
    let default = RiskParams::default();
    assert!(build_with(default).is_ok());
    let mut equal = default;
    equal.price_shocks_ppm[3] = equal.price_shocks_ppm[2];
    assert_eq!(build_with(equal), Err(TableError::Shocks("price")));
    let mut total_loss = default;
    total_loss.price_shocks_ppm[0] = -1_000_000;
    assert_eq!(build_with(total_loss), Err(TableError::Shocks("price")));
    let no_calm = RiskParams {
        vol_shocks_ppm: [-1, 1, 2],
        ..default
    };
    assert_eq!(build_with(no_calm), Err(TableError::Shocks("volatility")));
    for (taker_ppm, maker_ppm) in [
        (-1, 0),
        (100, -101),
        (100_001, 0),
        (0, 100_001),
        (i32::MIN, i32::MIN),
    ] {
        let fees = RiskParams {
            taker_fee_ppm: taker_ppm,
            maker_fee_ppm: maker_ppm,
            ..default
        };
        assert_eq!(
            build_with(fees),
            Err(TableError::Fees {
                taker_ppm,
                maker_ppm
            })
        );
    }
    assert!(
        build_with(RiskParams {
            taker_fee_ppm: 100,
            maker_fee_ppm: -100,
            ..default
        })
        .is_ok()
    );
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    // Golden: a change of any formula, table or rounding shows here, and breaks every journal.
    let specs = [
        perpetual(0),
        option(1, InstrumentKind::Call, 110_000_000_000),
        option(2, InstrumentKind::Put, 90_000_000_000),
    ];
    let table = build_at(NOW, &specs).unwrap();
    let digest = blake3::hash(table.bytes()).to_hex();
    assert_eq!(size_of::<Column>(), 8 * (SCENARIOS + 3) + 16);
    assert_eq!(
        digest.as_str(),
        "8a32771eb19a70ea21919b4ab6c72dfe901d82e3cda67ec7a9b4cb54371cf52a"
    );
}
