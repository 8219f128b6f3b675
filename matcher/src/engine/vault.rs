//! The hedging vault: an account whose net delta the engine brings back under its threshold after each settlement,
//! by an ordinary order under the ordinary checks.

use super::incoming::{Incoming, passing_id};
use super::{Engine, Stamp};
use crate::book::OrderBook;
use crate::outbox::Outbox;
use firmware::units::{AccountId, InstrumentId, PriceTicks, Side};
use firmware::wire::order::STP_CANCEL_TAKER;

impl<B: OrderBook> Engine<B> {
    /// Net delta of an account, units of underlying x 1e9.
    #[must_use]
    pub fn net_delta_e9(&self, id: AccountId) -> i128 {
        let held = self.accounts.get(id).map(|a| a.leaf.positions.iter());
        let columns = &self.table.columns;
        held.map_or(0, |held| {
            held.zip(columns)
                .map(|(lots, c)| i128::from(*lots) * i128::from(c.delta_e9))
                .sum()
        })
    }

    /// Sends the vault's order where its net delta is beyond the threshold. What does not fill at once is gone.
    pub(super) fn hedge_vault(&mut self, stamp: &Stamp, out: &mut Outbox) {
        let rules = self.rules.now;
        let (id, i) = (AccountId(rules.vault_account), rules.vault_instrument);
        if id.0 == 0 {
            return;
        }
        let (net, lot) = (
            self.net_delta_e9(id),
            i128::from(self.table.columns[usize::from(i)].delta_e9),
        );
        let Ok((lo, hi)) = self.collar(usize::from(i)) else {
            return;
        };
        if net.abs() <= i128::from(rules.vault_delta_e9) || lot <= 0 {
            return;
        }
        // To the whole lot that leaves the least.
        let lots = (net.abs() + lot / 2) / lot;
        let most = self.listed(usize::from(i)).spec.order_lots_max;
        let lots = i64::try_from(lots).unwrap_or(i64::MAX).min(most);
        let side = if net > 0 { Side::Sell } else { Side::Buy };
        if lots == 0 {
            return;
        }
        let member = self.accounts.at(id).member;
        let order = Incoming {
            name: passing_id(stamp, 0),
            member,
            account: id,
            instrument: InstrumentId(i),
            side,
            limit: PriceTicks(if side == Side::Buy { hi } else { lo }),
            lots,
            filled: 0,
            takes_at_once: true,
            fills_whole: false,
            is_quote: false,
            stp_mode: STP_CANCEL_TAKER,
            flags: 0,
            mmp_group: 0,
            smp_id: 0,
            expire_time: 0,
            cl_ord_id: 0,
            client_seq: 0,
            rx_time: 0,
        };
        let own = Stamp { member, ..*stamp };
        if self.admit(&own, &order, None).is_ok() {
            self.place(&own, &order, out);
        }
    }
}
