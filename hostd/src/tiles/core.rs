//! Everything right of the sequencer, and the gate: the part of the daemon that is a function of the
//! journal. The live box and a replay run the same code.

mod look;
mod snapshot;

use crate::capacity::Capacity;
use firmware::gate::{Gate, GateInstrument, Rates};
use firmware::units::{AccountId, InstrumentId, MemberId, PriceTicks};
use firmware::wire::feed::FeedMessage;
use firmware::wire::input::{InDomain, InInstrument, InMemberLimits, SESSION_ESTABLISHED};
use firmware::wire::report::Report;
use journal::RecordView;
use matcher::book::LadderBook;
use matcher::engine::Engine;
use matcher::outbox::{Outbox, Outcome};
use matcher::planted::{self, Bug};
use matcher::sequencer::{Input, ReplayError, Sequenced, Sequencer};
use std::collections::{BTreeMap, BTreeSet};

/// Rates of a member before its configuration is read.
const RATES_UNTIL_CONFIGURED: Rates = Rates {
    requests_per_second: 1_000,
    quotes_per_second: 1_000,
};

/// Counts by reject code; the index is the code.
pub type RejectCounts = [u64; 64];

/// One member's place in the core.
#[derive(Debug)]
pub struct MemberFlow {
    /// Number of the next request, as far as the journal shows.
    pub next_request: u64,
    /// Number of the next report.
    pub next_report: u64,
    /// The session that is open, if one is.
    pub session: Option<u64>,
    /// Members that get a copy of each report.
    pub copies: Vec<MemberId>,
}

/// The deterministic part.
#[derive(Debug)]
pub struct Core {
    capacity: Capacity,
    /// Numbers inputs.
    pub sequencer: Sequencer,
    /// Lets requests through.
    pub gate: Box<Gate>,
    /// Applies inputs.
    pub engine: Engine<LadderBook>,
    /// What the last input caused.
    pub outbox: Outbox,
    /// By member id.
    pub members: Vec<Option<MemberFlow>>,
    /// Number of the next feed message.
    pub next_feed: u64,
    /// Rejects by code.
    pub rejects: RejectCounts,
    /// What the journal lists or has listed, by instrument.
    pub listings: BTreeMap<u16, InInstrument>,
    /// Those of them that were listed after the day had begun: the configuration need not have them.
    pub listed_later: BTreeSet<u16>,
    /// Those of them that were delisted.
    pub delisted: BTreeSet<u16>,
    /// What the journal binds: account to member.
    pub accounts: BTreeMap<u32, u32>,
    /// Who gets copies in the journal, and whose reports they are.
    pub drop_copies: BTreeSet<(u32, u32)>,
    /// Rates that the operator set, by member: they go before the configuration's.
    pub limits: BTreeMap<u32, InMemberLimits>,
    /// The journal's domain record.
    pub domain: Option<InDomain>,
}

impl Core {
    /// An empty core. All its memory is taken here, but for that of members, bands and listed instruments,
    /// which is taken when the day is opened.
    ///
    /// # Panics
    /// When the capacity is not within its bounds; see [`Capacity::check`].
    #[must_use]
    pub fn new(capacity: &Capacity) -> Self {
        Self {
            capacity: *capacity,
            sequencer: Sequencer::new(),
            gate: Box::new(Gate::new()),
            engine: Engine::new(capacity.engine())
                .expect("the capacity is within the books' bounds"),
            outbox: Outbox::of(&capacity.engine()),
            members: (0..=capacity.members).map(|_| None).collect(),
            next_feed: 1,
            rejects: [0; 64],
            listings: BTreeMap::new(),
            listed_later: BTreeSet::new(),
            delisted: BTreeSet::new(),
            accounts: BTreeMap::new(),
            drop_copies: BTreeSet::new(),
            limits: BTreeMap::new(),
            domain: None,
        }
    }

    /// Holds as much as the journal's domain record says: a journal is replayed in the sizes that it was
    /// written in, whatever the configuration says today.
    ///
    /// # Panics
    /// When the record is not the first one, or its sizes are beyond this release's.
    fn resize(&mut self, capacity: Capacity) {
        if self.capacity == capacity {
            return;
        }
        assert_eq!(
            self.engine.last_seq().0,
            0,
            "the domain's record is the first one"
        );
        capacity
            .check()
            .expect("sizes are checked with the configuration");
        let fresh = Self::new(&capacity);
        self.engine = fresh.engine;
        self.outbox = fresh.outbox;
        self.members
            .resize_with(capacity.members as usize + 1, || None);
        self.capacity = capacity;
    }

