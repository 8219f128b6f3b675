//! What a run ends with: the table of gates, the test total, the part of a log worth reading.

/// One line of the closing table.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) gate: &'static str,
    pub(crate) seconds: f64,
    /// A note on what was looked at, or in one line why the gate failed.
    pub(crate) result: Result<String, String>,
}

/// The table of gate, seconds and result, and a line of totals.
pub(crate) fn table(rows: &[Row]) -> String {
    let width = rows
        .iter()
        .map(|row| row.gate.len())
        .max()
        .unwrap_or(0)
        .max("total".len());
    let mut text = format!("{:<width$}  {:>8}  result\n", "gate", "seconds");
    for row in rows {
        let result = match &row.result {
            Ok(note) if note.is_empty() => "ok".to_owned(),
            Ok(note) => format!("ok       {note}"),
            Err(why) => format!("FAILED   {why}"),
        };
        text.push_str(&format!(
            "{:<width$}  {:>8.1}  {result}\n",
            row.gate, row.seconds
        ));
    }
    let seconds: f64 = rows.iter().map(|row| row.seconds).sum();
    let failed: Vec<_> = rows.iter().filter(|row| row.result.is_err()).collect();
    let summary = match failed.len() {
        0 => "no gate failed".to_owned(),
        n => format!(
            "{n} failed: {}",
            failed
                .iter()
                .map(|row| row.gate)
                .collect::<Vec<_>>()
                .join(", ")
        ),
    };
    text.push_str(&format!("{:<width$}  {seconds:>8.1}  {summary}\n", "total"));
    text
}

/// Sums of the `test result:` lines of cargo's test harness.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TestTotals {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
    /// How many closing lines were seen: none means that no test ran.
    pub(crate) binaries: u64,
}

impl TestTotals {
    /// Counts the line if it closes a test binary.
    pub(crate) fn read_line(&mut self, line: &str) {
        let Some(rest) = line.trim_start().strip_prefix("test result: ") else {
            return;
        };
        let Some((_, counts)) = rest.split_once(". ") else {
            return;
        };
        for count in counts.split(';') {
            let mut words = count.split_whitespace();
            let (Some(number), Some(what)) = (words.next(), words.next()) else {
                continue;
            };
            let Ok(number) = number.parse::<u64>() else {
                continue;
            };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
        self.binaries += 1;
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.binaries += other.binaries;
    }

    /// The plain closing line; none if no test binary ran.
    pub(crate) fn closing_line(&self) -> Option<String> {
        if self.binaries == 0 {
            return None;
        }
        let skipped = if self.ignored > 0 {
            format!(", {} skipped", self.ignored)
        } else {
            String::new()
        };
        Some(format!(
            "{} passed, {} failed{skipped}",
            self.passed, self.failed
        ))
    }
}

const EXCERPT_LINES_MAX: usize = 160;

/// The lines of a failed gate's log that say why: failed tests, else the first errors and the end.
pub(crate) fn excerpt(log: &str) -> Vec<&str> {
    let lines: Vec<&str> = log.lines().collect();
    let mut picked = failed_tests(&lines);
    if picked.is_empty() {
        let first = lines.iter().position(|line| {
            ["error", "ERROR", "npm error"]
                .iter()
                .any(|start| line.starts_with(start))
        });
        let end_from = lines.len().saturating_sub(40);
        if let Some(first) = first.filter(|&first| first < end_from) {
            let stop = (first + EXCERPT_LINES_MAX - 40).min(end_from);
            picked.extend(&lines[first..stop]);
            if stop < end_from {
                picked.push("[...]");
            }
        }
        picked.extend(&lines[end_from..]);
    }
    if picked.len() > EXCERPT_LINES_MAX {
        picked.truncate(EXCERPT_LINES_MAX);
        picked.push("[...]");
    }
    picked
}

/// Blocks from a first `failures:` to the `test result:` that closes it.
fn failed_tests<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    let mut picked = Vec::new();
    let mut inside = false;
    for line in lines {
        inside |= *line == "failures:";
        if inside {
            picked.push(*line);
        }
        inside &= !line.starts_with("test result:");
    }
    picked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(lines: &[&str]) -> TestTotals {
        let mut totals = TestTotals::default();
        lines.iter().for_each(|line| totals.read_line(line));
        totals
    }

    #[test]
    fn totals_sum_over_all_test_binaries() {
        let sum = totals(&[
            "running 12 tests",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.00s",
        ]);
        assert_eq!(
            sum,
            TestTotals {
                passed: 15,
                failed: 2,
                ignored: 1,
                binaries: 2
            }
        );
        assert_eq!(
            sum.closing_line().as_deref(),
            Some("15 passed, 2 failed, 1 skipped")
        );
    }

    #[test]
    fn lines_that_only_look_like_results_are_not_counted() {
        assert_eq!(
            totals(&[
                "test result_is_kept ... ok",
                "the test result: ok. 3 passed; 0 failed"
            ])
            .binaries,
            0
        );
        assert_eq!(totals(&["nothing"]).closing_line(), None);
    }

    #[test]
    fn a_binary_without_tests_still_gives_a_closing_line() {
        let sum =
            totals(&["test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out"]);
        assert_eq!(sum.closing_line().as_deref(), Some("0 passed, 0 failed"));
    }

    #[test]
    fn the_table_names_each_gate_and_those_that_failed() {
        let row = |gate, seconds, result| Row {
            gate,
            seconds,
            result,
        };
        let text = table(&[
            row("fmt", 0.95, Ok(String::new())),
            row("nostd", 2.0, Ok("linked".into())),
            row("lint", 61.25, Err("exit status: 101".into())),
        ]);
        let expected = "\
gate    seconds  result
fmt         0.9  ok
nostd       2.0  ok       linked
lint       61.2  FAILED   exit status: 101
total      64.2  1 failed: lint
";
        assert_eq!(text, expected);
    }

    #[test]
    fn the_excerpt_shows_failed_tests_and_not_the_passed_ones() {
        let log = "test a ... ok\n\nfailures:\n\n---- b stdout ----\nboom\n\nfailures:\n    b\n\n\
                   test result: FAILED. 1 passed; 1 failed; 0 ignored\n     Running c\ntest d ... ok";
        let picked = excerpt(log);
        assert!(picked.contains(&"boom"));
        assert!(!picked.contains(&"test a ... ok") && !picked.contains(&"test d ... ok"));
    }

    #[test]
    fn the_excerpt_starts_at_the_first_error_and_is_bounded() {
        let mut log = "   Compiling x\n".repeat(500);
        log.push_str("error[E0308]: mismatched types\n");
        log.push_str(&"warning: noise\n".repeat(5000));
        let picked = excerpt(&log);
        assert_eq!(picked[0], "error[E0308]: mismatched types");
        assert!(picked.len() <= EXCERPT_LINES_MAX + 1);
        assert_eq!(excerpt("one\ntwo"), ["one", "two"]);
    }
}
