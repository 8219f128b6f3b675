//! Where the demo's orders come from: recorded flow mapped onto requests ([`lobster`], [`recorded`]) or the
//! seeded synthetic one ([`synthetic`]).

pub(crate) mod lobster;
pub(crate) mod market;
pub(crate) mod reconcile;
pub(crate) mod recorded;
pub(crate) mod synthetic;

use crate::scenario::{Listing, Scenario};
use anyhow::{Context as _, bail};
use firmware::wire::order::{
    Cancel, MassCancel, NewOrder, ORD_LIMIT, ORD_MARKET, Replace, Request, SCOPE_ALL, Withdraw,
};
use firmware::wire::sbe::{BYTE_NULL, PRICE_NULL};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Recorded messages that are replayed per second of trading at most: the fills among them must stay
/// within what a prover on two cores keeps up with.
pub(crate) const MESSAGES_PER_SECOND_MAX: u64 = 400;

/// One request, prices in ticks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Ask {
    /// A new order; no price: a market order.
    New {
        side: u8,
        price_ticks: Option<i64>,
        lots: i64,
        tif: u8,
        flags: u8,
        stp: u8,
    },
    /// New price and open quantity for an order.
    Replace {
        orig: u64,
        price_ticks: i64,
        lots: i64,
        flags: u8,
    },
    /// Takes an order off.
    Cancel { orig: u64 },
    /// Takes all orders of the account off; 255: both sides.
    MassCancel { side: u8 },
    /// Moves money out, micro-units.
    Withdraw { amount: i64 },
}

/// A request of an account.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) account: u32,
    /// 65535: all, in a mass cancel.
    pub(crate) instrument: u16,
    pub(crate) ask: Ask,
}

/// A recorded request: when, from whom, what. The client's order id is the number of the step in the
/// member's list, from 1, so `orig` of a later step is fixed in advance.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Step {
    /// ns since the start of trading.
    pub(crate) at_ns: u64,
    pub(crate) member: u32,
    pub(crate) order: Order,
}

impl Order {
    /// The request as it stands on the wire; the listing gives the tick.
    pub(crate) fn request(&self, cl_ord_id: u64, listings: &[Listing]) -> Request {
        let price = |ticks: i64| {
            listings
                .iter()
                .find(|l| l.id == self.instrument)
                .map_or(PRICE_NULL, |l| l.wire_price(ticks))
        };
        let (account, instrument) = (self.account, self.instrument);
        match self.ask {
            Ask::New {
                side,
                price_ticks,
                lots,
                tif,
                flags,
                stp,
            } => Request::NewOrder(NewOrder {
                cl_ord_id,
                price: price_ticks.map_or(PRICE_NULL, price),
                quantity: lots,
                expire_time: 0,
                smp_id: 0,
                account,
                instrument,
                side,
                ord_type: if price_ticks.is_some() {
                    ORD_LIMIT
                } else {
                    ORD_MARKET
                },
                time_in_force: tif,
                flags,
                stp_mode: stp,
                mmp_group: 0,
                pad1: 0,
            }),
            Ask::Replace {
                orig,
                price_ticks,
                lots,
                flags,
            } => Request::Replace(Replace {
                cl_ord_id,
                order_id: 0,
                orig_cl_ord_id: orig,
                price: price(price_ticks),
                quantity: lots,
                account,
                instrument,
                flags,
                pad1: 0,
            }),
            Ask::Cancel { orig } => Request::Cancel(Cancel {
                cl_ord_id,
                order_id: 0,
                orig_cl_ord_id: orig,
                account,
                instrument,
                pad1: 0,
            }),
            Ask::MassCancel { side } => Request::MassCancel(MassCancel {
                cl_ord_id,
                account,
                instrument,
                side,
                scope: SCOPE_ALL,
                mmp_group: BYTE_NULL,
                pad1: 0,
                pad2: 0,
                pad3: 0,
            }),
            Ask::Withdraw { amount } => Request::Withdraw(Withdraw {
                cl_ord_id,
                amount,
                account,
                pad1: 0,
            }),
        }
    }
}

/// The scenario of `--flow PATH`: a folder is one of our journals, a file is LOBSTER messages.
pub(crate) fn load(
    path: &Path,
    seed: u64,
    seconds: u64,
    accounts: u32,
    now_s: u64,
) -> anyhow::Result<Scenario> {
    let meta =
        std::fs::metadata(path).with_context(|| format!("cannot read flow {}", path.display()))?;
    let scenario = if meta.is_dir() {
        recorded::scenario(path, seed, seconds, now_s)
    } else {
        lobster::scenario(path, seed, seconds, accounts)
    };
    let scenario = scenario.with_context(|| format!("flow {}", path.display()))?;
    if let crate::scenario::Source::Recorded(steps) = &scenario.source
        && steps.is_empty()
    {
        bail!("flow {} has nothing that can be replayed", path.display());
    }
    Ok(scenario)
}

/// Client order ids of steps, handed out per member in the order of the steps.
#[derive(Default, Debug)]
pub(crate) struct ClientIds(std::collections::BTreeMap<u32, u64>);

impl ClientIds {
    /// The id of the member's next step.
    pub(crate) fn next(&mut self, member: u32) -> u64 {
        let id = self.0.entry(member).or_default();
        *id += 1;
        *id
    }
}