    /// Registers a member; its rates can be set again later. Those that the operator set in the journal go before these.
    pub fn add_member(&mut self, member: MemberId, rates: Rates) {
        let set = self.limits.get(&member.0).map(self::rates);
        let rates = set.unwrap_or(rates);
        assert!(
            self.gate.add_member(member, rates),
            "member ids are checked with the configuration"
        );
        let slot = &mut self.members[member.0 as usize];
        if slot.is_none() {
            *slot = Some(MemberFlow {
                next_request: 1,
                next_report: 1,
                session: None,
                copies: Vec::new(),
            });
        }
    }

    /// What is listed now.
    pub fn listed(&self) -> impl Iterator<Item = &InInstrument> {
        let all = self.listings.values();
        all.filter(|l| !self.delisted.contains(&l.instrument))
    }

    /// Takes the next record of a journal: everything that the live box did after sequencing it.
    ///
    /// # Errors
    /// When the record does not follow, or is not one of this release.
    pub fn replay(&mut self, record: &RecordView<'_>) -> Result<(), ReplayError> {
        let h = &record.header;
        let time_ns = h.time_ns + u64::from(planted::is(Bug::ReplaysOtherwise));
        let input = self
            .sequencer
            .replay(h.seq, time_ns, h.template, h.session, record.body)?;
        let member = input.member();
        match *input.input() {
            Input::NewOrder(m) => self.gate.note_cl_ord_id(member, m.cl_ord_id),
            Input::MassQuote(m) => self.gate.note_cl_ord_id(member, m.head.cl_ord_id),
            Input::Replace(m) => self.gate.note_cl_ord_id(member, m.cl_ord_id),
            _ => {}
        }
        // The compiler cannot see that `input` borrows the record, not the core.
        let input: Sequenced<'_> = input;
        self.apply(&input);
        Ok(())
    }

    /// Reports of the last input, in order, each for the member that it was made for and then for those that
    /// get copies. Members without a flow are left out.
    pub fn told(&self) -> impl Iterator<Item = (MemberId, &Report)> {
        let reports = self.outbox.outcomes().iter().filter_map(|o| match o {
            Outcome::Report(member, report) => {
                let flow = self.members.get(member.0 as usize)?.as_ref()?;
                Some((*member, report, &flow.copies))
            }
            Outcome::Feed(_) => None,
        });
        reports.flat_map(|(member, report, copies)| {
            let told = std::iter::once(member).chain(copies.iter().copied());
            told.map(move |m| (m, report))
        })
    }

    /// Feed messages of the last input, in order.
    pub fn said(&self) -> impl Iterator<Item = &FeedMessage> {
        self.outbox.outcomes().iter().filter_map(|o| match o {
            Outcome::Report(..) => None,
            Outcome::Feed(message) => Some(message),
        })
    }

    /// From now on `member`, who may ask for nothing, gets a copy of each report of `of`.
    fn copy_reports(&mut self, member: MemberId, of: MemberId) {
        for id in [member, of] {
            if self.members[id.0 as usize].is_none() {
                self.add_member(id, RATES_UNTIL_CONFIGURED);
            }
        }
        self.gate.make_read_only(member);
        if self.drop_copies.insert((member.0, of.0))
            && let Some(flow) = &mut self.members[of.0 as usize]
        {
            flow.copies.push(member);
        }
    }

    /// Applies a sequenced input: venue records set up gate and members, then the engine runs, then
    /// reports and feed messages get their numbers.
    pub fn apply(&mut self, input: &Sequenced<'_>) {
        if let Some(next) = next_request(input.input())
            && let Some(Some(flow)) = self.members.get_mut(input.member().0 as usize)
        {
            flow.next_request = flow.next_request.max(next);
        }
        match *input.input() {
            Input::Account(m) => {
                let bound = self
                    .gate
                    .bind_account(AccountId(m.account), MemberId(m.member));
                assert!(bound, "accounts are checked with the configuration");
                self.accounts.insert(m.account, m.member);
                if self.members[m.member as usize].is_none() {
                    self.add_member(MemberId(m.member), RATES_UNTIL_CONFIGURED);
                }
            }
            Input::MemberLimits(m) => {
                self.limits.insert(m.member, *m);
                self.add_member(MemberId(m.member), rates(m));
            }
            Input::DropCopy(m) => self.copy_reports(MemberId(m.member), MemberId(m.of)),
            Input::Instrument(m) => {
                assert!(
                    self.gate
                        .list(InstrumentId(m.instrument), gate_instrument(m)),
                    "instruments are checked before"
                );
                // The day begins with the domain and what is listed then.
                if input.seq().0 != 2 + self.listings.len() as u64 {
                    self.listed_later.insert(m.instrument);
                }
                self.listings.insert(m.instrument, *m);
            }
            Input::Delist(m) => {
                self.gate.delist(InstrumentId(m.instrument));
                self.delisted.insert(m.instrument);
            }
            Input::Domain(m) => {
                self.resize(Capacity::of(m));
                self.domain = Some(*m);
            }
            Input::Session(m) => {
                if let Some(Some(flow)) = self.members.get_mut(input.member().0 as usize) {
                    flow.session = (m.event == SESSION_ESTABLISHED).then_some(m.session_id);
                }
            }
            _ => {}
        }
        self.engine.apply(input, &mut self.outbox);
        for outcome in self.outbox.outcomes() {
            match outcome {
                Outcome::Report(member, report) => {
                    if let Report::Rejected(r) = report {
                        self.rejects[r.reason as usize % 64] += 1;
                    }
                    number(&mut self.members, *member);
                }
                Outcome::Feed(_) => self.next_feed += 1,
            }
        }
    }
}

