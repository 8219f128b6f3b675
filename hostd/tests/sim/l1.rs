//! The simulated L1: a queue of deposits that become final late, and the contract that takes sealed batches in order.

use crate::invariant::hold;
use crate::options::{MS, START};
use crate::tally::Tally;
use firmware::units::{AccountId, PICO_PER_MICRO, Pico, TimeNs};
use hostd::nic::sim::Rng;
use hostd::ops::admin::{AdminRequest, DepositBody, Hex};
use hostd::tiles::journal_tile::batch_name;
use matcher::batch::{Leaf, SealedBatch, decode};
use matcher::engine::DepositError;
use std::collections::BTreeMap;
use std::path::Path;
use tokio::sync::oneshot;

/// A deposit in the contract's queue.
#[derive(Clone, Copy)]
struct Queued {
    body: DepositBody,
    final_at: TimeNs,
}

pub(crate) struct L1 {
    rng: Rng,
    queue: Vec<Queued>,
    /// What the watcher believes comes next.
    next: u64,
    asked: Option<oneshot::Receiver<Result<u64, DepositError>>>,
    outage_until: TimeNs,
    /// What the contract holds.
    leaves: BTreeMap<AccountId, Leaf>,
    fund: Pico,
    batches: u64,
    last_seq: u64,
    consumed: u64,
    /// Deposits less withdrawals.
    held_micro: i128,
    tally: Tally,
}

pub(crate) fn owner_of(account: u32) -> [u8; 20] {
    [account as u8 + 100; 20]
}

impl L1 {
    /// Each account is given something to begin with.
    pub(crate) fn new(seed: u64, accounts: impl Iterator<Item = u32>, tally: &Tally) -> Self {
        let mut l1 = Self {
            rng: Rng(seed),
            queue: Vec::new(),
            next: 0,
            asked: None,
            outage_until: TimeNs(0),
            leaves: BTreeMap::new(),
            fund: 0,
            batches: 0,
            last_seq: 1,
            consumed: 0,
            held_micro: 0,
            tally: tally.clone(),
        };
        for account in accounts {
            l1.pay(account, 400_000_000_000, START);
        }
        l1
    }

    fn pay(&mut self, account: u32, amount_micro: u64, final_at: TimeNs) {
        let queue_index = self.queue.len() as u64;
        let body = DepositBody {
            queue_index,
            account,
            owner: Hex(owner_of(account)),
            key: Hex::default(),
            amount_micro,
        };
        self.queue.push(Queued { body, final_at });
    }

    /// Nothing is heard of L1 for a while.
    pub(crate) fn fall_silent(&mut self, now: TimeNs) {
        self.tally.count("L1 outage");
        self.outage_until = TimeNs(now.0 + (20 + self.rng.below(300)) * MS);
    }

    /// Somebody pays in.
    pub(crate) fn somebody_pays(&mut self, now: TimeNs) {
        let account = 1 + self.rng.below(5) as u32;
        let amount = 1_000_000 * (1 + self.rng.below(20_000));
        let late = self.rng.below(200) * MS;
        self.pay(account, amount, TimeNs(now.0 + late));
    }

    /// What the watcher of the queue tells the box, if anything: `faults` makes it repeat itself and run ahead.
    pub(crate) fn offer(&mut self, now: TimeNs, faults: bool) -> Option<AdminRequest> {
        match self.asked.as_mut().map(oneshot::Receiver::try_recv) {
            Some(Err(oneshot::error::TryRecvError::Empty)) => return None,
            // The answer was lost in a crash: it is offered again.
            Some(Err(oneshot::error::TryRecvError::Closed)) => self.asked = None,
            Some(Ok(answer)) => {
                self.asked = None;
                match answer {
                    Ok(next) => {
                        self.tally.count("deposit credited");
                        self.next = next;
                    }
                    Err(DepositError::Order { want, got }) => {
                        let what = if got < want {
                            "deposit came again"
                        } else {
                            "deposit came early"
                        };
                        self.tally.count(what);
                        self.next = want;
                    }
                    Err(e) => hold!(DepositsOnce, false, "a good deposit was refused: {e}"),
                }
            }
            None => {}
        }
        if now < self.outage_until {
            return None;
        }
        let mut index = self.next;
        if faults && self.rng.percent(10) {
            index = self.rng.below(self.queue.len() as u64);
        }
        let deposit = self.queue.get(index as usize)?;
        if now < deposit.final_at {
            self.tally.count("deposit not final yet");
            return None;
        }
        let (answer, asked) = oneshot::channel();
        self.asked = Some(asked);
        Some(AdminRequest::Deposit(deposit.body, answer))
    }

