//! The NIC backends on a cable between two network namespaces: real frames, and a kernel with its sockets at the other
//! end. The `test` gate runs the same tests where it can and passes over them where it cannot; here they must run.

use anyhow::{Result, ensure};

use crate::setup;
use crate::step::Step;

const TESTS: [&str; 2] = [
    "test --locked -p hostd --test nic --test box_on_cable",
    "test --locked -p bench --test wire namespaces",
];
/// Makes a test fail that would say instead that it was not run; `hostd/tests/veth` and
/// `bench/tests/wire.rs` read it.
pub(crate) const MUST_RUN: &str = "DELTABOX_VETH_REQUIRED";

pub(crate) fn check(step: &mut Step<'_>) -> Result<String> {
    if !setup::is_root() {
        let why = "NOT RUN: network namespaces need root";
        step.say(why);
        return Ok(why.into());
    }
    setup::iproute(step)?;
    let others = std::mem::take(&mut step.tests);
    for tests in TESTS {
        let mut command = step.place.cargo();
        step.run(command.args(tests.split(' ')).env(MUST_RUN, "1"))?;
    }
    // They count in the gate of that name.
    let ours = std::mem::replace(&mut step.tests, others);
    ensure!(ours.passed > 0, "no test ran");
    Ok(format!("{} tests", ours.passed))
}
