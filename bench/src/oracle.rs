//! `bench oracle`: signed prices over UDP, from a seeded walk or a recorded path.

use crate::clock::now_ns;
use crate::prng::Prng;
use crate::scenario::{IndexModel, RunFile, Source};
use anyhow::{Context as _, ensure};
use firmware::wire::datagram::{DatagramBuilder, KIND_CONTROL, TAG_LEN};
use firmware::wire::session::{OracleReport, SessionMessage};
use handshake::SecretKey;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::Duration;

/// Which registered key signs.
pub(crate) const ORACLE_KEY_ID: u32 = 1;

/// `bench oracle`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Run file that `bench demo` wrote.
    #[arg(long)]
    run: PathBuf,
    /// Time between two reports.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(20..=2_000))]
    interval_ms: u64,
}

/// The index over time. A seed fixes the walk, step by step.
#[derive(Debug)]
pub(crate) struct Index {
    model: IndexModel,
    prng: Prng,
    now_micro: i64,
    vols_e9: [i64; 4],
}

impl Index {
    pub(crate) fn new(model: IndexModel, seed: u64) -> Self {
        let now_micro = model.start_micro;
        Self {
            vols_e9: model.vols_e9,
            model,
            prng: Prng::new(seed, 0x0AC1E),
            now_micro,
        }
    }

    /// The volatilities of the next report: a walk too where the index is one. The near expiry moves most.
    pub(crate) fn next_vols(&mut self) -> [i64; 4] {
        if self.model.path.is_empty() {
            for (slot, (now, start)) in self.vols_e9.iter_mut().zip(self.model.vols_e9).enumerate()
            {
                let step = self.prng.normal(start / (400 + 200 * slot as i64));
                *now = (*now + step + (start - *now) / 50).clamp(start / 2, start * 2);
            }
        }
        self.vols_e9
    }

    /// The index of the next report, `since_ns` after the start of trading (zero before it).
    pub(crate) fn next(&mut self, since_ns: u64) -> i64 {
        if self.model.path.is_empty() {
            self.walk();
        } else if let Some(&(_, v)) = self.model.path.iter().rev().find(|p| p.0 <= since_ns) {
            self.now_micro = v;
        }
        self.now_micro
    }

    fn walk(&mut self) {
        let m = &self.model;
        let sigma = m.start_micro / 1_000_000 * m.step_ppm;
        let back = (m.start_micro - self.now_micro) / 1_000_000 * m.reversion_ppm;
        let mut step = self.prng.normal(sigma) + back;
        if self.prng.chance(m.jump_chance_ppm) {
            let size = sigma * self.prng.between(10, 20);
            step += if self.prng.chance(500_000) {
                size
            } else {
                -size
            };
        }
        // A walk that has lost a tenth of itself is pulled up short: the books have a band.
        let reach = m.start_micro / 10;
        self.now_micro =
            (self.now_micro + step).clamp(m.start_micro - reach, m.start_micro + reach);
    }
}

/// Sends until standard input is closed. A line `start <ns>` on it says when trading begins.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let file = RunFile::read(&args.run)?;
    let key = SecretKey::load(&file.venue.keys.join("oracle.key"))?;
    let socket = UdpSocket::bind("127.0.0.1:0").context("no UDP port on loopback")?;
    let venue = &file.venue.order_entry;
    socket
        .connect(venue)
        .with_context(|| format!("cannot reach {venue}"))?;
    if let Source::Recorded(_) = &file.scenario.source {
        ensure!(
            file.scenario.index.start_micro > 0,
            "a recorded flow needs an index"
        );
    }
    let lines = crate::worker::stdin_lines();
    let mut index = Index::new(file.scenario.index.clone(), file.scenario.seed);
    let (mut start_ns, mut report_no, mut due) = (u64::MAX, 0, now_ns());
    loop {
        match lines.try_recv() {
            Ok(line) => {
                if let Some(ns) = line.strip_prefix("start ") {
                    start_ns = ns.trim().parse().context("start: no time")?;
                }
            }
            Err(std::sync::mpsc::TryRecvError::Empty) => {}
            Err(std::sync::mpsc::TryRecvError::Disconnected) => return Ok(()),
        }
        report_no += 1;
        let now = now_ns();
        let index_micro = index.next(now.saturating_sub(start_ns));
        let vols = index.next_vols();
        let report = OracleReport {
            report_no,
            timestamp: now,
            index_micro,
            vol0_e9: vols[0],
            vol1_e9: vols[1],
            vol2_e9: vols[2],
            vol3_e9: vols[3],
            key_id: ORACLE_KEY_ID,
            pad1: 0,
            signature: [0; 64],
        };
        let report = handshake::sign_oracle(&key, &report);
        // A venue that is not up yet, or already gone, refuses the datagram; the next one is due anyway.
        let _ = socket.send(&datagram(&report));
        due += args.interval_ms * 1_000_000;
        std::thread::sleep(Duration::from_nanos(due.saturating_sub(now_ns())));
    }
}

/// The datagram of one report.
pub(crate) fn datagram(report: &OracleReport) -> Vec<u8> {
    let message = SessionMessage::OracleReport(*report);
    let mut out = DatagramBuilder::new();
    let fits = out.push(message.header(), message.block());
    assert!(fits, "a report is far smaller than a datagram");
    out.finish(KIND_CONTROL, 0, 0, 0, 0, |_, _| [0; TAG_LEN])
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(seed: u64) -> Vec<i64> {
        let model = crate::scenario::synthetic(seed, 30, 8, 0).index;
        let mut index = Index::new(model, seed);
        (0..3_000).map(|_| index.next(0)).collect()
    }

    #[test]
    fn the_walk_is_fixed_by_its_seed_moves_and_comes_back() {
        let a = walk(1);
        assert_eq!(a, walk(1));
        assert_ne!(a, walk(2));
        let (lo, hi) = (a.iter().min().expect("some"), a.iter().max().expect("some"));
        assert!(
            *hi - *lo > 100_000_000,
            "more than a hundred in ten minutes"
        );
        assert!(
            (54_000_000_000..66_000_000_000).contains(lo)
                && (54_000_000_000..66_000_000_000).contains(hi)
        );
    }

    #[test]
    fn a_recorded_path_is_followed_by_time() {
        let mut model = crate::scenario::synthetic(1, 30, 8, 0).index;
        model.path = vec![(10, 7), (20, 8)];
        let start = model.start_micro;
        let mut index = Index::new(model, 1);
        assert_eq!([0, 10, 15, 25].map(|t| index.next(t)), [start, 7, 7, 8]);
    }

    #[test]
    fn the_datagram_is_a_control_datagram_with_one_report() {
        let report: OracleReport = bytemuck::Zeroable::zeroed();
        let bytes = datagram(&report);
        let (header, body, tag) = firmware::wire::datagram::split(&bytes).expect("well formed");
        assert_eq!((header.kind, tag), (KIND_CONTROL, &[0; TAG_LEN]));
        let all: Vec<_> = firmware::wire::datagram::messages(body).collect();
        assert_eq!(all.len(), 1);
        assert_eq!(
            SessionMessage::decode(all[0].expect("whole")),
            Ok(SessionMessage::OracleReport(report))
        );
    }
}
