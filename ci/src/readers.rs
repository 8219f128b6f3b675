//! Programs that are not ours read what our code wrote: SBE decoders from PyPI take every golden vector, tshark
//! takes captures of them in our frames, and a Python client trades with the daemon.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::setup;
use crate::step::Step;

/// Writes the captures, into cargo's folder for files of tests. Built as the `test` gate builds it.
const CAPTURES: &str = "test --locked --workspace --test dissector";
/// Builds the daemon as the `test` gate builds it.
const DAEMON: &str = "test --locked --workspace --test box --no-run";

const RUN_TESTS: &str = "firmware/readers/run_tests.py";

pub(crate) fn check(step: &mut Step<'_>) -> Result<String> {
    let python = setup::readers_python(step)?;
    setup::tshark(step)?;
    let captures = step.place.target.join("tmp");
    let tests = step.tests;
    for call in [CAPTURES, DAEMON] {
        let mut cargo = step.place.cargo();
        step.run(cargo.args(call.split(' ')))?;
    }
    // They run once more, and count, in the gate of that name.
    step.tests = tests;
    for name in ["feed.pcap", "order_entry.pcap"] {
        let path = captures.join(name);
        ensure!(path.is_file(), "no test wrote {}", path.display());
    }
    let read = step.run_for_output(script(step, &python).arg("firmware/readers/vectors.py"))?;
    let told = read.lines().last().context("the readers said nothing")?;
    let mut count = 0;
    for folder in ["firmware/readers", "bench/python"] {
        let mut tries = script(step, &python);
        tries.env("DELTABOX_CAPTURES", &captures);
        tries.env("DELTABOX_HOSTD", step.place.target.join("debug/hostd"));
        let printed = step
            .run_for_output(tries.args([RUN_TESTS, folder]))
            .with_context(|| format!("in {folder}"))?;
        let last = printed.lines().last().unwrap_or_default();
        count += (last.parse::<u32>()).with_context(|| format!("{last} is no number of tests"))?;
    }
    Ok(format!("{told}; {count} tests in Python"))
}

/// Python from the top of the checkout; it leaves no files there.
fn script(step: &Step<'_>, python: &Path) -> Command {
    let mut command = step.place.command(python);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}
