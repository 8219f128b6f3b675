//! The core as bytes, and back; see [`matcher::snapshot`].
//!
//! What was said is not in it but for its numbers: the spool and the feed's store hold that.

use super::{Core, MemberFlow, RATES_UNTIL_CONFIGURED, gate_instrument};
use crate::capacity::Capacity;
use firmware::limits::{ACCOUNTS, INSTRUMENTS};
use firmware::session::SEQ_NO_MAX;
use firmware::units::{AccountId, InstrumentId, MemberId};
use firmware::wire::input::{InDomain, InInstrument, InMemberLimits};
use matcher::engine::Engine;
use matcher::sequencer::Sequencer;
use matcher::snapshot::{Sink, SnapshotError, Source};

const PART: [u8; 4] = *b"CORE";

impl Core {
    /// Writes the state between two inputs; `None`, and nothing written, before the journal's first record.
    pub fn save(&self, to: &mut impl Sink) -> Option<()> {
        let Self {
            domain,
            listings,
            listed_later,
            delisted,
            accounts,
            drop_copies,
            limits,
            rejects,
            members,
            next_feed,
            gate,
            engine,
            // Of the domain and the engine.
            capacity: _,
            sequencer: _,
            // Cleared by the next input.
            outbox: _,
        } = self;
        to.part(PART);
        to.pod(domain.as_ref()?);
        to.count(listings.len());
        listings.values().for_each(|i| to.pod(i));
        for ids in [listed_later, delisted] {
            to.count(ids.len());
            ids.iter().for_each(|id| to.pod(id));
        }
        to.count(accounts.len());
        accounts.iter().for_each(|(a, m)| to.pod(&[*a, *m]));
        to.count(drop_copies.len());
        drop_copies.iter().for_each(|(m, of)| to.pod(&[*m, *of]));
        to.count(limits.len());
        limits.values().for_each(|l| to.pod(l));
        to.pod(rejects);
        for (id, flow) in members.iter().enumerate() {
            to.pod(&u8::from(flow.is_some()));
            if let Some(flow) = flow {
                let MemberFlow {
                    next_request,
                    next_report,
                    session,
                    copies,
                } = flow;
                to.pod(next_request);
                to.pod(next_report);
                to.pod(&u8::from(session.is_some()));
                to.pod(&session.unwrap_or(0));
                to.pods(copies);
                to.pod(&gate.last_cl_ord_id(MemberId(id as u32)));
            }
        }
        to.pod(next_feed);
        engine.save(to);
        Some(())
    }

    /// A core in the state that was written, with the memory that a new one has. Members have the rates that they
    /// have before their configuration is read.
    ///
    /// # Errors
    /// When the bytes are not those of a core.
    pub fn load(from: &mut impl Source) -> Result<Self, SnapshotError> {
        from.part(PART)?;
        let domain: InDomain = from.pod()?;
        let capacity = Capacity::of(&domain);
        capacity.check().map_err(|_| value("capacity"))?;
        let mut core = Self::new(&capacity);
        core.domain = Some(domain);
        for _ in 0..from.below(INSTRUMENTS + 1, "number of listings")? {
            let listed: InInstrument = from.pod()?;
            let id = InstrumentId(listed.instrument);
            let fits = core.gate.list(id, gate_instrument(&listed));
            fits.then_some(()).ok_or(value("listing"))?;
            core.listings.insert(id.0, listed);
        }
        for _ in 0..from.below(INSTRUMENTS + 1, "number of later listings")? {
            core.listed_later.insert(from.pod()?);
        }
        for _ in 0..from.below(INSTRUMENTS + 1, "number of delistings")? {
            let id = from.pod()?;
            core.gate.delist(InstrumentId(id));
            core.delisted.insert(id);
        }
        for _ in 0..from.below(ACCOUNTS + 1, "number of accounts")? {
            let [account, member] = from.pod()?;
            let bound = (core.gate).bind_account(AccountId(account), MemberId(member));
            bound.then_some(()).ok_or(value("account"))?;
            core.accounts.insert(account, member);
        }
        let members = core.members.len();
        for _ in 0..from.below(members * members, "number of drop copies")? {
            let [member, of] = from.pod()?;
            core.drop_copies.insert((member, of));
        }
        for _ in 0..from.below(members, "number of limits")? {
            let limits: InMemberLimits = from.pod()?;
            core.limits.insert(limits.member, limits);
        }
        core.rejects = from.pod()?;
        for id in 0..members {
            if from.flag("member")? {
                core.load_member(MemberId(id as u32), from)?;
            }
        }
        core.next_feed = number(from)?;
        core.engine = Engine::load(capacity.engine(), from)?;
        core.sequencer = Sequencer::after(core.engine.last_seq(), core.engine.last_time());
        Ok(core)
    }

    fn load_member(
        &mut self,
        member: MemberId,
        from: &mut impl Source,
    ) -> Result<(), SnapshotError> {
        let members = self.members.len();
        if member.0 == 0 {
            return Err(value("member"));
        }
        self.add_member(member, RATES_UNTIL_CONFIGURED);
        let (next_request, next_report) = (number(from)?, number(from)?);
        let open = from.flag("session")?;
        let session = Some(from.pod()?).filter(|_| open);
        let mut copies = vec![MemberId(0); from.below(members, "number of copies")?];
        from.fill(bytemuck::cast_slice_mut(&mut copies))?;
        let known = |m: &MemberId| (m.0 as usize) < members;
        (copies.iter().all(known))
            .then_some(())
            .ok_or(value("copy"))?;
        self.gate.note_cl_ord_id(member, from.pod()?);
        if self.drop_copies.iter().any(|(m, _)| *m == member.0) {
            self.gate.make_read_only(member);
        }
        self.members[member.0 as usize] = Some(MemberFlow {
            next_request,
            next_report,
            session,
            copies,
        });
        Ok(())
    }
}

/// A number of a flow.
fn number(from: &mut impl Source) -> Result<u64, SnapshotError> {
    let number = from.pod()?;
    let is_one = (1..=SEQ_NO_MAX).contains(&number);
    is_one.then_some(number).ok_or(value("number of a flow"))
}

const fn value(what: &'static str) -> SnapshotError {
    SnapshotError::Value(what)
}
