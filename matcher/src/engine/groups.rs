//! Market-maker protection: groups of an account's orders and quotes that are cancelled together when too
//! much of them fills within a window.
//!
//! A window slides: each fill counts for `window_ns`. A group remembers its last fills one by one; when
//! more come, the two oldest are counted as one with the later one's time, so they count rather longer
//! than too short.

use crate::memory::reserved;
use crate::snapshot::{Sink, SnapshotError, Source, ensure};
use crate::table::Column;
use alloc::vec::Vec;
use firmware::limits::SCENARIOS;
use firmware::units::{AccountId, TimeNs};
use firmware::wire::input::InMmpConfig;
use firmware::wire::report::{MMP_DELTA, MMP_QUANTITY, MMP_VEGA};

/// Begins the groups in a snapshot.
const PART: [u8; 4] = *b"MMPG";
/// Fills of a window that are remembered one by one.
const FILLS: usize = 16;
/// Frozen until it is reset, as reports tell it.
const UNTIL_RESET: u64 = u64::MAX;
/// Places of the lowest and of the highest volatility at the middle price shock among the scenarios.
const VEGA_SCENARIOS: [usize; 2] = [4, SCENARIOS - 5];

#[derive(Clone, Copy, Debug, Default)]
struct Fill {
    time: u64,
    lots: i64,
    delta: i128,
    vega: i128,
}

/// One group.
#[derive(Clone, Debug)]
pub(super) struct Group {
    account: AccountId,
    number: u8,
    config: InMmpConfig,
    pub(super) frozen_until: u64,
    fills: [Fill; FILLS],
    len: usize,
    /// The limit that was reached, until the orders are cancelled.
    pub(super) triggered: Option<u8>,
}

impl Group {
    pub(super) const fn is_frozen(&self, now: TimeNs) -> bool {
        now.0 < self.frozen_until
    }

    fn reset(&mut self) {
        self.frozen_until = 0;
        self.len = 0;
        self.triggered = None;
    }

    /// Counts a fill; a limit that it reaches freezes the group.
    fn count(&mut self, now: TimeNs, signed_lots: i64, column: &Column) {
        let oldest = now.0.saturating_sub(self.config.window_ns);
        let fresh = self.fills[..self.len].iter().position(|f| f.time > oldest);
        let gone = fresh.unwrap_or(self.len);
        self.fills.copy_within(gone..self.len, 0);
        self.len -= gone;
        if self.len == FILLS {
            let first = self.fills[0];
            let second = &mut self.fills[1];
            second.lots += first.lots;
            second.delta += first.delta;
            second.vega += first.vega;
            self.fills.copy_within(1.., 0);
            self.len -= 1;
        }
        let vega =
            column.scenario_micro[VEGA_SCENARIOS[1]] - column.scenario_micro[VEGA_SCENARIOS[0]];
        self.fills[self.len] = Fill {
            time: now.0,
            lots: signed_lots.abs(),
            delta: i128::from(signed_lots) * i128::from(column.delta_e9),
            vega: i128::from(signed_lots) * i128::from(vega),
        };
        self.len += 1;

        let fills = &self.fills[..self.len];
        let lots = fills.iter().map(|f| i128::from(f.lots)).sum();
        let delta = fills.iter().map(|f| f.delta).sum::<i128>().abs();
        let vega = fills.iter().map(|f| f.vega).sum::<i128>().abs();
        let reached = |limit: i64, value: i128| limit != 0 && value >= i128::from(limit);
        let kind = if reached(self.config.quantity_limit, lots) {
            MMP_QUANTITY
        } else if reached(self.config.delta_limit, delta) {
            MMP_DELTA
        } else if reached(self.config.vega_limit, vega) {
            MMP_VEGA
        } else {
            return;
        };
        if self.triggered.is_none() && !self.is_frozen(now) {
            self.triggered = Some(kind);
            self.frozen_until = match self.config.freeze_ns {
                0 => UNTIL_RESET,
                freeze => now.0.saturating_add(freeze),
            };
        }
    }

    fn digest(&self, h: &mut blake3::Hasher) {
        h.update(&self.account.0.to_le_bytes())
            .update(&[self.number]);
        h.update(bytemuck::bytes_of(&self.config));
        h.update(&self.frozen_until.to_le_bytes());
        for f in &self.fills[..self.len] {
            h.update(&f.time.to_le_bytes())
                .update(&f.lots.to_le_bytes());
            h.update(&f.delta.to_le_bytes())
                .update(&f.vega.to_le_bytes());
        }
    }
}

