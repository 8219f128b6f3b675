//! RTL and firmware with the same frames, registers written in between, and waiting at every port.

use std::collections::VecDeque;

use anyhow::{Result, bail, ensure};
use firmware::gate::GateInstrument;
use firmware::units::TimeNs;
use firmware::wire::descriptor::{Descriptor, Verdict};

use crate::dut::{Dut, Pins};
use crate::frames::Source;
use crate::map::{
    REG_COMMAND, REG_CONTROL, REG_COUNTERS, REG_ID, REG_IP, REG_MAC_HIGH, REG_MAC_LOW, REG_MAP,
    REG_PORT, REG_ROW, REG_VLAN, TABLE_ACCOUNT, TABLE_FLOW, TABLE_INSTRUMENT, TABLE_SESSION,
};
use crate::rows::{Row, SessionRow, flow_words, instrument_words};
use crate::twin::{COUNTERS, Outcome, SESSIONS_LG, Twin};

/// Nothing takes longer than this, cycles.
const PATIENCE: u64 = 20_000;

/// How the ports behave.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// A word comes in so many of 100 cycles.
    pub word_percent: u64,
    /// A descriptor's word is taken in so many of 100 cycles.
    pub take_percent: u64,
    /// Cycles without a word after each frame.
    pub gap: u64,
}

/// A change from the host.
#[derive(Clone, Copy, Debug)]
enum Change {
    Overloaded(bool),
    Session(SessionRow),
    Flow(u32, u64, u64),
    Account(u32, u32),
    Instrument(u16, GateInstrument),
}

/// What a run has seen.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Frames with a verdict that was compared.
    pub frames: u64,
    /// Descriptors that were compared.
    pub descriptors: u64,
    /// Clock cycles.
    pub cycles: u64,
    /// Writes to tables and registers while frames came.
    pub changes: u64,
    /// Fewest and most cycles from the last word of a frame to its verdict.
    pub latency: Option<(u64, u64)>,
    /// The counters at the end, which were the same on both sides.
    pub counters: Vec<u32>,
}

struct Waiting {
    outcome: Outcome,
    last_word: Option<u64>,
    bytes: Vec<u8>,
}

/// The pair.
pub struct Lockstep {
    dut: Dut,
    twin: Twin,
    /// Where frames come from.
    pub source: Source,
    ports: Ports,
    time: u64,
    cycle: u64,
    current: Option<(Vec<u8>, usize)>,
    idle_until: u64,
    waiting: VecDeque<Waiting>,
    descriptors: [VecDeque<Descriptor>; 2],
    words: [Vec<u64>; 2],
    writes: VecDeque<(u16, u32)>,
    change: Option<Change>,
    overloaded: bool,
    totals: Totals,
}

impl Lockstep {
    /// Both sides after reset, then told of everything that the source has.
    ///
    /// # Errors
    /// If the RTL answers a write with an error, or is of another map.
    pub fn new(source: Source, ports: Ports) -> Result<Self> {
        let mut pair = Self {
            dut: Dut::new(),
            twin: Twin::new(),
            ports,
            time: 1_700_000_000_000_000_000,
            cycle: 0,
            current: None,
            idle_until: 0,
            waiting: VecDeque::new(),
            descriptors: Default::default(),
            words: Default::default(),
            writes: VecDeque::new(),
            change: None,
            overloaded: false,
            totals: Totals::default(),
            source,
        };
        ensure!(pair.read(REG_ID)? == crate::map::ID, "another device");
        ensure!(
            pair.read(REG_MAP)? == crate::map::map_version(),
            "another map"
        );
        let s = pair.source.clone();
        let [a, b, c, d, e, f] = s.station.mac.0;
        pair.twin.place(s.station, s.ip, s.port);
        pair.writes.extend([
            (REG_MAC_LOW, u32::from_le_bytes([a, b, c, d])),
            (REG_MAC_HIGH, u32::from(e) | u32::from(f) << 8),
            (
                REG_VLAN,
                s.station.vlan.map_or(0, |v| 1 << 31 | u32::from(v)),
            ),
            (REG_IP, u32::from_le_bytes(s.ip.octets())),
            (REG_PORT, u32::from(s.port)),
        ]);
        pair.settle()?;
        let changes = (s.sessions().map(Change::Session))
            .chain(
                Source::accounts()
                    .into_iter()
                    .map(|(a, m)| Change::Account(a, m)),
            )
            .chain(
                s.instruments
                    .iter()
                    .map(|(id, i)| Change::Instrument(*id, *i)),
            );
        for change in changes {
            pair.begin(change);
            pair.settle()?;
        }
        pair.totals.changes = 0;
        Ok(pair)
    }