/// The rates that the operator set.
const fn rates(m: &InMemberLimits) -> Rates {
    Rates {
        requests_per_second: m.orders_per_second,
        quotes_per_second: m.quotes_per_second,
    }
}

/// An instrument as the gate sees it.
const fn gate_instrument(m: &InInstrument) -> GateInstrument {
    GateInstrument {
        tick_e9: m.tick_micro * 1_000,
        base: PriceTicks(m.base_ticks),
        width_ticks: m.width_ticks,
        order_lots_max: m.order_lots_max,
        tick2_from: PriceTicks(m.tick2_from_ticks),
        tick2_multiple: m.tick2_multiple,
    }
}

/// Numbers a report in its member's flow and in the flows of those who get copies.
fn number(members: &mut [Option<MemberFlow>], member: MemberId) {
    let Some(Some(flow)) = members.get_mut(member.0 as usize) else {
        return;
    };
    flow.next_report += 1;
    let mut at = 0;
    while let Some(Some(flow)) = members.get(member.0 as usize)
        && let Some(copy) = flow.copies.get(at).copied()
    {
        if let Some(Some(flow)) = members.get_mut(copy.0 as usize) {
            flow.next_report += 1;
        }
        at += 1;
    }
}

/// Number of the request after this one, if it is one or stands for some.
const fn next_request(input: &Input<'_>) -> Option<u64> {
    let last = match input {
        Input::NewOrder(m) => m.client_seq,
        Input::MassQuote(m) => m.head.client_seq,
        Input::Reduce(m) => m.client_seq,
        Input::MmpReset(m) => m.client_seq,
        Input::KillSwitch(m) => m.client_seq,
        Input::OpenOrders(m) => m.client_seq,
        Input::DeadMan(m) => m.client_seq,
        Input::MmpConfig(m) => m.client_seq,
        Input::Positions(m) => m.client_seq,
        Input::Replace(m) => m.client_seq,
        Input::Cancel(m) => m.client_seq,
        Input::MassCancel(m) => m.client_seq,
        Input::Withdraw(m) => m.client_seq,
        Input::Refused(m) => m.client_seq,
        Input::Gap(m) => return Some(m.from_seq_no + m.count),
        Input::Session(_)
        | Input::Deposit(_)
        | Input::Oracle(_)
        | Input::Timer(_)
        | Input::TradingState(_)
        | Input::Account(_)
        | Input::Domain(_)
        | Input::Instrument(_)
        | Input::Delist(_)
        | Input::OperatorCancel(_)
        | Input::DropCopy(_)
        | Input::Lock(_)
        | Input::RiskRules(_)
        | Input::VolModel(_)
        | Input::OperatorAct(_)
        | Input::MemberLimits(_)
        | Input::RiskTable(_) => return None,
    };
    Some(last + 1)
}

