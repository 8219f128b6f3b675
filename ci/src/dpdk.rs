//! The NIC backend `dpdk`, a feature that no other gate builds: its lints, its documentation, and its tests over a
//! cable between network namespaces, with a kernel at the other end.

use anyhow::{Result, ensure};

use crate::nics::MUST_RUN;
use crate::setup;
use crate::step::Step;

const LINT: &str = "clippy --locked --package hostd --package dpdk-sys --features hostd/dpdk --all-targets -- -D warnings";
const DOC: &str = "doc --locked --package hostd --package dpdk-sys --features hostd/dpdk --no-deps --document-private-items";
/// Only what the feature adds: the rest has run without it, or will.
const TESTS: &[&str] = &["--lib dpdk", "--test nic dpdk", "--test box_on_cable dpdk"];

pub(crate) fn check(step: &mut Step<'_>) -> Result<String> {
    let root = setup::is_root();
    if !root && !setup::has_dpdk() {
        let why = "NOT RUN: libdpdk is not here, and neither is root to install it";
        step.say(why);
        return Ok(why.into());
    }
    setup::dpdk(step)?;
    let mut lint = step.place.cargo();
    step.run(lint.args(LINT.split(' ')))?;
    let mut doc = step.place.cargo();
    doc.env("RUSTDOCFLAGS", "-D warnings");
    step.run(doc.args(DOC.split(' ')))?;
    if !root {
        let why = "builds; its tests NOT RUN: network namespaces need root";
        step.say(why);
        return Ok(why.into());
    }
    setup::iproute(step)?;
    for tests in TESTS {
        let before = step.tests.passed;
        let mut cargo = step.place.cargo();
        cargo.env(MUST_RUN, "1");
        cargo.args("test --locked --package hostd --features dpdk".split(' '));
        step.run(cargo.args(tests.split(' ')))?;
        ensure!(step.tests.passed > before, "no test ran in {tests}");
    }
    Ok(format!("{} tests", step.tests.passed))
}