    /// Runs until so many frames have their verdict, then compares the counters.
    ///
    /// # Errors
    /// At the first difference.
    pub fn run(mut self, frames: u64) -> Result<Totals> {
        let end = self.totals.frames + frames;
        let mut given = 0;
        while self.totals.frames < end {
            if self.current.is_none() && given < frames && self.may_start() {
                if self.change.is_none() && self.writes.is_empty() && self.source.prng.once_in(12) {
                    self.random_change();
                } else {
                    let bytes = self.source.frame(self.time);
                    self.current = Some((bytes, 0));
                    given += 1;
                }
            }
            self.step()?;
        }
        self.finish()
    }

    /// The firmware's side alone: what is told to it, the RTL does not know.
    pub fn twin(&mut self) -> &mut Twin {
        &mut self.twin
    }

    /// Gives one frame, waits for all that comes of it, and returns what that was.
    ///
    /// # Errors
    /// At a difference.
    pub fn give(&mut self, bytes: Vec<u8>) -> Result<Outcome> {
        let outcome = self.twin.clone().judge(&bytes, TimeNs(self.time));
        self.current = Some((bytes, 0));
        self.settle()?;
        Ok(outcome)
    }

    /// Lets a held connection go where it is.
    ///
    /// # Errors
    /// At a difference.
    pub fn resume(&mut self, conn_id: u32) -> Result<()> {
        let place = conn_id & ((1 << SESSIONS_LG) - 1);
        let (_, expected, last) = self.twin.flow(place);
        self.begin(Change::Flow(place, expected, last));
        self.settle()
    }

    /// Compares the counters and hands out the totals.
    ///
    /// # Errors
    /// At a difference.
    pub fn finish(mut self) -> Result<Totals> {
        self.settle()?;
        for at in 0..COUNTERS {
            let got = self.read(REG_COUNTERS + 4 * at as u16)?;
            let want = self.twin.counters()[at];
            let (verdict, reason) = (at / 64, at % 64);
            ensure!(
                got == want,
                "counter of verdict {verdict}, reason {reason}: RTL {got}, firmware {want}"
            );
        }
        self.totals.counters = self.twin.counters().to_vec();
        self.totals.cycles = self.cycle;
        Ok(self.totals)
    }

    /// A change of numbers that frames go by must not race with frames: those wait until it is done.
    fn may_start(&self) -> bool {
        self.cycle >= self.idle_until
            && !matches!(self.change, Some(Change::Session(_) | Change::Flow(..)))
    }

    fn random_change(&mut self) {
        let held = (0..crate::frames::MEMBERS).find(|p| self.twin.flow(*p).0);
        let p = &mut self.source.prng;
        let change = match p.below(40) {
            0 => Change::Overloaded(!self.overloaded),
            1 => {
                let twin = &self.twin;
                Change::Session(self.source.relogin(|place| twin.flow(place).2))
            }
            2 => {
                let account = p.pick(&[0, 1, 2, 3, 1_003, 16_383]);
                Change::Account(account, p.pick(&[0, 1, 2, 3]))
            }
            3 => {
                let at = p.below(self.source.instruments.len() as u64) as usize;
                let instrument = self.source.instrument();
                self.source.instruments[at].1 = instrument;
                Change::Instrument(self.source.instruments[at].0, instrument)
            }
            _ => match held {
                None => return,
                Some(place) => {
                    let (_, expected, last) = self.twin.flow(place);
                    let (expected, last) = self.source.resume(place, expected, last);
                    Change::Flow(place, expected, last)
                }
            },
        };
        self.begin(change);
    }

