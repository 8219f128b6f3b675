//! The engine as bytes, and back; see [`crate::snapshot`].
//!
//! Each structure is taken apart by name, so that a field that is added does not compile until it is either
//! written or said to follow from the others.

use super::incoming::Marks;
use super::states::Clearing;
use super::{CLIENT_IDS, Engine, EngineCounters, EngineLimits, Listed, Member};
use crate::book::{self, OrderBook};
use crate::snapshot::{SNAPSHOT_LAYOUT, Sink, SnapshotError, Source, ensure};
use crate::table::RiskTable;
use alloc::vec;
use alloc::vec::Vec;
use firmware::limits::{LOT_VALUE_MICRO_MAX, TIER_INSTRUMENTS};
use firmware::units::{AccountId, InstrumentId, OrderId, PriceTicks, Side};
use firmware::wire::input::InInstrument;

const BEGIN: [u8; 4] = *b"ENGN";
const TABLE: [u8; 4] = *b"RISK";
const LISTED: [u8; 4] = *b"LIST";
const MEMBERS: [u8; 4] = *b"MEMB";
const RULES: [u8; 4] = *b"RULE";
const END: [u8; 4] = *b"DONE";

impl<B: OrderBook> Engine<B> {
    /// Writes the state between two inputs.
    pub fn save(&self, to: &mut impl Sink) {
        let Self {
            book,
            accounts,
            table,
            has_table,
            instruments,
            members,
            domain,
            settled,
            batch,
            fund_pico,
            deposited_micro,
            withdrawn_micro,
            next_deposit,
            oracle_time,
            next_trade,
            last_seq,
            last_time,
            counters,
            orders,
            groups,
            rules,
            premiums,
            funded_at,
            averages,
            averaged_to,
            ranging,
            // Of the table.
            margin: _,
            // Empty between two inputs.
            quoted: _,
            acting: _,
            // Room.
            spare_table: _,
            // Of the members.
            next_dead_man: _,
        } = self;
        to.part(BEGIN);
        to.pod(&SNAPSHOT_LAYOUT);
        to.pod(domain);
        for n in [
            last_seq.0,
            last_time.0,
            *next_deposit,
            *next_trade,
            *deposited_micro,
            *withdrawn_micro,
            oracle_time.0,
        ] {
            to.pod(&n);
        }
        to.pod(fund_pico);
        save_counters(counters, to);
        to.part(TABLE);
        to.pod(&u8::from(*has_table));
        to.count(table.columns.len());
        to.put(table.bytes());
        settled.save(to);
        to.part(LISTED);
        for listed in instruments {
            to.pod(&u8::from(listed.is_some()));
            if let Some(listed) = listed {
                save_listed(listed, to);
            }
        }
        book::save(book, instruments.len(), to);
        accounts.save(to);
        orders.save(self.resting(), to);
        to.part(MEMBERS);
        for member in members {
            to.pod(&u8::from(member.is_some()));
            if let Some(member) = member {
                self.save_member(member, to);
            }
        }
        groups.save(to);
        batch.save(to);
        to.part(RULES);
        rules.save(to);
        to.pod(funded_at);
        to.pod(averaged_to);
        for i in 0..table.columns.len() {
            premiums[i].save(to);
            averages[i].save(to);
        }
        ranging.save(to);
        to.part(END);
    }

    /// An engine of these limits in the state that was written. Its memory is that of a new one.
    ///
    /// # Errors
    /// When the bytes are not those of a state within these limits.
    pub fn load(limits: EngineLimits, from: &mut impl Source) -> Result<Self, SnapshotError> {
        let fresh = Self::new(limits);
        let mut engine = fresh.map_err(|_| SnapshotError::Value("limits"))?;
        engine.read(from)?;
        Ok(engine)
    }

