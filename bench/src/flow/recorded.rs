//! Our own journal as a flow: the admitted requests in it are sent again by stand-ins for the same members,
//! at the same relative times, against the same instruments, index and deposits.

use super::{Ask, ClientIds, Order, Step};
use crate::scenario::{IndexModel, Kind, Listing, Member, Role, Scenario, Source};
use anyhow::{Context as _, ensure};
use firmware::wire::input::{
    InAccount, InCancel, InDeposit, InInstrument, InMassCancel, InNewOrder, InOracle, InRefused,
    InReplace, InWithdraw,
};
use firmware::wire::order::{ORD_MARKET, TIF_GTC};
use firmware::wire::sbe::{self, Message};
use journal::Reader;
use std::collections::BTreeMap;
use std::path::Path;

/// Requests that are replayed per second of trading at most.
const REQUESTS_PER_SECOND_MAX: u64 = 2_000;

/// What the pass over the journal collects.
#[derive(Default)]
struct Recording {
    listings: BTreeMap<u16, Listing>,
    accounts: BTreeMap<u32, u32>,
    deposits: BTreeMap<u32, u64>,
    /// (time, index).
    index: Vec<(u64, i64)>,
    vols_e9: [i64; 4],
    /// Time of the first record.
    began_ns: Option<u64>,
    /// Steps with their times as recorded.
    steps: Vec<Step>,
    ids: ClientIds,
    /// Our client order id by member and the recorded one.
    names: BTreeMap<(u32, u64), u64>,
    unmapped: BTreeMap<String, u64>,
    /// Members that left an order resting.
    makers: std::collections::BTreeSet<u32>,
}

impl Recording {
    fn miss(&mut self, why: &str) {
        *self.unmapped.entry(why.to_owned()).or_default() += 1;
    }

