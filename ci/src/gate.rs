//! The gates by name, in the order of a full run: cheap ones first, `test` last so that its total closes the output.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::place::Place;
use crate::report::{Row, TestTotals, excerpt, table};
use crate::step::Step;
use crate::{
    contracts, demo, dpdk, fuzz, hw, interleavings, layers, miri, nic, nics, nostd, package,
    readers, setup, tidy,
};

/// One gate: what it looks at, how long it may take on two slow cores, and how it looks.
pub(crate) struct Gate {
    name: &'static str,
    about: &'static str,
    minutes_max: u64,
    /// Gives a note for the table; an error is a failed gate.
    check: fn(&mut Step<'_>) -> Result<String>,
}

const GATES: &[Gate] = &[
    Gate {
        name: "setup",
        about: "installs what the other gates need",
        minutes_max: 40,
        check: setup::everything,
    },
    Gate {
        name: "fmt",
        about: "rustfmt",
        minutes_max: 5,
        check: fmt,
    },
    Gate {
        name: "tidy",
        about: "top level, leftovers, file sizes, machine paths, one version per dependency",
        minutes_max: 2,
        check: tidy::check,
    },
    Gate {
        name: "layers",
        about: "which crate may depend on which",
        minutes_max: 2,
        check: layers::check,
    },
    Gate {
        name: "deny",
        about: "licences, banned crates, sources of dependencies",
        minutes_max: 40,
        check: deny,
    },
    Gate {
        name: "lint",
        about: "clippy over all targets, warnings are errors",
        minutes_max: 40,
        check: lint,
    },
    Gate {
        name: "doc",
        about: "rustdoc of our crates, warnings are errors",
        minutes_max: 40,
        check: doc,
    },
    Gate {
        name: "nostd",
        about: "firmware and matcher link without std, firmware without an allocator",
        minutes_max: 20,
        check: nostd::check,
    },
    Gate {
        name: "nic",
        about: "the bare-metal image of the NIC, in QEMU",
        minutes_max: 20,
        check: nic::check,
    },
    Gate {
        name: "loom",
        about: "every interleaving of short runs of a lane",
        minutes_max: 20,
        check: interleavings::check,
    },
    Gate {
        name: "fuzz",
        about: "the fuzzers, a fixed number of inputs each",
        minutes_max: 30,
        check: fuzz::short,
    },
    Gate {
        name: "contracts",
        about: "committed contract artifacts match their sources",
        minutes_max: 20,
        check: contracts::check,
    },
    Gate {
        name: "readers",
        about: "programs that are not ours read our messages as we wrote them",
        minutes_max: 20,
        check: readers::check,
    },
    Gate {
        name: "planted",
        about: "the simulator of the whole box finds each planted bug and names the promise it breaks",
        minutes_max: 40,
        check: planted,
    },
    Gate {
        name: "nics",
        about: "NIC backends over real frames, as root",
        minutes_max: 20,
        check: nics::check,
    },
    Gate {
        name: "dpdk",
        about: "the NIC backend dpdk, which no other gate builds, over real frames, as root",
        minutes_max: 30,
        check: dpdk::check,
    },
    Gate {
        name: "hw",
        about: "the RTL: lint, and lockstep with the firmware crate under Verilator",
        minutes_max: 20,
        check: hw::check,
    },
    Gate {
        name: "demo",
        about: "the main job in release: on the embedded chain, then on anvil",
        minutes_max: 60,
        check: demo::check,
    },
    Gate {
        name: "package",
        about: "the Debian package: built, listed, installed in a clean root and used there",
        minutes_max: 40,
        check: package::check,
    },
    Gate {
        name: "test",
        about: "all tests of the workspace",
        minutes_max: 60,
        check: test,
    },
];

/// Gates that run only when they are named.
const BY_NAME: &[Gate] = &[Gate {
    name: "miri",
    about: "unsafe code under Miri, where a nightly toolchain has it (only when named)",
    minutes_max: 60,
    check: miri::check,
}];

/// The gates as a list for people.
pub(crate) fn list() -> String {
    GATES
        .iter()
        .chain(BY_NAME)
        .map(|gate| format!("{:<10} {}\n", gate.name, gate.about))
        .collect()
}

/// The gates of these names, each once; for no name all but those that must be named.
pub(crate) fn select(names: &[String]) -> Result<Vec<&'static Gate>> {
    if names.is_empty() {
        return Ok(GATES.iter().collect());
    }
    let mut picked: Vec<&Gate> = Vec::new();
    for name in names {
        let Some(gate) = GATES.iter().chain(BY_NAME).find(|gate| gate.name == name) else {
            bail!(
                "no gate is called {name}; there are:\n{}",
                list().trim_end()
            );
        };
        if !picked.iter().any(|other| other.name == gate.name) {
            picked.push(gate);
        }
    }
    Ok(picked)
}

/// Runs the gates, all of them even when one fails, and prints the table and the test total.
pub(crate) fn run_all(place: &Place, gates: &[&Gate]) -> Result<ExitCode> {
    let mut rows = Vec::new();
    let mut tests = TestTotals::default();
    for gate in gates {
        println!("== {}: {}", gate.name, gate.about);
        let limit = Duration::from_secs(60 * gate.minutes_max);
        let mut step = Step::start(place, gate.name, limit)?;
        let result = (gate.check)(&mut step);
        rows.push(row(gate.name, &step, result));
        tests.add(step.tests);
    }
    Ok(close(&rows, tests))
}

