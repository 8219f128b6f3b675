//! What an operator may see of the engine between two inputs.

use super::Engine;
use super::incoming::Marks;
use super::tracked::{ORDERS, QUOTES};
use crate::book::{Order, OrderBook};
use firmware::units::AccountId;
use firmware::wire::input::InInstrument;

impl<B: OrderBook> Engine<B> {
    /// Resting orders of an account, the single ones and then those of mass quotes, each by age; with the lots that
    /// each has filled, and whether it is part of a mass quote.
    pub fn orders_of(&self, account: AccountId) -> impl Iterator<Item = (Order, i64, bool)> + '_ {
        let lists = [ORDERS, QUOTES].into_iter();
        lists
            .flat_map(move |list| self.orders.list(account, list))
            .filter_map(|t| {
                let order = self.book.get(t.id)?;
                Some((order, t.filled, order.info.is_quote()))
            })
    }

    /// Instruments that are listed, with their trading states, by rising id.
    pub fn instruments(&self) -> impl Iterator<Item = (&InInstrument, u8)> + '_ {
        let listed = self.instruments.iter().flatten();
        listed.map(|l| (&l.spec, l.state))
    }
}
