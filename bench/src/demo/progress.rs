//! Live progress: a block that is redrawn on a terminal, plain lines elsewhere.

use super::tracker::{Totals, Tracker, number};
use crate::clock::{Deadline, now_ns};
use crate::report::plot::{grouped, ns_text};
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

/// Time between two redraws of the block.
const REDRAW: Duration = Duration::from_millis(200);
/// Time between two plain lines.
const SPEAK: Duration = Duration::from_secs(2);
/// Cells of the proving bar.
const BAR: usize = 24;
/// Stages that are named; older ones fall off to the left.
const STAGES: usize = 5;

/// Where progress goes.
pub(crate) struct Progress {
    tty: bool,
    title: String,
    next: Deadline,
    /// Lines of the block on the screen.
    drawn: usize,
    /// Last stage that was told in plain lines.
    told: String,
    began_ns: u64,
    /// The last state has been shown.
    over: bool,
}

/// Micro-units as units with two decimals.
pub(crate) fn money(micro: i64) -> String {
    let cents = (i128::from(micro) + 5_000).div_euclid(10_000);
    let sign = if cents < 0 { "\u{2212}" } else { "" };
    let cents = cents.abs();
    format!("{sign}{}.{:02}", grouped(cents / 100), cents % 100)
}

impl Progress {
    /// On standard output.
    pub(crate) fn new(title: String) -> Self {
        let tty =
            std::io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|t| t != "dumb");
        Self {
            tty,
            title,
            next: Deadline::after(Duration::ZERO),
            drawn: 0,
            told: String::new(),
            began_ns: now_ns(),
            over: false,
        }
    }

    /// Shows the state if it is time to.
    pub(crate) fn show(&mut self, t: &Tracker) {
        let stage_is_new = !self.tty && t.stage != self.told && !t.stage.contains('/');
        if !self.next.passed() && !stage_is_new {
            return;
        }
        self.next = Deadline::after(if self.tty { REDRAW } else { SPEAK });
        t.stage.clone_into(&mut self.told);
        if self.tty {
            self.draw(t);
        } else {
            // Nobody may be reading any more; the run goes on all the same.
            let _ = writeln!(std::io::stdout(), "{}", plain(t));
        }
    }

    /// Shows the last state and leaves it on the screen.
    pub(crate) fn finish(&mut self, t: &Tracker) {
        if self.tty && !self.over {
            self.draw(t);
        }
        self.over = true;
    }

    fn draw(&mut self, t: &Tracker) {
        let seconds = now_ns().saturating_sub(self.began_ns) / 1_000_000_000;
        let title = format!("{}   {}:{:02}", self.title, seconds / 60, seconds % 60);
        let lines = block(&title, t);
        let width = rustix::termios::tcgetwinsize(rustix::stdio::stdout())
            .map_or(80, |w| usize::from(w.ws_col).max(20));
        let mut out = String::new();
        if self.drawn > 0 {
            out.push_str(&format!("\x1b[{}A", self.drawn));
        }
        for line in &lines {
            let cut: String = line.chars().take(width - 1).collect();
            out.push_str(&format!("\x1b[2K{cut}\n"));
        }
        // A block that became shorter leaves lines behind: clear to the end of the screen.
        out.push_str("\x1b[J");
        self.drawn = lines.len();
        let mut stdout = std::io::stdout();
        let _ = stdout
            .write_all(out.as_bytes())
            .and_then(|()| stdout.flush());
    }
}

fn bar(fraction: f64) -> String {
    let full = ((fraction.clamp(0.0, 1.0) * BAR as f64) as usize).min(BAR);
    format!("{}{}", "█".repeat(full), "░".repeat(BAR - full))
}

fn venue_round(t: &Tracker) -> (u64, u64) {
    let stage = &t.status["stage_ns"]["rx_tx"];
    (number(stage, "p50"), number(stage, "p99"))
}