/// Runs one thing that takes as long as it was asked to, and closes like a run of gates.
pub(crate) fn run_long(
    place: &Place,
    name: &'static str,
    minutes_max: u64,
    check: impl FnOnce(&mut Step<'_>) -> Result<String>,
) -> Result<ExitCode> {
    let mut step = Step::start(place, name, Duration::from_secs(60 * minutes_max))?;
    let result = check(&mut step);
    let rows = [row(name, &step, result)];
    Ok(close(&rows, step.tests))
}

/// The line of one gate in the table; a failure is shown at once.
fn row(gate: &'static str, step: &Step<'_>, result: Result<String>) -> Row {
    let result = result.map_err(|error| one_line(&error));
    if let Err(why) = &result {
        show_failure(step, why);
    }
    Row {
        gate,
        seconds: step.seconds(),
        result,
    }
}

fn close(rows: &[Row], tests: TestTotals) -> ExitCode {
    println!("\n{}", table(rows));
    if let Some(line) = tests.closing_line() {
        println!("{line}");
    }
    if rows.iter().any(|row| row.result.is_err()) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}")
        .replace('\n', " ")
        .chars()
        .take(300)
        .collect()
}

fn show_failure(step: &Step<'_>, why: &str) {
    let bytes = std::fs::read(step.log_path()).unwrap_or_default();
    let log = String::from_utf8_lossy(&bytes);
    println!("-- from {}", step.log_path().display());
    for line in excerpt(&log) {
        println!("   | {line}");
    }
    println!("   FAILED: {why}");
}

fn fmt(step: &mut Step<'_>) -> Result<String> {
    for workspace in [
        "Cargo.toml",
        "ci/fuzz/Cargo.toml",
        "firmware/nic/Cargo.toml",
    ] {
        let mut command = step.place.cargo();
        command.args(["fmt", "--all", "--manifest-path", workspace]);
        step.run(command.args(["--check", "--", "--color=never"]))?;
    }
    Ok(String::new())
}

fn lint(step: &mut Step<'_>) -> Result<String> {
    let mut command = step.place.cargo();
    step.run(command.args("clippy --locked --workspace --all-targets -- -D warnings".split(' ')))?;
    Ok(String::new())
}

fn doc(step: &mut Step<'_>) -> Result<String> {
    let mut command = step.place.cargo();
    command.env("RUSTDOCFLAGS", "-D warnings");
    step.run(
        command.args("doc --locked --workspace --no-deps --document-private-items".split(' ')),
    )?;
    Ok(String::new())
}

fn deny(step: &mut Step<'_>) -> Result<String> {
    let program = setup::cargo_deny(step)?;
    let mut command = step.place.command(program);
    // Named checks, so that the advisory database is neither read nor fetched.
    step.run(command.args(
        "--log-level warn --locked check --hide-inclusion-graph bans licenses sources".split(' '),
    ))?;
    Ok("licences, bans, sources; not advisories: their database is not a package".into())
}

/// Bugs on purpose, which no build that could be shipped takes: `matcher::planted` refuses to be built into one.
fn planted(step: &mut Step<'_>) -> Result<String> {
    let mut command = step.place.cargo();
    let args = "test --locked --package hostd --features planted --test sim -- planted";
    step.run(command.args(args.split(' ')))?;
    ensure!(step.tests.passed > 1, "no bug was planted");
    let mut refused = step.place.cargo();
    let args = "check --locked --release --package matcher --features planted";
    let output = refused.args(args.split(' ')).output();
    let output = output.context("cannot start cargo")?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(
        !output.status.success() && text.contains("planted bugs are for tests"),
        "a release build takes planted bugs"
    );
    Ok("each planted bug found; a release build refuses them".into())
}

fn test(step: &mut Step<'_>) -> Result<String> {
    setup::etcd(step)?;
    let mut command = step.place.cargo();
    step.run(command.args("test --locked --workspace --no-fail-fast".split(' ')))?;
    let totals = step.tests;
    ensure!(totals.passed > 0, "no test ran");
    Ok(format!(
        "{} tests in {} binaries",
        totals.passed, totals.binaries
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(wanted: &[&str]) -> Result<Vec<&'static str>> {
        let wanted: Vec<String> = wanted.iter().map(|&name| name.to_owned()).collect();
        Ok(select(&wanted)?.iter().map(|gate| gate.name).collect())
    }

    #[test]
    fn no_name_means_every_gate_with_test_last() {
        let all = names(&[]).expect("all");
        assert_eq!(all.len(), GATES.len());
        assert_eq!(all.last(), Some(&"test"));
        assert!(!all.contains(&"miri") && names(&["miri"]).expect("named") == ["miri"]);
    }

    #[test]
    fn named_gates_run_once_and_in_the_order_given() {
        assert_eq!(
            names(&["lint", "fmt", "lint"]).expect("known"),
            ["lint", "fmt"]
        );
    }

    #[test]
    fn an_unknown_gate_is_refused_with_the_list() {
        let error = names(&["fmt", "lnt"]).expect_err("refused").to_string();
        assert!(
            error.contains("lnt") && error.contains("contracts"),
            "{error}"
        );
    }
}