impl Default for Core {
    fn default() -> Self {
        Self::new(&Capacity::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;
    use firmware::gate::Command;
    use firmware::reject::RejectCode;
    use firmware::units::TimeNs;
    use firmware::wire::input::{InAccount, InDropCopy, InGap};
    use firmware::wire::journal::RecordHeader;
    use firmware::wire::order::{MassCancel, Request};
    use journal::ChainAt;
    use matcher::book::OrderBook;

    /// A core, its journal: head and body of each record, and whom it told what.
    struct Written(Core, Vec<(RecordHeader, Vec<u64>)>, Told);

    type Told = Vec<(MemberId, Report)>;

    impl Written {
        fn new() -> Self {
            Self(Core::default(), Vec::new(), Vec::new())
        }

        fn keep(&mut self, s: &Sequenced<'_>) {
            let bytes = s.input().bytes();
            let mut body = vec![0; bytes.len().div_ceil(8)];
            bytemuck::cast_slice_mut(&mut body)[..bytes.len()].copy_from_slice(bytes);
            let header = RecordHeader {
                seq: s.seq().0,
                time_ns: s.time().0,
                template: s.input().template(),
                session: s.member().0,
                ..RecordHeader::default()
            };
            self.1.push((header, body));
            self.0.apply(s);
            self.2.extend(self.0.told().map(|(m, r)| (m, *r)));
        }

        fn venue<'a>(&mut self, input: impl Into<Input<'a>>) {
            let s = self.0.sequencer.venue(input, TimeNs(1));
            self.keep(&s);
        }

        fn member<'a>(&mut self, member: u32, input: impl Into<Input<'a>>) {
            let s = (self.0.sequencer).session(MemberId(member), input, TimeNs(1));
            self.keep(&s);
        }

        fn replayed(&self) -> (Core, Told) {
            let (mut core, mut told) = (Core::default(), Vec::new());
            for (header, body) in &self.1 {
                let view = RecordView {
                    header: *header,
                    body: bytemuck::cast_slice(body),
                    chain: ChainAt::default(),
                };
                core.replay(&view).unwrap();
                told.extend(core.told().map(|(m, r)| (m, *r)));
            }
            (core, told)
        }
    }

    /// What a member was told; the core has numbered it.
    fn told(core: &Core, told: &Told, member: u32) -> Vec<Report> {
        let own = told.iter().filter(|(m, _)| m.0 == member);
        let own: Vec<_> = own.map(|(_, r)| *r).collect();
        let flow = core.members[member as usize].as_ref().unwrap();
        assert_eq!(flow.next_report, own.len() as u64 + 1);
        own
    }

    #[test]
    fn a_drop_copy_has_the_reports_of_its_members_in_order_and_may_ask_for_nothing() {
        let mut w = Written::new();
        for (account, member) in [(1, 1), (2, 2), (3, 3)] {
            w.venue(&InAccount { account, member });
        }
        for of in [1, 3] {
            w.venue(&InDropCopy { member: 7, of });
        }
        // A second one of the same member, and a relation that comes twice.
        w.venue(&InDropCopy { member: 8, of: 3 });
        w.venue(&InDropCopy { member: 8, of: 3 });
        for (n, member) in [(1, 1), (1, 2), (1, 3), (2, 1)] {
            w.member(
                member,
                &InGap {
                    from_seq_no: 100 * u64::from(member) + n,
                    count: 1,
                },
            );
        }
        let handed: Vec<_> = w.0.told().map(|(m, _)| m.0).collect();
        assert_eq!(handed, [1, 7]);
        let ask = Command {
            member: MemberId(7),
            client_seq: 1,
            rx_time: TimeNs(1),
            request: Request::MassCancel(MassCancel {
                account: 1,
                ..MassCancel::zeroed()
            }),
        };
        let refused = w.0.gate.check(&ask, TimeNs(1)).unwrap_err();
        assert_eq!(refused.reason, RejectCode::ReadOnly as u16);
        w.member(7, &refused);
        let replayed = w.replayed();
        for (core, all) in [(&w.0, &w.2), (&replayed.0, &replayed.1)] {
            let [one, two, three, copy, other] = [1, 2, 3, 7, 8].map(|m| told(core, all, m));
            assert_eq!((one.len(), two.len(), three.len()), (2, 1, 1));
            assert_eq!(copy[..3], [one[0], three[0], one[1]]);
            assert!(matches!(copy[3], Report::Rejected(r) if r.reason == refused.reason));
            assert_eq!((copy.len(), other), (4, three));
        }
        // What the gate learns it learns from the journal too.
        let again = w.replayed().0.gate.check(&ask, TimeNs(1)).unwrap_err();
        assert_eq!(again.reason, RejectCode::ReadOnly as u16);
    }

    #[test]
    fn a_journal_is_replayed_in_the_sizes_that_it_was_written_in() {
        let domain = InDomain {
            orders: 3,
            accounts: 20,
            members: 5,
            instruments: 17,
            ..InDomain::zeroed()
        };
        let small = Core::new(&Capacity::of(&domain));
        let mut core = Core::default();
        assert_ne!(core.members.len(), small.members.len());
        let sequenced = core.sequencer.venue(&domain, TimeNs(1));
        core.apply(&sequenced);
        assert_eq!(core.engine.book().capacity(), 3);
        assert_eq!(core.members.len(), small.members.len());
        assert!(core.engine.accounts().get(AccountId(19)).is_some());
        assert!(core.engine.accounts().get(AccountId(20)).is_none());
    }
}
