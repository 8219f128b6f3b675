//! The RTL: lint, and lockstep with the firmware crate under Verilator.

use anyhow::{Context, Result, ensure};

use crate::setup;
use crate::step::Step;

const TOP: &str = "deltabox_nic";
const LINT: &str =
    "clippy --locked --package cosim --features verilator --all-targets -- -D warnings";
const TESTS: &str = "test --locked --package cosim --features verilator";

pub(crate) fn check(step: &mut Step<'_>) -> Result<String> {
    if !setup::can_install() && !setup::has_verilator() {
        let why = "NOT RUN: Verilator is not here, and neither is root to install it";
        step.say(why);
        return Ok(why.into());
    }
    setup::cxx(step)?;
    setup::verilator(step)?;
    let rtl = step.place.root.join("hw/rtl");
    let list =
        std::fs::read_to_string(rtl.join("files.f")).context("cannot read hw/rtl/files.f")?;
    let mut lint = step.place.command("verilator");
    lint.args(["--lint-only", "-Wall", "--top-module", TOP, "-Ihw/rtl"]);
    lint.arg("hw/lint/waivers.vlt");
    step.run(lint.args(list.lines().map(|name| format!("hw/rtl/{name}"))))?;
    let mut cargo = step.place.cargo();
    step.run(cargo.args(LINT.split(' ')))?;
    let before = step.tests.passed;
    let mut cargo = step.place.cargo();
    step.run(cargo.args(TESTS.split(' ')))?;
    ensure!(step.tests.passed >= before + 7, "the lockstep did not run");
    Ok("120,000 frames in lockstep, 0 mismatches".into())
}
