//! The books as bytes: what rests, in time priority, and the order in which slots are handed out. The same
//! for any implementation.
//!
//! ```text
//! slots that were ever used u32 | their generations, u32 each
//! those of them that are free u32 | in the order in which they are handed out, u32 each; then come all others
//! an instrument: listed u8; if it is: base i32 | width u32 | collects u8 | two sides of levels
//! a level: price i32 (zero ends the side) | orders u32 | an order each
//! an order: slot u32 | lots u32 | account u32 | session u32 | cl_ord_id u64 | flags u32
//! ```

use super::{LevelTotal, OrderBook, OrderInfo, reaches};
use crate::snapshot::{Sink, SnapshotError, Source, ensure};
use alloc::vec;
use alloc::vec::Vec;
use firmware::units::{AccountId, ClOrdId, InstrumentId, OrderId, PriceTicks, Side};

const PART: [u8; 4] = *b"BOOK";

/// Writes the books of the first `instruments` instruments.
pub(crate) fn save<B: OrderBook>(book: &B, instruments: usize, to: &mut impl Sink) {
    to.part(PART);
    let capacity = book.capacity() as u32;
    let lives = |slot| {
        book.get(OrderId::new(slot, book.generation(slot)))
            .is_some()
    };
    let is_fresh = |slot: &u32| book.generation(*slot) == 1 && !lives(*slot);
    let used = (1..=capacity).rev().find(|s| !is_fresh(s)).unwrap_or(0);
    to.pod(&used);
    (1..=used).for_each(|slot| to.pod(&book.generation(slot)));
    let free: Vec<u32> = book.free_slots().take_while(|s| *s <= used).collect();
    assert_eq!(
        free.len() + book.live(),
        used as usize,
        "slots are used in rising order"
    );
    to.pod(&(free.len() as u32));
    free.iter().for_each(|slot| to.pod(slot));
    for id in (0..instruments).map(|i| InstrumentId(i as u16)) {
        let Some(band) = book.listed(id) else {
            to.pod(&0u8);
            continue;
        };
        to.pod(&1u8);
        to.pod(&band.base);
        to.pod(&band.width_ticks);
        to.pod(&u8::from(book.is_collecting(id)));
        for side in [Side::Buy, Side::Sell] {
            for price in book.levels(id, side) {
                let LevelTotal { orders, .. } = book.level(id, side, price);
                to.pod(&price);
                to.pod(&orders);
                for o in book.orders(id, side, price) {
                    let OrderInfo {
                        account,
                        session,
                        cl_ord_id,
                        flags,
                    } = o.info;
                    to.pod(&[o.id.slot(), o.lots as u32, account.0, session]);
                    to.pod(&cl_ord_id);
                    to.pod(&flags);
                }
            }
            to.pod(&PriceTicks(0));
        }
    }
}

/// Reads what [`save`] wrote into a book that was just made.
pub(crate) fn load<B: OrderBook>(
    book: &mut B,
    instruments: usize,
    from: &mut impl Source,
) -> Result<(), SnapshotError> {
    from.part(PART)?;
    let capacity = book.capacity() as u32;
    let used: u32 = from.pod()?;
    ensure(used <= capacity, "number of used slots")?;
    let mut generations = vec![0u32; used as usize];
    from.fill(bytemuck::cast_slice_mut(&mut generations))?;
    let free_used: u32 = from.pod()?;
    ensure(free_used <= used, "number of free slots")?;
    let mut free = Vec::with_capacity(capacity as usize);
    free.resize(free_used as usize, 0u32);
    from.fill(bytemuck::cast_slice_mut(&mut free))?;
    // Slots that were met already, free ones or with an order.
    let mut met = Met(vec![false; used as usize]);
    for slot in &free {
        met.meet(*slot)?;
        book.set_generation(*slot, generations[*slot as usize - 1]);
    }
    for id in (0..instruments).map(|i| InstrumentId(i as u16)) {
        if !from.flag("listing")? {
            continue;
        }
        let (base, width) = (from.pod()?, from.pod()?);
        let listed = book.list(id, base, width);
        ensure(listed.is_ok(), "band")?;
        if from.flag("auction")? {
            book.collect(id);
        }
        for side in [Side::Buy, Side::Sell] {
            load_side(book, id, side, &generations, &mut met, from)?;
        }
    }
    ensure(met.0.iter().all(|m| *m), "number of orders")?;
    free.extend(used + 1..=capacity);
    book.set_free_slots(&free);
    Ok(())
}

fn load_side<B: OrderBook>(
    book: &mut B,
    id: InstrumentId,
    side: Side,
    generations: &[u32],
    met: &mut Met,
    from: &mut impl Source,
) -> Result<(), SnapshotError> {
    let mut before = None;
    loop {
        let price: PriceTicks = from.pod()?;
        if price.0 == 0 {
            return Ok(());
        }
        let worse = before.is_none_or(|b: PriceTicks| reaches(side, b, price) && b != price);
        ensure(worse, "order of levels")?;
        let meets = |best| reaches(side, price, best);
        let crosses = book.best(id, side.opposite()).is_some_and(meets);
        ensure(!crosses || book.is_collecting(id), "crossed book")?;
        before = Some(price);
        let orders: u32 = from.pod()?;
        ensure(orders > 0, "empty level")?;
        for _ in 0..orders {
            let [slot, lots, account, session]: [u32; 4] = from.pod()?;
            met.meet(slot)?;
            let info = OrderInfo {
                account: AccountId(account),
                session,
                cl_ord_id: from.pod::<ClOrdId>()?,
                flags: from.pod()?,
            };
            book.hand_out(slot, generations[slot as usize - 1]);
            let rested = book.insert(id, side, price, lots.into(), info);
            ensure(rested.is_ok(), "order")?;
        }
    }
}

/// Which slots, from 1 on, were met.
struct Met(Vec<bool>);

impl Met {
    fn meet(&mut self, slot: u32) -> Result<(), SnapshotError> {
        let place = (slot as usize).checked_sub(1);
        let met = place.and_then(|at| self.0.get_mut(at));
        ensure(met.is_some_and(|m| !core::mem::replace(m, true)), "slot")
    }
}
