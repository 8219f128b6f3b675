//! The runner behind `cargo ci` (every gate) and `cargo demo` (the main job).
//!
//! `cargo ci` runs all gates, `cargo ci fmt lint` the named ones, `cargo ci --list` names them.
//! A gate prepares what it needs, so each also works alone on a fresh machine; once prepared, none
//! needs the network. Logs lie under `<target>/ci/`. The exit code is 0 only if every gate passed.
//! This crate depends on no other of ours and none on it: it drives cargo and the built programs.

mod contracts;
mod demo;
mod dpdk;
mod fuzz;
mod gate;
mod hw;
mod interleavings;
mod layers;
mod long;
mod miri;
mod nic;
mod nics;
mod nostd;
mod package;
mod panics;
mod place;
mod readers;
mod report;
mod setup;
mod step;
mod tidy;

use std::process::ExitCode;

use anyhow::Result;

use crate::place::Place;

const USAGE: &str = "\
cargo ci                 every gate, in order
cargo ci NAME...         the named gates, in the order given
cargo ci --list          what gates there are
cargo ci fuzz --minutes N [--target T]   the fuzzers for so long together, on until something breaks
cargo ci sim --seeds N [--from S] [--kills K]   so many simulations of each kind, each drawn from its
                         seed, and so many kills of a real daemon (200 for 1,000 seeds)
cargo demo -- ARGS       build and run the main job (cargo demo -- --help)";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("deltabox: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<ExitCode> {
    // `cargo demo` is its own word, since `cargo ci demo` is the gate of that name.
    if let Some(("run-demo", rest)) = args.split_first().map(|(a, b)| (a.as_str(), b)) {
        return demo::run_for_user(&Place::find()?, without_dashes(rest));
    }
    let names = without_dashes(args);
    if let Some(long) = long::Long::of(names)? {
        return long.run(&Place::find()?);
    }
    if let Some(flag) = names.iter().find(|name| name.starts_with('-')) {
        match flag.as_str() {
            "--list" => print!("{}", gate::list()),
            "--help" | "-h" => println!("{USAGE}\n\n{}", gate::list().trim_end()),
            other => anyhow::bail!("unknown flag {other}\n{USAGE}"),
        }
        return Ok(ExitCode::SUCCESS);
    }
    let gates = gate::select(names)?;
    gate::run_all(&Place::find()?, &gates)
}

/// Cargo keeps the `--` that separates an alias's arguments; it means nothing to us.
fn without_dashes(args: &[String]) -> &[String] {
    match args.split_first() {
        Some((first, rest)) if first == "--" => rest,
        _ => args,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn only_the_first_separator_is_taken_off() {
        assert_eq!(
            without_dashes(&words("-- --seconds 30")),
            words("--seconds 30")
        );
        assert_eq!(
            without_dashes(&words("--seconds 30")),
            words("--seconds 30")
        );
        assert_eq!(without_dashes(&words("-- a -- b")), words("a -- b"));
        assert!(without_dashes(&[]).is_empty());
    }

    #[test]
    fn an_unknown_flag_is_refused_by_name() {
        let error = run(&words("--fast")).expect_err("refused");
        assert!(error.to_string().contains("--fast"), "{error}");
    }
}
