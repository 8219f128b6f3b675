//! What runs for as long as it is asked to: `cargo ci fuzz --minutes N` and `cargo ci sim --seeds N`.

use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};

use crate::place::Place;
use crate::{fuzz, gate};

const SIM_TEST: &str =
    "test --locked --package matcher --test engine_properties -- --nocapture any_venue";

/// A long run, as it was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Long {
    /// Fuzzers, or one of them, for so many minutes together.
    Fuzz {
        minutes: u64,
        target: Option<String>,
    },
    /// Venues of so many seeds from one on.
    Sim { seeds: u64, from: u64 },
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
                flags.none_left()?;
                ensure!(seeds > 0, "--seeds 0 runs nothing");
                Ok(Some(Self::Sim { seeds, from }))
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
            Self::Sim { seeds, from } => gate::run_long(place, "sim", 7 * 24 * 60, |step| {
                let mut command = step.place.cargo();
                command
                    .args(SIM_TEST.split(' '))
                    .env("ENGINE_SEED", from.to_string())
                    .env("ENGINE_SEEDS", seeds.to_string());
                step.run(&mut command)?;
                ensure!(step.tests.passed > 0, "no simulation ran");
                Ok(format!("{seeds} venues from seed {from} on"))
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
        let sim = Long::Sim { seeds: 9, from: 4 };
        assert_eq!(long("sim --seeds 9 --from 4").expect("known"), Some(sim));
        let few = Long::Sim { seeds: 20, from: 1 };
        assert_eq!(long("sim").expect("known"), Some(few));
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