/// All groups that were configured, by account and number.
#[derive(Debug)]
pub(super) struct Groups {
    sorted: Vec<Group>,
    /// Groups that triggered and whose orders are not cancelled yet.
    due: Vec<(AccountId, u8)>,
}

impl Groups {
    /// Room for so many groups; its memory is taken at once.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            sorted: reserved(capacity),
            due: reserved(capacity),
        }
    }

    fn place(&self, account: AccountId, number: u8) -> Result<usize, usize> {
        self.sorted
            .binary_search_by_key(&(account, number), |g| (g.account, g.number))
    }

    pub(super) fn get(&self, account: AccountId, number: u8) -> Option<&Group> {
        self.place(account, number).ok().map(|at| &self.sorted[at])
    }

    /// Sets the limits of a group and resets it; `false` when there is no room for another.
    pub(super) fn configure(&mut self, m: &InMmpConfig) -> bool {
        let account = AccountId(m.account);
        match self.place(account, m.mmp_group) {
            Ok(at) => {
                self.sorted[at].config = *m;
                self.sorted[at].reset();
                true
            }
            Err(_) if self.sorted.len() == self.sorted.capacity() => false,
            Err(at) => {
                let group = Group {
                    account,
                    number: m.mmp_group,
                    config: *m,
                    frozen_until: 0,
                    fills: [Fill::default(); FILLS],
                    len: 0,
                    triggered: None,
                };
                self.sorted.insert(at, group);
                true
            }
        }
    }

    /// Lets a group trade again; `false` when there is none.
    pub(super) fn reset(&mut self, account: AccountId, number: u8) -> bool {
        let place = self.place(account, number);
        if let Ok(at) = place {
            self.sorted[at].reset();
        }
        place.is_ok()
    }

    /// Counts a fill of an order of the group.
    pub(super) fn count(
        &mut self,
        account: AccountId,
        number: u8,
        now: TimeNs,
        signed_lots: i64,
        column: &Column,
    ) {
        if let Ok(at) = self.place(account, number) {
            let before = self.sorted[at].triggered;
            self.sorted[at].count(now, signed_lots, column);
            if before.is_none() && self.sorted[at].triggered.is_some() {
                self.due.push((account, number));
            }
        }
    }

    /// A group whose orders must be cancelled: account, number, limit reached, end of the freeze.
    pub(super) fn next_due(&mut self) -> Option<(AccountId, u8, u8, u64)> {
        let (account, number) = self.due.pop()?;
        let at = self.place(account, number).ok()?;
        let group = &mut self.sorted[at];
        let kind = group.triggered.take()?;
        Some((account, number, kind, group.frozen_until))
    }

    pub(super) fn save(&self, to: &mut impl Sink) {
        to.part(PART);
        let Self { sorted, due } = self;
        assert!(due.is_empty(), "a group is due only within an input");
        to.count(sorted.len());
        for g in sorted {
            let Group {
                account,
                number,
                config,
                frozen_until,
                fills,
                len,
                triggered,
            } = g;
            assert!(triggered.is_none(), "a group is due only within an input");
            to.pod(account);
            to.pod(number);
            to.pod(config);
            to.pod(frozen_until);
            to.count(*len);
            for f in &fills[..*len] {
                to.pod(&f.time);
                to.pod(&f.lots);
                to.pod(&[f.delta, f.vega]);
            }
        }
    }

    /// Reads what [`Self::save`] wrote into no groups.
    pub(super) fn load(&mut self, from: &mut impl Source) -> Result<(), SnapshotError> {
        from.part(PART)?;
        for _ in 0..from.below(self.sorted.capacity() + 1, "number of groups")? {
            let mut group = Group {
                account: from.pod()?,
                number: from.pod()?,
                config: from.pod()?,
                frozen_until: from.pod()?,
                fills: [Fill::default(); FILLS],
                len: from.below(FILLS + 1, "number of a group's fills")?,
                triggered: None,
            };
            for f in &mut group.fills[..group.len] {
                (f.time, f.lots) = (from.pod()?, from.pod()?);
                [f.delta, f.vega] = from.pod()?;
            }
            let key = |g: &Group| (g.account, g.number);
            let rises = self.sorted.last().is_none_or(|g| key(g) < key(&group));
            ensure(rises, "order of groups")?;
            self.sorted.push(group);
        }
        Ok(())
    }

    pub(super) fn digest(&self, h: &mut blake3::Hasher) {
        self.sorted.iter().for_each(|g| g.digest(h));
    }
}