    fn begin(&mut self, change: Change) {
        let row = |row: Row, table: u32, place: u32| {
            let words = row.into_iter().enumerate();
            words
                .map(|(i, w)| (REG_ROW + 4 * i as u16, w))
                .chain([(REG_COMMAND, table << 28 | place)])
                .collect()
        };
        self.writes = match &change {
            Change::Overloaded(on) => VecDeque::from([(REG_CONTROL, u32::from(*on))]),
            Change::Session(s) => row(
                s.words(),
                TABLE_SESSION,
                s.conn_id & ((1 << SESSIONS_LG) - 1),
            ),
            Change::Flow(place, expected, last) => {
                row(flow_words(*expected, *last), TABLE_FLOW, *place)
            }
            Change::Account(account, member) => VecDeque::from([
                (REG_ROW, *member),
                (REG_COMMAND, TABLE_ACCOUNT << 28 | account),
            ]),
            Change::Instrument(id, i) => {
                let words = instrument_words(i).expect("the source gives only such");
                row(words, TABLE_INSTRUMENT, u32::from(*id))
            }
        };
        self.change = Some(change);
    }

    /// The last write of a change was taken: it counts for all frames that begin later.
    fn apply(&mut self) {
        match self.change.take() {
            None => return,
            Some(Change::Overloaded(on)) => {
                self.overloaded = on;
                self.twin.gate().set_overloaded(on);
            }
            Some(Change::Session(row)) => self.twin.open(row),
            Some(Change::Flow(place, expected, last)) => self.twin.resume(place, expected, last),
            Some(Change::Account(account, member)) => self.twin.bind(account, member),
            Some(Change::Instrument(id, i)) => self.twin.list(id, i),
        }
        self.totals.changes += 1;
    }

    /// Goes on until nothing is under way.
    fn settle(&mut self) -> Result<()> {
        let began = self.cycle;
        let is_busy = |s: &Self| {
            s.current.is_some()
                || !s.writes.is_empty()
                || !s.waiting.is_empty()
                || s.descriptors.iter().any(|d| !d.is_empty())
        };
        while is_busy(self) {
            ensure!(self.cycle - began < PATIENCE, "nothing moves any more");
            self.step()?;
        }
        // Counters follow a verdict by a few cycles.
        for _ in 0..8 {
            self.step()?;
        }
        Ok(())
    }

    fn read(&mut self, address: u16) -> Result<u32> {
        let mut pins = Pins {
            araddr: address,
            arvalid: 1,
            rready: 1,
            ..Pins::default()
        };
        for _ in 0..20 {
            let seen = self.dut.cycle(&pins);
            self.cycle += 1;
            if seen.arready == 1 {
                pins.arvalid = 0;
            }
            if seen.rvalid == 1 {
                ensure!(
                    seen.rresp == 0,
                    "reading {address:#x}: error {}",
                    seen.rresp
                );
                return Ok(seen.rdata);
            }
        }
        bail!("reading {address:#x}: no answer")
    }

    fn pins(&mut self) -> Pins {
        let p = &mut self.source.prng;
        let mut pins = Pins {
            time_ns: self.time,
            m_ready: u8::from(p.below(100) < self.ports.take_percent),
            r_ready: u8::from(p.below(100) < self.ports.take_percent),
            bready: 1,
            wstrb: 15,
            ..Pins::default()
        };
        if let Some((bytes, at)) = &self.current
            && p.below(100) < self.ports.word_percent
        {
            let rest = &bytes[*at..];
            let here = rest.len().min(8);
            let mut word = [0x5a; 8];
            word[..here].copy_from_slice(&rest[..here]);
            pins.tdata = u64::from_le_bytes(word);
            pins.tvalid = 1;
            pins.tlast = u8::from(rest.len() <= 8);
            pins.tkeep = (0xffu16 >> (8 - here)) as u8;
        }
        if let Some((address, data)) = self.writes.front() {
            (pins.awaddr, pins.wdata) = (*address, *data);
            (pins.awvalid, pins.wvalid) = (1, 1);
        }
        pins
    }

