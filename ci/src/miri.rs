//! The unsafe code of the libraries under Miri: the referee's C interface, and the ring under a lane.
//!
//! Miri is a part of nightly toolchains only, so this gate is not among those that run without a name.

use anyhow::{Context, Result, bail, ensure};

use crate::step::Step;

const TOOLCHAIN: &str = "nightly";

/// What runs under it, as arguments of `cargo miri test`. Tests that need the kernel's eventfd, or millions
/// of steps, are left to the other gates.
const RUNS: &[&str] = &[
    "--package referee --test scenarios",
    "--package lane --lib -- queue::tests::a_full queue::tests::items",
];

pub(crate) fn check(step: &mut Step<'_>) -> Result<String> {
    // Asked of rustup: the cargo that runs us belongs to another toolchain.
    let cargo = |step: &Step<'_>| {
        let mut command = step.place.command("rustup");
        command
            .args(["run", TOOLCHAIN, "cargo", "miri"])
            .env_remove("RUSTUP_TOOLCHAIN")
            .env_remove("CARGO")
            .env_remove("RUSTC");
        command
    };
    let there = cargo(step)
        .arg("--version")
        .stdin(std::process::Stdio::null())
        .output()
        .is_ok_and(|output| output.status.success());
    if !there {
        bail!(
            "not run: no miri component (rustup component add miri rust-src --toolchain {TOOLCHAIN})"
        );
    }
    for run in RUNS {
        let mut command = cargo(step);
        command
            .args("test --locked".split(' '))
            .args(run.split(' '))
            .env("CARGO_TARGET_DIR", step.place.target.join("miri"))
            .env("MIRIFLAGS", "-Zmiri-disable-isolation");
        step.run(&mut command)
            .with_context(|| format!("under Miri: {run}"))?;
    }
    ensure!(step.tests.passed > 0, "no test ran under Miri");
    Ok(format!("{} tests under Miri", step.tests.passed))
}
