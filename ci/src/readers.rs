//! Programs that are not ours read what our code wrote: SBE decoders from PyPI take every golden vector.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::setup;
use crate::step::Step;

const FOLDER: &str = "firmware/readers";

pub(crate) fn check(step: &mut Step<'_>) -> Result<String> {
    let python = setup::readers_python(step)?;
    let read = step.run_for_output(script(step, &python).arg("firmware/readers/vectors.py"))?;
    step.run(script(step, &python).args(["-m", "unittest", "discover", "-s", FOLDER]))?;
    let told = read.lines().last();
    Ok(told.context("the readers said nothing")?.to_owned())
}

/// Python from the top of the checkout; it leaves no files there.
fn script(step: &Step<'_>, python: &Path) -> Command {
    let mut command = step.place.command(python);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}