    /// Everything that was paid in is credited.
    pub(crate) fn is_credited(&self) -> bool {
        self.next == self.queue.len() as u64
    }

    /// The box has credited the first `next` deposits, and nothing else.
    pub(crate) fn check_credit(&self, next: u64, deposited_micro: u64) {
        let first = self.queue.get(..next as usize);
        let sum = first.map(|q| q.iter().map(|d| d.body.amount_micro).sum::<u64>());
        hold!(
            DepositsOnce,
            sum == Some(deposited_micro),
            "{deposited_micro} micro-units were credited up to deposit {next}, {sum:?} were paid in"
        );
    }

    /// Commits the next batch, if it is there; returns whether it was.
    pub(crate) fn commit(&mut self, dir: &Path, now: TimeNs) -> bool {
        if now < self.outage_until {
            return false;
        }
        let number = self.batches + 1;
        let Ok(bytes) = std::fs::read(dir.join(batch_name(number))) else {
            let later = dir.join(batch_name(number + 1)).exists();
            hold!(
                SealedChain,
                !later,
                "batch {number} is missing, the next one is there"
            );
            return false;
        };
        let batch = decode(&bytes);
        let Ok(batch) = batch else {
            hold!(SealedChain, false, "batch {number}: {:?}", batch.err());
            return false;
        };
        self.check(&batch);
        self.tally.count("batch committed");
        true
    }

    pub(crate) const fn batches(&self) -> u64 {
        self.batches
    }

    fn check(&mut self, b: &SealedBatch) {
        let number = self.batches + 1;
        hold!(
            SealedChain,
            b.batch_no == number,
            "batch {} stands as {number}",
            b.batch_no
        );
        hold!(
            SealedChain,
            b.first_seq.0 == self.last_seq && b.last_seq.0 >= b.first_seq.0,
            "batch {number} covers {}..={}, the last one ended with {}",
            b.first_seq,
            b.last_seq,
            self.last_seq
        );
        hold!(
            SealedChain,
            b.fund_old_pico == self.fund,
            "batch {number} begins with a fund of {}, not {}",
            b.fund_old_pico,
            self.fund
        );
        for d in &b.deposits {
            let paid = self.queue.get(self.consumed as usize).map(|q| q.body);
            let same = paid.is_some_and(|p| {
                (p.queue_index, p.account, p.amount_micro)
                    == (d.queue_index, d.account.0, d.amount_micro)
            });
            hold!(
                DepositsOnce,
                same && d.queue_index == self.consumed,
                "batch {number} consumes {d:?}, deposit {} is next in the queue",
                self.consumed
            );
            self.consumed += 1;
            self.held_micro += i128::from(d.amount_micro);
        }
        for w in &b.withdrawals {
            hold!(
                Conserved,
                w.owner == owner_of(w.account.0),
                "batch {number} pays {w:?} to somebody else"
            );
            self.held_micro -= i128::from(w.amount_micro);
            self.tally.count("withdrawal committed");
        }
        for t in &b.touched {
            let positions = vec![0; t.old.positions.len()];
            let empty = Leaf {
                owner: [0; 20],
                nonce: 0,
                cash_pico: 0,
                positions: positions.into(),
                key: [0; 32],
                mandate: [0; 32],
                mandate_used: 0,
                flags: 0,
            };
            let held = self.leaves.get(&t.account).unwrap_or(&empty);
            hold!(
                SealedChain,
                *held == t.old,
                "batch {number} begins account {} with {:?}, not {held:?}",
                t.account,
                t.old
            );
            self.leaves.insert(t.account, t.new.clone());
        }
        self.fund = b.fund_new_pico;
        let cash: Pico = self.leaves.values().map(|l| l.cash_pico).sum();
        hold!(
            Conserved,
            cash + self.fund == self.held_micro * PICO_PER_MICRO,
            "after batch {number} the contract owes {} pico and holds {} micro-units",
            cash + self.fund,
            self.held_micro
        );
        self.batches = number;
        self.last_seq = b.last_seq.0;
    }
}