    /// One cycle, with all that is seen in it compared.
    fn step(&mut self) -> Result<()> {
        let pins = self.pins();
        let seen = self.dut.cycle(&pins);
        if pins.tvalid == 1 && seen.tready == 1 {
            self.word_taken(pins.tlast == 1);
        }
        if pins.awvalid == 1 && seen.awready == 1 {
            self.writes.pop_front();
            if self.writes.is_empty() {
                self.apply();
            }
        }
        ensure!(
            seen.bvalid == 0 || seen.bresp == 0,
            "a write was answered with an error"
        );
        if seen.verdict_valid == 1 {
            self.verdict(seen.verdict, seen.reason)?;
        }
        if seen.m_tvalid & pins.m_ready == 1 {
            self.descriptor_word(0, seen.m_tdata, seen.m_tlast == 1)?;
        }
        if seen.r_tvalid & pins.r_ready == 1 {
            self.descriptor_word(1, seen.r_tdata, seen.r_tlast == 1)?;
        }
        if let Some(w) = self.waiting.front() {
            let late = w.last_word.is_some_and(|at| self.cycle > at + PATIENCE);
            ensure!(!late, "no verdict for {:?}", w.outcome);
        }
        self.cycle += 1;
        let p = &mut self.source.prng;
        self.time = match p.below(4_000) {
            0 => self.time + p.below(2_000_000_000),
            1 => self.time - p.below(1_000_000),
            2..40 => self.time + p.below(5_000_000),
            _ => self.time + 6,
        };
        Ok(())
    }

    fn word_taken(&mut self, is_last: bool) {
        let (bytes, at) = self.current.as_mut().expect("a word was given");
        if *at == 0 {
            let outcome = self.twin.judge(bytes, TimeNs(self.time));
            if let Some(d) = outcome.descriptor {
                self.descriptors[usize::from(outcome.verdict == Verdict::Refused)].push_back(d);
            }
            self.waiting.push_back(Waiting {
                outcome,
                last_word: None,
                bytes: bytes.clone(),
            });
        }
        *at += 8;
        if is_last {
            self.current = None;
            self.idle_until = self.cycle + 1 + self.ports.gap;
            self.waiting.back_mut().expect("just pushed").last_word = Some(self.cycle);
        }
    }

    fn verdict(&mut self, verdict: u8, reason: u8) -> Result<()> {
        let Some(w) = self.waiting.pop_front() else {
            bail!("a verdict without a frame");
        };
        let Some(last_word) = w.last_word else {
            bail!("a verdict before the frame's last word");
        };
        let o = &w.outcome;
        ensure!(
            verdict == o.verdict as u8 && reason == o.reason,
            "frame {}: RTL {verdict}/{reason}, firmware {}/{} ({:?}), {} bytes: {:02x?}",
            self.totals.frames,
            o.verdict as u8,
            o.reason,
            o.verdict,
            w.bytes.len(),
            w.bytes
        );
        let cycles = self.cycle - last_word;
        let (least, most) = self.totals.latency.unwrap_or((cycles, cycles));
        self.totals.latency = Some((least.min(cycles), most.max(cycles)));
        self.totals.frames += 1;
        Ok(())
    }

    fn descriptor_word(&mut self, port: usize, word: u64, is_last: bool) -> Result<()> {
        self.words[port].push(word);
        let words = &self.words[port];
        ensure!(
            is_last == (words.len() == 12),
            "a descriptor of {} words",
            words.len()
        );
        if !is_last {
            return Ok(());
        }
        let got: Descriptor = bytemuck::pod_read_unaligned(bytemuck::cast_slice(words));
        self.words[port].clear();
        let want = self.descriptors[port].pop_front();
        ensure!(
            Some(got) == want,
            "descriptor on port {port}:\nRTL      {got:?}\nfirmware {want:?}"
        );
        self.totals.descriptors += 1;
        Ok(())
    }
}
