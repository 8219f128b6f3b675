//! Mass quotes through the gate: every entry stands, or none does.

use super::*;

/// A mass quote that was decoded from an authentic datagram, in order.
#[derive(Clone, Copy, Debug)]
pub struct QuoteCommand<'a> {
    /// Who asks.
    pub member: MemberId,
    /// Number of the request in the member's flow.
    pub client_seq: u64,
    /// When the datagram was received.
    pub rx_time: TimeNs,
    /// What is asked.
    pub quote: QuoteView<'a>,
}

/// A mass quote that the gate lets through: only [`Gate::check_quote`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct AdmittedQuote {
    member: MemberId,
    record: QuoteRecord,
}

impl AdmittedQuote {
    /// Who asked.
    #[must_use]
    pub const fn member(&self) -> MemberId {
        self.member
    }
    /// As it stands in the journal.
    #[must_use]
    pub fn quote(&self) -> QuoteRef<'_> {
        self.record.view()
    }
}

impl Gate {
    /// Checks a mass quote: every entry must stand, or none does.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn check_quote(
        &mut self,
        command: &QuoteCommand<'_>,
        now: TimeNs,
    ) -> Result<AdmittedQuote, InRefused> {
        let head = &command.quote.head;
        let key = Key {
            template: MassQuote::TEMPLATE,
            cl_ord_id: head.cl_ord_id,
            account: Some(head.account),
            instrument: ID16_NULL,
            is_throttled: true,
            rises: true,
        };
        match self.check_quote_body(command, &key, now) {
            Ok(record) => {
                self.note_rising(command.member, &key);
                Ok(AdmittedQuote {
                    member: command.member,
                    record,
                })
            }
            Err(reason) => Err(refusal(command.rx_time, command.client_seq, &key, reason)),
        }
    }

    fn check_quote_body(
        &mut self,
        c: &QuoteCommand<'_>,
        key: &Key,
        now: TimeNs,
    ) -> Result<QuoteRecord, RejectCode> {
        let head = &c.quote.head;
        let Some(Some(member)) = self.members.get_mut(c.member.0 as usize) else {
            return Err(RejectCode::UnknownAccount);
        };
        if member.is_read_only {
            return Err(RejectCode::ReadOnly);
        }
        let count = head.num_in_group as usize;
        if count == 0 || count > QUOTE_ENTRIES_MAX {
            return Err(RejectCode::BadEntries);
        }
        if !member.quotes.take_many(count as u32, now) {
            return Err(RejectCode::Throttled);
        }
        // Quotes that only take quotes away pass.
        let is_quoting = |lots| lots != 0 && lots != QUANTITY_NULL;
        if self.is_overloaded
            && (c.quote.entries()).any(|e| is_quoting(e.bid_quantity) || is_quoting(e.ask_quantity))
        {
            return Err(RejectCode::Overloaded);
        }
        self.check_account(c.member, key)?;
        self.check_rising(c.member, key)?;
        let flags = order::FLAG_POST_ONLY | order::FLAG_CANCEL_ON_DISCONNECT;
        if head.flags & !flags != 0 || head.stp_mode > STP_DECREMENT || head.mmp_group > MMP_GROUPS
        {
            return Err(RejectCode::InvalidField);
        }
        let mut record = QuoteRecord::new(InMassQuote {
            rx_time: c.rx_time.0,
            client_seq: c.client_seq,
            cl_ord_id: head.cl_ord_id,
            smp_id: head.smp_id,
            account: head.account,
            mmp_group: head.mmp_group,
            stp_mode: head.stp_mode,
            flags: head.flags,
            ..InMassQuote::zeroed()
        });
        let mut seen = [0u64; INSTRUMENTS.div_ceil(64)];
        for entry in c.quote.entries() {
            let admitted = self.quote_entry(&entry)?;
            let i = entry.instrument as usize;
            let bit = 1 << (i % 64);
            if seen[i / 64] & bit != 0 {
                return Err(RejectCode::BadEntries);
            }
            seen[i / 64] |= bit;
            if !record.push(admitted) {
                return Err(RejectCode::BadEntries);
            }
        }
        Ok(record)
    }

    fn quote_entry(&self, e: &QuoteEntry) -> Result<InQuoteEntry, RejectCode> {
        let i = self.instrument(e.instrument)?;
        let side = |price, quantity| match quantity {
            QUANTITY_NULL => Ok((0, LOTS_NULL)),
            0 => Ok((0, 0)),
            lots => {
                i.check_lots(lots)?;
                Ok((i.ticks(price)?, lots as u32))
            }
        };
        let (bid_ticks, bid_lots) = side(e.bid_price, e.bid_quantity)?;
        let (ask_ticks, ask_lots) = side(e.ask_price, e.ask_quantity)?;
        let both = [bid_lots, ask_lots]
            .iter()
            .all(|l| *l != 0 && *l != LOTS_NULL);
        if both && bid_ticks >= ask_ticks {
            return Err(RejectCode::BadEntries);
        }
        Ok(InQuoteEntry {
            bid_ticks,
            bid_lots,
            ask_ticks,
            ask_lots,
            instrument: e.instrument,
            pad1: 0,
        })
    }
}
