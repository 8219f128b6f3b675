//! What runs for as long as it is asked to: `cargo ci fuzz --minutes N` and `cargo ci sim --seeds N`.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};

use crate::place::Place;
use crate::step::Step;
use crate::{fuzz, gate};

/// Runs of one kind of simulation: the test, and how its environment says which seeds.
struct Sim {
    what: &'static str,
    test: &'static str,
    /// Variables for the first seed, if it can be told, and for the number of seeds.
    first: Option<&'static str>,
    count: &'static str,
    /// Seeds in one of that number.
    each: u64,
}

const SIMS: [Sim; 5] = [
    Sim {
        what: "venues",
        test: "--package matcher --test engine_properties -- --nocapture any_venue",
        first: Some("ENGINE_SEED"),
        count: "ENGINE_SEEDS",
        each: 1,
    },
    Sim {
        what: "session storms",
        test: "--package hostd --test sessions -- --nocapture over_ a_venue_that_crashes",
        first: None,
        count: "SESSION_SEEDS",
        each: 11,
    },
    Sim {
        what: "feeds",
        test: "--package hostd --test feed_sim -- --nocapture",
        first: Some("FEED_SEED"),
        count: "FEED_SEEDS",
        each: 1,
    },
    Sim {
        what: "whole boxes",
        test: "--package hostd --test sim -- --nocapture whatever_happens",
        first: Some("SIM_SEED"),
        count: "SIM_SEEDS",
        each: 1,
    },
    Sim {
        what: "settlement contracts",
        test: "--package l1 --test l1 -- --nocapture random_walks",
        first: Some("L1_SEED"),
        count: "L1_SEEDS",
        each: 1,
    },
];
const KILLS_TEST: &str = "--package hostd --test kills -- --nocapture";

/// What one `cargo ci sim` runs.
fn simulate(step: &mut Step<'_>, seeds: u64, from: u64, kills: u64) -> Result<String> {
    for sim in &SIMS {
        let mut command = test(step, sim.test);
        command.env(sim.count, seeds.div_ceil(sim.each).to_string());
        if let Some(first) = sim.first {
            command.env(first, from.to_string());
        }
        run_tests(step, &mut command, sim.what)?;
    }
    if kills > 0 {
        let mut command = test(step, KILLS_TEST);
        command.env("KILLS", kills.to_string());
        command.env("KILLS_SEED", from.to_string());
        run_tests(step, &mut command, "kills")?;
    }
    let kinds: Vec<_> = SIMS.iter().map(|s| s.what).collect();
    Ok(format!(
        "{seeds} each of {}, from seed {from} on; {kills} kills",
        kinds.join(", ")
    ))
}

fn test(step: &Step<'_>, of: &str) -> Command {
    let mut command = step.place.cargo();
    command.args(["test", "--locked"]).args(of.split(' '));
    command
}

fn run_tests(step: &mut Step<'_>, command: &mut Command, what: &str) -> Result<()> {
    let before = step.tests.passed;
    step.run(command)?;
    ensure!(step.tests.passed > before, "no test of {what} ran");
    Ok(())
}

/// A long run, as it was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Long {
    /// Fuzzers, or one of them, for so many minutes together.
    Fuzz {
        minutes: u64,
        target: Option<String>,
    },
    /// Simulations of each kind, of so many seeds from one on, and so many kills of a real daemon.
    Sim { seeds: u64, from: u64, kills: u64 },
}

impl Long {
    /// None for a run of gates.
    ///
    /// # Errors
    /// For flags that are unknown, twice there, or no numbers.
    pub(crate) fn of(words: &[String]) -> Result<Option<Self>> {
        let Some((name, flags)) = words.split_first() else {
            return Ok(None);
        };
        match name.as_str() {
            "fuzz" if !flags.is_empty() && flags[0].starts_with('-') => {
                let mut flags = Flags::of(flags)?;
                let target = flags.take("--target");
                let minutes = flags.number("--minutes")?.unwrap_or(1);
                flags.none_left()?;
                Ok(Some(Self::Fuzz { minutes, target }))
            }
            "sim" => {
                let mut flags = Flags::of(flags)?;
                let seeds = flags.number("--seeds")?.unwrap_or(20);
                let from = flags.number("--from")?.unwrap_or(1);
                let kills = flags.number("--kills")?.unwrap_or(seeds.div_ceil(5));
                flags.none_left()?;
                ensure!(seeds > 0, "--seeds 0 runs nothing");
                Ok(Some(Self::Sim { seeds, from, kills }))
            }
            _ => Ok(None),
        }
    }

    pub(crate) fn run(self, place: &Place) -> Result<ExitCode> {
        match self {
            Self::Fuzz { minutes, target } => {
                // The build comes on top, and the last input of each target may be a slow one.
                gate::run_long(place, "fuzz", minutes + 30, |step| {
                    fuzz::long(step, minutes, target.as_deref())
                })
            }
            Self::Sim { seeds, from, kills } => gate::run_long(place, "sim", 7 * 24 * 60, |step| {
                simulate(step, seeds, from, kills)
            }),
        }
    }
}

/// `--name value` pairs.
struct Flags(Vec<(String, String)>);

impl Flags {
    fn of(words: &[String]) -> Result<Self> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in words.chunks(2) {
            let [name, value] = pair else {
                bail!("{} wants a value", pair[0]);
            };
            ensure!(pairs.iter().all(|(n, _)| n != name), "{name} stands twice");
            pairs.push((name.clone(), value.clone()));
        }
        Ok(Self(pairs))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(n, _)| n == name)?;
        Some(self.0.remove(at).1)
    }

    fn number(&mut self, name: &str) -> Result<Option<u64>> {
        self.take(name)
            .map(|text| {
                text.parse()
                    .with_context(|| format!("{name} {text} is no number"))
            })
            .transpose()
    }

    fn none_left(&self) -> Result<()> {
        match self.0.first() {
            Some((name, _)) => bail!("unknown flag {name}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(text: &str) -> Result<Option<Long>> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        Long::of(&words)
    }

    #[test]
    fn names_of_gates_are_no_long_run() {
        for text in ["", "fmt lint", "fuzz", "fuzz lint", "lint sim"] {
            assert_eq!(long(text).expect("gates"), None, "{text}");
        }
    }

    #[test]
    fn flags_say_how_long_and_what() {
        let fuzz = Long::Fuzz {
            minutes: 5,
            target: Some("book".into()),
        };
        assert_eq!(
            long("fuzz --target book --minutes 5").expect("known"),
            Some(fuzz)
        );
        let sim = |seeds, from, kills| Some(Long::Sim { seeds, from, kills });
        assert_eq!(
            long("sim --kills 7 --seeds 9 --from 4").expect("known"),
            sim(9, 4, 7)
        );
        assert_eq!(long("sim").expect("known"), sim(20, 1, 4));
        assert_eq!(long("sim --seeds 1000").expect("known"), sim(1_000, 1, 200));
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        for (text, part) in [
            ("fuzz --minutes", "--minutes"),
            ("fuzz --minutes x", "x"),
            ("sim --minutes 3", "--minutes"),
            ("sim --seeds 0", "--seeds"),
            ("sim --seeds 1 --seeds 2", "twice"),
        ] {
            let error = format!("{:#}", long(text).expect_err("refused"));
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