    fn record(
        &mut self,
        time_ns: u64,
        member: u32,
        template: u16,
        body: &[u8],
    ) -> anyhow::Result<()> {
        self.began_ns.get_or_insert(time_ns);
        let bad = |e: sbe::SbeError| anyhow::anyhow!("{e}");
        match template {
            InInstrument::TEMPLATE => self.list(&sbe::read(body).map_err(bad)?)?,
            InAccount::TEMPLATE => {
                let m: InAccount = sbe::read(body).map_err(bad)?;
                self.accounts.insert(m.account, m.member);
            }
            InDeposit::TEMPLATE => {
                let m: InDeposit = sbe::read(body).map_err(bad)?;
                *self.deposits.entry(m.account).or_default() += m.amount;
            }
            InOracle::TEMPLATE => {
                let m: InOracle = sbe::read(body).map_err(bad)?;
                self.index.push((time_ns, m.index_micro));
                self.vols_e9 = [m.vol0_e9, m.vol1_e9, m.vol2_e9, m.vol3_e9];
            }
            InRefused::TEMPLATE => self.miss("request that the gate had refused"),
            600..=610 => {
                if let Some((name, order)) = self.request(member, template, body).map_err(bad)? {
                    let ours = self.ids.next(member);
                    self.names.insert((member, name), ours);
                    self.steps.push(Step {
                        at_ns: time_ns,
                        member,
                        order,
                    });
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn list(&mut self, m: &InInstrument) -> anyhow::Result<()> {
        let end = m
            .symbol
            .iter()
            .position(|&b| b == 0)
            .unwrap_or(m.symbol.len());
        let symbol = std::str::from_utf8(&m.symbol[..end])
            .context("a symbol is no text")?
            .to_owned();
        let kind = match m.kind {
            0 => Kind::Perpetual,
            1 => Kind::Call,
            2 => Kind::Put,
            other => anyhow::bail!("{symbol}: kind {other} is not known"),
        };
        let listing = Listing {
            id: m.instrument,
            symbol,
            kind,
            strike_micro: m.strike_micro,
            expiry_unix_s: m.expiry / 1_000_000_000,
            expiry_slot: m.vol_slot,
            lot_e9: m.lot_e9,
            tick_micro: m.tick_micro,
            collar_ppm: m.collar_ppm,
            book_base_ticks: m.base_ticks,
            book_width_ticks: m.width_ticks,
            order_lots_max: m.order_lots_max,
            position_lots_max: m.position_lots_max,
        };
        self.listings.insert(m.instrument, listing);
        Ok(())
    }

    /// The request with its recorded name; `None` when it cannot be sent again, which is counted.
    fn request(
        &mut self,
        member: u32,
        template: u16,
        body: &[u8],
    ) -> Result<Option<(u64, Order)>, sbe::SbeError> {
        let order = |account, instrument, ask| Order {
            account,
            instrument,
            ask,
        };
        Ok(match template {
            InNewOrder::TEMPLATE => {
                let m: InNewOrder = sbe::read(body)?;
                if m.time_in_force == TIF_GTC && m.ord_type != ORD_MARKET {
                    self.makers.insert(member);
                }
                let ask = Ask::New {
                    side: m.side,
                    price_ticks: (m.ord_type != ORD_MARKET).then_some(i64::from(m.price_ticks)),
                    lots: m.lots,
                    tif: m.time_in_force,
                    flags: m.flags,
                    stp: m.stp_mode,
                };
                Some((m.cl_ord_id, order(m.account, m.instrument, ask)))
            }
            InReplace::TEMPLATE => {
                let m: InReplace = sbe::read(body)?;
                self.resolve(member, m.orig_cl_ord_id).map(|orig| {
                    let ask = Ask::Replace {
                        orig,
                        price_ticks: i64::from(m.price_ticks),
                        lots: m.lots,
                        flags: m.flags,
                    };
                    (m.cl_ord_id, order(m.account, m.instrument, ask))
                })
            }
            InCancel::TEMPLATE => {
                let m: InCancel = sbe::read(body)?;
                self.resolve(member, m.orig_cl_ord_id).map(|orig| {
                    (
                        m.cl_ord_id,
                        order(m.account, m.instrument, Ask::Cancel { orig }),
                    )
                })
            }
            InMassCancel::TEMPLATE => {
                let m: InMassCancel = sbe::read(body)?;
                Some((
                    m.cl_ord_id,
                    order(m.account, m.instrument, Ask::MassCancel { side: m.side }),
                ))
            }
            InWithdraw::TEMPLATE => {
                let m: InWithdraw = sbe::read(body)?;
                Some((
                    m.cl_ord_id,
                    order(m.account, 0, Ask::Withdraw { amount: m.amount }),
                ))
            }
            _ => {
                self.miss("request of a kind that is not known");
                None
            }
        })
    }

    fn resolve(&mut self, member: u32, name: u64) -> Option<u64> {
        let ours = self.names.get(&(member, name)).copied();
        if ours.is_none() {
            self.miss(if name == 0 {
                "request that names its order only by the venue's id"
            } else {
                "request about an order from before the recording"
            });
        }
        ours
    }

    fn members(&self) -> Vec<Member> {
        let mut out: BTreeMap<u32, Member> = BTreeMap::new();
        for (&account, &id) in &self.accounts {
            let role = if self.makers.contains(&id) {
                Role::Maker
            } else {
                Role::Taker
            };
            let name = format!("member-{id}");
            out.entry(id)
                .or_insert_with(|| Member {
                    id,
                    name,
                    role,
                    accounts: Vec::new(),
                })
                .accounts
                .push(account);
        }
        out.into_values().collect()
    }
}

/// The scenario of a journal folder, or of a data folder that has one.
pub(crate) fn scenario(
    dir: &Path,
    seed: u64,
    seconds: u64,
    now_s: u64,
) -> anyhow::Result<Scenario> {
    let inner = dir.join("journal");
    let mut reader = Reader::open(if inner.is_dir() { &inner } else { dir })?;
    let mut r = Recording::default();
    while let Some(view) = reader.next()? {
        let h = view.header;
        r.record(h.time_ns, h.session, h.template, view.body)
            .with_context(|| format!("record {}", h.seq))?;
    }
    ensure!(!r.listings.is_empty(), "the journal lists no instrument");
    build(r, seed, seconds, now_s)
}

fn build(mut r: Recording, seed: u64, seconds: u64, now_s: u64) -> anyhow::Result<Scenario> {
    let known = |r: &Recording, s: &Step| r.accounts.get(&s.order.account) == Some(&s.member);
    ensure!(
        r.steps.iter().all(|s| known(&r, s)),
        "a request is not of a member with that account"
    );
    let most = (seconds * REQUESTS_PER_SECOND_MAX) as usize;
    if r.steps.len() > most {
        let why = format!("beyond {REQUESTS_PER_SECOND_MAX} requests for each second of trading");
        r.unmapped.insert(why, (r.steps.len() - most) as u64);
        r.steps.truncate(most);
    }
    let first = r.steps.first().map_or(0, |s| s.at_ns);
    let span = r
        .steps
        .last()
        .map_or(1, |s| u128::from((s.at_ns - first).max(1)));
    let scale = |t: u64| {
        (u128::from(t.saturating_sub(first)) * u128::from(seconds) * 1_000_000_000 / span) as u64
    };
    let start_micro = r
        .index
        .iter()
        .rev()
        .find(|p| p.0 <= first)
        .or(r.index.first())
        .map(|p| p.1);
    let start_micro = start_micro.context("the journal has no oracle report")?;
    let limit = seconds * 1_000_000_000;
    let path = r
        .index
        .iter()
        .filter(|p| p.0 > first)
        .map(|p| (scale(p.0), p.1))
        .filter(|p| p.0 <= limit);
    let path: Vec<_> = path.collect();
    // Options keep their time to expiry.
    let later = now_s.saturating_sub(r.began_ns.unwrap_or(0) / 1_000_000_000);
    let mut listings: Vec<Listing> = r.listings.values().cloned().collect();
    listings
        .iter_mut()
        .filter(|l| l.kind != Kind::Perpetual)
        .for_each(|l| l.expiry_unix_s += later);
    r.steps.iter_mut().for_each(|s| s.at_ns = scale(s.at_ns));
    Ok(Scenario {
        title: format!("recorded flow: {} requests of a journal", r.steps.len()),
        seed,
        seconds,
        listings,
        members: r.members(),
        deposits: r.deposits,
        index: IndexModel {
            start_micro,
            path,
            step_ppm: 0,
            reversion_ppm: 0,
            jump_chance_ppm: 0,
            vols_e9: r.vols_e9,
        },
        source: Source::Recorded(r.steps),
        unmapped: r.unmapped,
        market: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;

    fn body<M: Message>(m: &M) -> Vec<u8> {
        bytemuck::bytes_of(m).to_vec()
    }

    fn listing() -> InInstrument {
        let mut symbol = [0; 16];
        symbol[..3].copy_from_slice(b"X-P");
        InInstrument {
            strike_micro: 0,
            expiry: 0,
            lot_e9: 1_000_000,
            tick_micro: 100_000,
            order_lots_max: 1_000,
            position_lots_max: 10_000,
            base_ticks: 1,
            width_ticks: 1_000_000,
            collar_ppm: 50_000,
            instrument: 0,
            kind: 0,
            vol_slot: 0,
            symbol,
            state: 2,
            ..InInstrument::zeroed()
        }
    }

    fn new_order(cl_ord_id: u64) -> InNewOrder {
        InNewOrder {
            rx_time: 0,
            client_seq: 1,
            cl_ord_id,
            lots: 5,
            expire_time: 0,
            smp_id: 0,
            price_ticks: 600_000,
            account: 3,
            instrument: 0,
            side: 1,
            ord_type: 0,
            time_in_force: 0,
            flags: 1,
            stp_mode: 0,
            mmp_group: 0,
        }
    }

    fn cancel(orig_cl_ord_id: u64, order_id: u64) -> InCancel {
        InCancel {
            rx_time: 0,
            client_seq: 2,
            cl_ord_id: 99,
            order_id,
            orig_cl_ord_id,
            account: 3,
            instrument: 0,
            pad1: 0,
        }
    }

    fn oracle(index_micro: i64) -> InOracle {
        InOracle {
            report_no: 1,
            timestamp: 0,
            index_micro,
            vol0_e9: 1,
            vol1_e9: 2,
            vol2_e9: 3,
            vol3_e9: 4,
            key_id: 1,
            pad1: 0,
            signature: [0; 64],
        }
    }

    #[test]
    fn requests_are_renamed_rescaled_and_what_cannot_be_sent_is_counted() {
        const S: u64 = 1_000_000_000;
        let mut r = Recording::default();
        let mut put = |time, member, template, body: Vec<u8>| {
            r.record(time, member, template, &body)
                .expect("a good record")
        };
        put(1, 0, InInstrument::TEMPLATE, body(&listing()));
        put(
            1,
            0,
            InAccount::TEMPLATE,
            body(&InAccount {
                account: 3,
                member: 7,
            }),
        );
        put(
            2,
            0,
            InDeposit::TEMPLATE,
            body(&InDeposit {
                queue_index: 0,
                amount: 50,
                account: 3,
                owner: [1; 20],
                key: [0; 32],
            }),
        );
        put(S, 0, InOracle::TEMPLATE, body(&oracle(60_000)));
        put(2 * S, 7, InNewOrder::TEMPLATE, body(&new_order(500)));
        put(3 * S, 0, InOracle::TEMPLATE, body(&oracle(61_000)));
        put(4 * S, 7, InCancel::TEMPLATE, body(&cancel(500, 0)));
        put(4 * S, 7, InCancel::TEMPLATE, body(&cancel(0, 12)));
        put(4 * S, 7, InCancel::TEMPLATE, body(&cancel(3, 0)));
        let s = build(r, 1, 10, 1_000).expect("a whole recording");
        let Source::Recorded(steps) = &s.source else {
            panic!("recorded")
        };
        assert_eq!(steps.len(), 2);
        assert_eq!(steps[1].at_ns, 10 * S, "two seconds stretched to ten");
        assert_eq!(
            steps[1].order.ask,
            Ask::Cancel { orig: 1 },
            "500 is the member's first request now"
        );
        assert_eq!(s.unmapped.values().sum::<u64>(), 2);
        assert_eq!(
            (s.index.start_micro, &s.index.path[..]),
            (60_000, &[(5 * S, 61_000)][..])
        );
        assert_eq!(s.deposits, BTreeMap::from([(3, 50)]));
        assert_eq!(s.members[0].role, Role::Maker);
    }

    #[test]
    fn a_folder_without_a_journal_is_refused_in_words() {
        let dir = tempfile::tempdir().expect("a folder");
        let error = scenario(dir.path(), 1, 10, 0)
            .expect_err("empty")
            .to_string();
        assert_eq!(error, "the journal lists no instrument");
    }
}
