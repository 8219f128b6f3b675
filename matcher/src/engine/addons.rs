//! Initial margin beyond the scenarios: a contingency on short options, and a haircut on long ones as collateral.
//!
//! Both depend on the sign of a position, which the scenario statement of the circuit does not know. They are asked of
//! whoever adds risk or takes money out, so the engine is stricter than the circuit and what it seals is provable as
//! ever. Nobody is liquidated for them. Formulas: `RISK.md`.

use super::Engine;
use crate::accounts::{Account, Exposure};
use crate::book::OrderBook;
use firmware::units::Side;
use firmware::wire::input::{KIND_CALL, KIND_EVERLASTING_CALL, KIND_EVERLASTING_PUT, KIND_PUT};

/// A whole, in basis points.
pub(super) const WHOLE_BP: u16 = 10_000;
/// Beyond what any collateral can be.
const MOST: i128 = 1 << 60;

impl<B: OrderBook> Engine<B> {
    /// What must be free beside the initial margin of the scenarios if `extra` joins the open orders and `drop` leaves
    /// them, micro-units. Every set of open orders may fill; no fill makes it larger.
    pub(super) fn addon_micro(
        &self,
        account: &Account,
        extra: Option<Exposure>,
        drop: Option<Exposure>,
    ) -> i64 {
        let rules = &self.rules.now;
        let (short_bp, haircut_bp) = (rules.short_option_bp, rules.option_haircut_bp);
        if short_bp == 0 && haircut_bp == 0 {
            return 0;
        }
        let mut sum: i128 = 0;
        for (i, listed) in self.instruments.iter().enumerate() {
            let Some(listed) = listed else { continue };
            if !is_option(listed.spec.kind) {
                continue;
            }
            let position = account.leaf.positions[i];
            let open = |side: Side| {
                let of = |e: Option<Exposure>| {
                    let is_it = |e: &Exposure| e.instrument == i && e.side == side;
                    e.filter(is_it).map_or(0, |e| e.lots)
                };
                account.open_lots(i, side) + of(extra) - of(drop)
            };
            let short = (open(Side::Sell) - position).max(0);
            let long = (open(Side::Buy) + position).max(0);
            let lot = i128::from(self.table.index_micro) * i128::from(listed.spec.lot_e9);
            let notional = (lot + 999_999_999) / 1_000_000_000;
            let claim = i128::from(self.margin.column(i).mark_micro.max(0));
            sum += part_bp(i128::from(short) * notional, short_bp);
            sum += part_bp(i128::from(long) * claim, haircut_bp);
        }
        sum.min(MOST) as i64
    }
}

/// A part of an amount that is not below zero, rounded up.
const fn part_bp(amount: i128, bp: u16) -> i128 {
    (amount * bp as i128 + WHOLE_BP as i128 - 1) / WHOLE_BP as i128
}

const fn is_option(kind: u8) -> bool {
    matches!(
        kind,
        KIND_CALL | KIND_PUT | KIND_EVERLASTING_CALL | KIND_EVERLASTING_PUT
    )
}
