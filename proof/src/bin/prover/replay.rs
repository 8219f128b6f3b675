//! The prover's own replay: journal -> sequencer -> engine -> sealed batches. What the venue sealed is believed
//! only where this comes to the same.

use anyhow::{Context, bail, ensure};
use firmware::limits::{ACCOUNTS, TIER_INSTRUMENTS};
use journal::{Reader, RecordView, Tail};
use matcher::batch::SealedBatch;
use matcher::book::LadderBook;
use matcher::engine::{Engine, EngineLimits};
use matcher::outbox::Outbox;
use matcher::sequencer::{Input, Sequencer};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// How often a durable record that is not seen yet is looked for again.
const LOOKS_MAX: u32 = 20;
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// A replay under way.
pub(crate) struct Replay {
    dir: PathBuf,
    reader: Reader,
    rest: Machine,
}

/// All but the reader, whose records are borrowed while they are applied.
struct Machine {
    sequencer: Sequencer,
    engine: Engine<LadderBook>,
    outbox: Outbox,
    sealed: VecDeque<SealedBatch>,
}

impl Machine {
    fn apply(&mut self, record: &RecordView<'_>) -> anyhow::Result<()> {
        let h = &record.header;
        let input = self
            .sequencer
            .replay(h.seq, h.time_ns, h.template, h.session, record.body)
            .with_context(|| format!("journal record {}", h.seq))?;
        // The journal's own sizes: with others, an order that found no room could find one.
        if let Input::Domain(m) = input.input()
            && self.engine.last_seq().0 == 0
        {
            ensure!(
                m.accounts as usize <= ACCOUNTS,
                "the journal says {} accounts, the state tree has {ACCOUNTS}",
                m.accounts
            );
            let limits = EngineLimits {
                instruments: TIER_INSTRUMENTS as u16,
                ..EngineLimits::of(m)
            };
            self.engine = Engine::new(limits).context("sizes of the domain")?;
        }
        if let Input::Instrument(m) = input.input() {
            ensure!(
                usize::from(m.instrument) < TIER_INSTRUMENTS,
                "the journal lists instrument {}: this tier proves instruments below {TIER_INSTRUMENTS}",
                m.instrument
            );
        }
        self.engine.apply(&input, &mut self.outbox);
        for bytes in self.outbox.sealed() {
            let mut batch = matcher::batch::decode(bytes).context("a batch of our own engine")?;
            batch.journal_hash = record.chain.hash();
            self.sealed.push_back(batch);
        }
        Ok(())
    }
}

impl Replay {
    /// A replay at the start of the journal in `dir`.
    pub(crate) fn open(dir: &Path) -> anyhow::Result<Self> {
        let reader = Reader::open(dir).with_context(|| format!("journal in {}", dir.display()))?;
        let limits = EngineLimits {
            accounts: ACCOUNTS,
            ..EngineLimits::default()
        };
        let engine = Engine::new(limits).context("engine")?;
        Ok(Self {
            dir: dir.to_owned(),
            reader,
            rest: Machine {
                sequencer: Sequencer::new(),
                engine,
                outbox: Outbox::new(),
                sealed: VecDeque::new(),
            },
        })
    }

    /// The next batch that the engine seals, from records up to `last_seq`, which the caller knows to be durable.
    /// `None` if the engine seals none.
    pub(crate) fn batch_until(&mut self, last_seq: u64) -> anyhow::Result<Option<SealedBatch>> {
        let mut looks = 0;
        while self.rest.sealed.is_empty() && self.reader.next_seq() <= last_seq {
            let place = || format!("journal in {}", self.dir.display());
            if let Some(record) = self.reader.next_until(last_seq).with_context(place)? {
                looks = 0;
                self.rest.apply(&record)?;
                continue;
            }
            if looks < LOOKS_MAX {
                looks += 1;
                sleep(LOOK_AGAIN);
                continue;
            }
            // Durable and still not there: it is damaged, and this names the damage.
            let next = self.reader.next_seq();
            match self.reader.next().with_context(place)? {
                Some(record) => self.rest.apply(&record)?,
                None => bail!(
                    "{} ends before record {next}, which must be there{}",
                    place(),
                    self.tail().map(|t| format!(": {t}")).unwrap_or_default()
                ),
            }
        }
        Ok(self.rest.sealed.pop_front())
    }

    /// The next batch that the engine seals before the end of a journal at rest; `None` at its end.
    pub(crate) fn batch_at_rest(&mut self) -> anyhow::Result<Option<SealedBatch>> {
        while self.rest.sealed.is_empty() {
            let record = self.reader.next();
            let record = record.with_context(|| format!("journal in {}", self.dir.display()))?;
            let Some(record) = record else {
                return Ok(None);
            };
            self.rest.apply(&record)?;
        }
        Ok(self.rest.sealed.pop_front())
    }

    /// The engine as of the last record read.
    pub(crate) const fn engine(&self) -> &Engine<LadderBook> {
        &self.rest.engine
    }

    /// A last write that was cut off before it was durable, in words.
    pub(crate) fn tail(&self) -> Option<String> {
        match &self.reader.end().tail {
            Tail::Clean => None,
            Tail::Torn {
                segment,
                offset,
                bytes,
                fault,
            } => Some(format!(
                "segment {segment} offset {offset:#x}: {bytes} bytes were never durable ({fault})"
            )),
        }
    }
}