    fn read(&mut self, from: &mut impl Source) -> Result<(), SnapshotError> {
        from.part(BEGIN)?;
        ensure(from.pod::<u32>()? == SNAPSHOT_LAYOUT, "layout")?;
        self.domain = from.pod()?;
        self.last_seq = from.pod()?;
        self.last_time = from.pod()?;
        self.next_deposit = from.pod()?;
        self.next_trade = from.pod()?;
        self.deposited_micro = from.pod()?;
        self.withdrawn_micro = from.pod()?;
        self.oracle_time = from.pod()?;
        self.fund_pico = from.pod()?;
        self.counters = load_counters(from)?;
        self.read_table(from)?;
        self.settled.load(from)?;
        ensure(self.last_seq.0 < u64::MAX, "last record")?;
        from.part(LISTED)?;
        for i in 0..self.instruments.len() {
            if from.flag("listing")? {
                self.instruments[i] = Some(load_listed(i, self.table.columns.len(), from)?);
            }
        }
        book::load(&mut self.book, self.instruments.len(), from)?;
        self.check_books()?;
        let keep_all = self.accounts.load(from)?;
        self.read_orders(from)?;
        from.part(MEMBERS)?;
        for at in 0..self.members.len() {
            if from.flag("member")? {
                self.members[at] = Some(self.read_member(from)?);
            }
        }
        self.groups.load(from)?;
        let (instruments, accounts) = (self.instruments.len(), self.accounts.count());
        self.batch.load(instruments, accounts, from)?;
        from.part(RULES)?;
        self.rules = super::Rules::load(from)?;
        self.funded_at = from.pod()?;
        self.averaged_to = from.pod()?;
        for i in 0..self.table.columns.len() {
            self.premiums[i] = super::Premium::load(from)?;
            self.averages[i] = super::Average::load(from)?;
        }
        self.ranging = super::Ranging::load(from)?;
        from.part(END)?;
        self.margin.adopt(&self.table);
        self.rebase();
        keep_all.into_iter().for_each(|id| {
            self.prepare_account(id);
        });
        self.next_dead_man = self.first_dead_man();
        Ok(())
    }

    fn read_table(&mut self, from: &mut impl Source) -> Result<(), SnapshotError> {
        from.part(TABLE)?;
        self.has_table = from.flag("risk table")?;
        let columns = from.below(self.instruments.len() + 1, "width of the risk table")?;
        ensure(columns >= TIER_INSTRUMENTS, "width of the risk table")?;
        let mut table = RiskTable::zeroed(columns);
        from.fill(table.bytes_mut())?;
        let bounded = |v: &i64| (-LOT_VALUE_MICRO_MAX..=LOT_VALUE_MICRO_MAX).contains(v);
        let sound = table.columns.iter().all(|c| {
            bounded(&c.mark_micro)
                && c.scenario_micro.iter().all(bounded)
                && c.funding_micro.abs() <= 2 * LOT_VALUE_MICRO_MAX
                && (c.scenario_micro.iter().chain([&c.mark_micro]))
                    .all(|v| bounded(&(v - c.funding_micro)))
                && c.is_settled <= 1
                && c.tick_value_micro < 1 << firmware::limits::TICK_VALUE_BITS
        });
        let fee = |ppm: i32| (-1_000_000..=1_000_000).contains(&ppm);
        ensure(
            sound && fee(table.taker_fee_ppm) && fee(table.maker_fee_ppm),
            "risk table",
        )?;
        self.spare_table = Some(RiskTable::zeroed(columns));
        self.table = table;
        Ok(())
    }

    /// What the books list is what the engine lists, and whom its orders belong to is there.
    fn check_books(&self) -> Result<(), SnapshotError> {
        for (i, listed) in self.instruments.iter().enumerate() {
            let id = InstrumentId(i as u16);
            let band = self.book.listed(id);
            let same = match (listed, band) {
                (None, None) => true,
                (Some(l), Some(band)) => {
                    l.collects == self.book.is_collecting(id)
                        && l.spec.base_ticks == band.base.0
                        && l.spec.width_ticks as u32 == band.width_ticks
                }
                _ => false,
            };
            ensure(same, "listing")?;
        }
        Ok(())
    }

