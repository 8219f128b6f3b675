//! Money in and out: deposits of the L1 queue, withdrawals to it.

use super::orders::reject;
use super::{Engine, Stamp};
use crate::batch::{DepositRow, SealReason, SlotKind, WithdrawalRow};
use crate::book::OrderBook;
use crate::outbox::Outbox;
use crate::planted::{self, Bug};
use firmware::limits::AMOUNT_BITS;
use firmware::reject::RejectCode;
use firmware::units::{AccountId, PICO_PER_MICRO};
use firmware::wire::input::{InDeposit, InWithdraw};
use firmware::wire::order::Withdraw;
use firmware::wire::report::{DepositReport, WithdrawReport};
use firmware::wire::sbe::ID16_NULL;

/// Why a deposit cannot be the next input.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DepositError {
    /// Not the next in the L1 queue.
    #[error("deposit {got} does not follow: deposit {want} is next in the queue")]
    Order {
        /// Expected.
        want: u64,
        /// Given.
        got: u64,
    },
    /// No such account.
    #[error("deposit for account {0}, which is beyond the accounts of this domain")]
    Account(u32),
    /// Zero owner, or another than before.
    #[error("deposit for account {0} names another owner than before")]
    Owner(u32),
    /// Zero or too large.
    #[error("deposit of {0} micro-units is not in 1..2^{AMOUNT_BITS}")]
    Amount(u64),
    /// All collateral together would not fit the bits of an equity.
    #[error("deposit of {0} micro-units would bring the collateral to 2^{AMOUNT_BITS} or more")]
    Total(u64),
}

impl<B: OrderBook> Engine<B> {
    /// Whether a deposit can be sequenced now.
    ///
    /// # Errors
    /// See [`DepositError`].
    pub fn check_deposit(&self, m: &InDeposit) -> Result<(), DepositError> {
        let is_again = m.queue_index < self.next_deposit && planted::is(Bug::CreditsAgain);
        if m.queue_index != self.next_deposit && !is_again {
            return Err(DepositError::Order {
                want: self.next_deposit,
                got: m.queue_index,
            });
        }
        let found = self
            .accounts
            .get(AccountId(m.account))
            .filter(|_| m.account != 0);
        let account = found.ok_or(DepositError::Account(m.account))?;
        if m.owner == [0; 20] || account.is_funded() && account.leaf.owner != m.owner {
            return Err(DepositError::Owner(m.account));
        }
        if m.amount == 0 || m.amount >= 1 << AMOUNT_BITS {
            return Err(DepositError::Amount(m.amount));
        }
        if self.collateral_micro() + m.amount >= 1 << AMOUNT_BITS {
            return Err(DepositError::Total(m.amount));
        }
        Ok(())
    }

    pub(super) fn deposit(&mut self, stamp: &Stamp, m: &InDeposit, out: &mut Outbox) {
        self.check_deposit(m)
            .expect("a deposit is checked before it is sequenced");
        let id = AccountId(m.account);
        if !self.batch.deposit_fits(id) {
            self.seal(stamp, SealReason::Full, out);
        }
        // What a liquidation began must be seen to have begun below maintenance.
        let is_liquidated = |t: &crate::batch::Touched| t.kind == SlotKind::Liquidated;
        if self.batch.slot(id).is_some_and(is_liquidated) {
            self.seal(stamp, SealReason::Liquidation, out);
        }
        self.touch(stamp, id, out);
        self.accounts.deposit(id, m.owner, &m.key, m.amount);
        let row = DepositRow {
            queue_index: m.queue_index,
            account: id,
            owner: m.owner,
            key: m.key,
            amount_micro: m.amount,
        };
        self.batch.add_deposit(row);
        self.next_deposit += 1;
        self.deposited_micro = self.deposited_micro.wrapping_add(m.amount);
        self.counters.deposits += 1;
        let account = self.accounts.at(id);
        if account.member.0 != 0 {
            out.report(
                account.member,
                DepositReport {
                    queue_index: m.queue_index,
                    amount: m.amount as i64,
                    cash: account.cash_micro(),
                    engine_time: stamp.time.0,
                    engine_seq: stamp.seq.0,
                    account: m.account,
                    pad1: 0,
                },
            );
        }
    }

    pub(super) fn withdraw(&mut self, stamp: &Stamp, m: &InWithdraw, out: &mut Outbox) {
        self.counters.requests += 1;
        let id = AccountId(m.account);
        let checked = match self.check_withdraw(m) {
            Err(RejectCode::InsufficientCollateral) if self.prepare_account(id) => {
                self.check_withdraw(m)
            }
            result => result,
        };
        if let Err(code) = checked {
            let refusal = refusal!(m, Withdraw, ID16_NULL);
            return reject(stamp, refusal, code, out);
        }
        self.counters.acks += 1;
        self.counters.withdrawals += 1;
        if !self.batch.withdrawal_fits(id) {
            self.seal(stamp, SealReason::Full, out);
        }
        self.touch(stamp, id, out);
        let account = self.accounts.at(id);
        account.leaf.cash_pico -= i128::from(m.amount) * PICO_PER_MICRO;
        account.leaf.nonce += 1;
        let (owner, cash) = (account.leaf.owner, account.cash_micro());
        self.batch.add_withdrawal(WithdrawalRow {
            account: id,
            owner,
            amount_micro: m.amount as u64,
        });
        self.withdrawn_micro = self.withdrawn_micro.wrapping_add(m.amount as u64);
        out.report(
            stamp.member,
            WithdrawReport {
                cl_ord_id: m.cl_ord_id,
                client_seq: m.client_seq,
                amount: m.amount,
                cash,
                rx_time: m.rx_time,
                engine_time: stamp.time.0,
                engine_seq: stamp.seq.0,
                batch_no: self.batch.batch_no(),
                account: m.account,
                pad1: 0,
            },
        );
    }

    fn check_withdraw(&self, m: &InWithdraw) -> Result<(), RejectCode> {
        let found = self
            .accounts
            .get(AccountId(m.account))
            .filter(|a| a.is_funded());
        let account = found.ok_or(RejectCode::NoSuchAccount)?;
        if account.is_below_maintenance() {
            return Err(RejectCode::BelowMaintenance);
        }
        let debit = m
            .amount
            .saturating_add(self.addon_micro(account, None, None));
        if !account.covers(&self.margin, None, None, debit, self.initial_extra_ppm()) {
            return Err(RejectCode::InsufficientCollateral);
        }
        Ok(())
    }
}