fn block(title: &str, t: &Tracker) -> Vec<String> {
    let mut lines = vec![format!("deltabox demo   {title}")];
    let from = t.done.len().saturating_sub(STAGES);
    let done: String = t.done[from..].iter().map(|d| format!("{d} ✓  ")).collect();
    lines.push(format!("  {done}▶ {}", t.stage));
    let Totals {
        requests,
        acks,
        fills,
        rejects,
        requests_per_s,
        fills_per_s,
        p50,
        p99,
    } = t.totals();
    if requests > 0 {
        let n = |v: u64| grouped(i128::from(v));
        lines.push(format!(
            "  orders      {} requests ({requests_per_s}/s)   {} acks   {} fills ({fills_per_s}/s)   {} rejects",
            n(requests), n(acks), n(fills), n(rejects)
        ));
        let (v50, v99) = venue_round(t);
        let ns = |v: u64| ns_text(v as f64);
        lines.push(format!(
            "  round trip  p50 {}  p99 {}   inside the venue p50 {}  p99 {}",
            ns(p50),
            ns(p99),
            ns(v50),
            ns(v99)
        ));
    }
    if !t.batches.is_empty() {
        let proven = t.batches.values().filter(|b| b.proven_ns > 0).count();
        lines.push(format!(
            "  batches     {} sealed   {proven} proven   {} on L1",
            t.sealed(),
            t.committed()
        ));
    }
    if let Some(p) = &t.proving {
        lines.push(format!(
            "  proving     #{} {} {:3.0} %  {}",
            p.batch_no,
            bar(p.fraction),
            p.fraction * 100.0,
            p.stage
        ));
    }
    if let Some(b) = t.batches.values().rev().find(|b| b.committed_ns > 0) {
        let after = b.committed_ns.saturating_sub(b.sealed_ns) as f64;
        lines.push(format!(
            "  on L1       #{}  {} gas   {} after its seal",
            b.batch_no,
            grouped(i128::from(b.gas)),
            ns_text(after)
        ));
    }
    if let Some((no, s)) = t.settlements.last_key_value() {
        lines.push(format!(
            "  settled     {no}   last moved {}   delta leg {}   residual {}",
            money(s.transferred_micro),
            money(s.delta_leg_micro),
            money(s.residual_micro)
        ));
    }
    lines
}

fn plain(t: &Tracker) -> String {
    let Totals {
        requests,
        fills,
        rejects,
        requests_per_s,
        fills_per_s,
        p50,
        p99,
        ..
    } = t.totals();
    let mut out = format!("demo: {}", t.stage);
    if requests > 0 {
        out += &format!(
            " | {requests} requests, {requests_per_s}/s | {fills} fills, {fills_per_s}/s | {rejects} rejects | p50 {} p99 {}",
            ns_text(p50 as f64),
            ns_text(p99 as f64)
        );
    }
    if t.sealed() > 0 {
        out += &format!(" | {} sealed, {} on L1", t.sealed(), t.committed());
    }
    if let Some(p) = &t.proving {
        out += &format!(" | proving #{} {:.0} %", p.batch_no, p.fraction * 100.0);
    }
    if let Some((no, s)) = t.settlements.last_key_value() {
        out += &format!(
            " | settlement {no}: delta leg {} residual {}",
            money(s.delta_leg_micro),
            money(s.residual_micro)
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_reads_in_units_rounded_to_cents() {
        assert_eq!(money(12_345_678), "12.35");
        assert_eq!(money(-1_004_000), "\u{2212}1.00");
        assert_eq!(money(1_234_567_000_000), "1\u{202F}234\u{202F}567.00");
    }

    #[test]
    fn the_block_shows_what_is_under_way() {
        let mut t = Tracker::default();
        t.next_stage("chain", "contracts");
        assert_eq!(block("x", &t)[1], "  chain ✓  ▶ contracts");
        t.prover_line(r#"{"event":"progress","batch_no":2,"fraction":0.5,"stage":"prove"}"#);
        let text = block("x", &t).join("\n");
        assert!(
            text.contains("proving     #2 ████████████░░░░░░░░░░░░  50 %  prove"),
            "{text}"
        );
        assert!(plain(&t).ends_with("proving #2 50 %"));
    }
}