    /// All orders that rest.
    fn resting(&self) -> impl Iterator<Item = OrderId> + '_ {
        (0..self.instruments.len()).flat_map(move |i| {
            let id = InstrumentId(i as u16);
            [Side::Buy, Side::Sell].into_iter().flat_map(move |side| {
                let levels = self.book.levels(id, side);
                levels.flat_map(move |price| self.book.orders(id, side, price).map(|o| o.id))
            })
        })
    }

    fn read_orders(&mut self, from: &mut impl Source) -> Result<(), SnapshotError> {
        let (book, count) = (&self.book, self.accounts.count());
        let place = |id| {
            let order = book.get(id)?;
            let account = order.info.account;
            ((account.0 as usize) < count).then_some((account, order.info.list()))
        };
        self.orders.load(place, from)?;
        let ids: Vec<_> = self.resting().collect();
        for id in ids {
            ensure(self.orders.of(id).id == id, "number of orders")?;
            let order = self.book.get(id).expect("an order that rests");
            if order.info.is_reduce_only() {
                self.accounts.at(order.info.account).reduce_only_orders += 1;
            }
        }
        Ok(())
    }

    /// Of the client's names only those are written by which an order can be found: the others lead nowhere.
    fn save_member(&self, member: &Member, to: &mut impl Sink) {
        let Member {
            cod_policy,
            ids,
            accounts,
            dead_man,
        } = member;
        to.pod(cod_policy);
        to.pod(dead_man);
        to.pods(accounts);
        let names = |(name, id): &&(u64, OrderId)| {
            let order = self.book.get(*id);
            order.is_some_and(|o| o.info.cl_ord_id.0 == *name)
        };
        let named = ids.iter().filter(names);
        to.count(named.clone().count());
        for (name, id) in named {
            to.pod(name);
            to.pod(id);
        }
    }

    fn read_member(&self, from: &mut impl Source) -> Result<Member, SnapshotError> {
        let mut member = Member::new();
        member.cod_policy = from.pod()?;
        member.dead_man = from.pod()?;
        let count = self.accounts.count();
        let held = from.below(count + 1, "number of a member's accounts")?;
        member.accounts = vec![AccountId(0); held];
        from.fill(bytemuck::cast_slice_mut(&mut member.accounts))?;
        let known = member.accounts.iter().all(|a| (a.0 as usize) < count);
        ensure(known, "account of a member")?;
        for _ in 0..from.below(CLIENT_IDS + 1, "number of names")? {
            let (name, id) = (from.pod::<u64>()?, from.pod()?);
            member.ids[name as usize % CLIENT_IDS] = (name, id);
        }
        Ok(member)
    }
}

fn save_counters(counters: &EngineCounters, to: &mut impl Sink) {
    let EngineCounters {
        requests,
        acks,
        fills,
        settlements,
        deposits,
        withdrawals,
        batches,
        fill_rows,
        tables_refused,
        fundings,
        expiries,
        liquidation_steps,
    } = *counters;
    to.pod(&[
        requests,
        acks,
        fills,
        settlements,
        deposits,
        withdrawals,
        batches,
        fill_rows,
        tables_refused,
        fundings,
        expiries,
        liquidation_steps,
    ]);
}

fn load_counters(from: &mut impl Source) -> Result<EngineCounters, SnapshotError> {
    let [
        requests,
        acks,
        fills,
        settlements,
        deposits,
        withdrawals,
        batches,
        fill_rows,
        tables_refused,
        fundings,
        expiries,
        liquidation_steps,
    ] = from.pod()?;
    Ok(EngineCounters {
        requests,
        acks,
        fills,
        settlements,
        deposits,
        withdrawals,
        batches,
        fill_rows,
        tables_refused,
        fundings,
        expiries,
        liquidation_steps,
    })
}

fn save_listed(listed: &Listed, to: &mut impl Sink) {
    let Listed {
        spec,
        state,
        collects,
        shown,
        // Of the specification.
        tick_e9: _,
    } = listed;
    to.pod(spec);
    to.pod(state);
    to.pod(&u8::from(*collects));
    to.pod(&u8::from(shown.is_some()));
    if let Some(clearing) = shown {
        to.pod(&u8::from(clearing.is_some()));
        if let Some(Clearing {
            price,
            lots,
            imbalance,
        }) = clearing
        {
            to.pod(price);
            to.pod(lots);
            to.pod(imbalance);
        }
    }
}

fn load_listed(at: usize, columns: usize, from: &mut impl Source) -> Result<Listed, SnapshotError> {
    let spec: InInstrument = from.pod()?;
    let in_place = usize::from(spec.instrument) == at && at < columns;
    let tick_e9 = spec.tick_micro.checked_mul(1_000);
    let tick_e9 = tick_e9.filter(|t| in_place && *t > 0);
    Ok(Listed {
        spec,
        tick_e9: tick_e9.ok_or(SnapshotError::Value("specification"))?,
        state: from.pod()?,
        collects: from.flag("auction")?,
        shown: if from.flag("auction")? {
            let clears = from.flag("auction")?;
            Some(if clears {
                Some(load_clearing(from)?)
            } else {
                None
            })
        } else {
            None
        },
    })
}

fn load_clearing(from: &mut impl Source) -> Result<Clearing, SnapshotError> {
    Ok(Clearing {
        price: from.pod::<PriceTicks>()?,
        lots: from.pod()?,
        imbalance: from.pod()?,
    })
}
