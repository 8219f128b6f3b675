//! The main job: `cargo demo` for people, the `demo` gate for a run that must hold.

use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::place::Place;
use crate::setup;
use crate::step::{Step, kill_tree};

/// One build for all three, in the profile that the box ships in.
const BUILD: &[&str] = &[
    "build",
    "--release",
    "-p",
    "hostd",
    "-p",
    "proof",
    "-p",
    "bench",
];
/// Tells the demo where the programs lie that it starts.
const BIN_DIR: &str = "DELTABOX_BIN_DIR";
const GATE_SECONDS: &str = "12";
const ANVIL_START_MAX: Duration = Duration::from_secs(30);

/// What must be `true` in the figures of a demo run.
const MUST_HOLD: &[&str] = &["state_root_match", "conservation_ok", "replay_hash_match"];
/// What must have happened at least once.
const MUST_HAPPEN: &[&str] = &[
    "orders",
    "acks",
    "fills",
    "settlements",
    "batches_proven",
    "batches_committed",
];

/// Builds with cargo's own progress on the terminal, then becomes the demo: its exit code is ours.
pub(crate) fn run_for_user(place: &Place, args: &[String]) -> Result<ExitCode> {
    let program = place.release("bench");
    let first = if program.exists() {
        ""
    } else {
        " (the first build takes some minutes)"
    };
    eprintln!("deltabox: building hostd, prover and bench in release{first}");
    let status = place
        .cargo()
        .env_remove("CARGO_TERM_COLOR")
        .args(BUILD)
        .status()
        .context("cannot start cargo")?;
    ensure!(
        status.success(),
        "the build failed (cargo's words are above)"
    );
    let error = Command::new(&program)
        .arg("demo")
        .args(args)
        .env(BIN_DIR, place.target.join("release"))
        .exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}

pub(crate) fn check(step: &mut Step<'_>) -> Result<String> {
    let mut build = step.place.cargo();
    step.run(build.args(BUILD).arg("--locked"))?;
    let embedded = run_once(step, "demo-embedded.json", None).context("on the embedded chain")?;
    let program = setup::anvil(step)?;
    let anvil = Anvil::start(&program, &step.place.log_folder())?;
    step.say(&format!("anvil serves {}", anvil.url));
    let real = run_once(step, "demo-anvil.json", Some(&anvil.url)).context("on anvil")?;
    Ok(format!("embedded: {embedded}; anvil: {real}"))
}

/// One run; gives what happened, in a few words.
fn run_once(step: &mut Step<'_>, json: &str, l1: Option<&str>) -> Result<String> {
    let figures = step.place.log_folder().join(json);
    if figures.exists() {
        // A run that dies early must not be judged by the figures of an older one.
        std::fs::remove_file(&figures)
            .with_context(|| format!("cannot remove {}", figures.display()))?;
    }
    let mut command = step.place.command(step.place.release("bench"));
    command
        .env(BIN_DIR, step.place.target.join("release"))
        .args(["demo", "--seconds", GATE_SECONDS, "--json"])
        .arg(&figures);
    if let Some(url) = l1 {
        command.args(["--l1", url]);
    }
    step.run(&mut command)?;
    let text =
        std::fs::read(&figures).with_context(|| format!("it wrote no {}", figures.display()))?;
    judge(&serde_json::from_slice(&text).context("its figures are not JSON")?)
}

/// Checks the figures that the demo's own exit code already stands for: they are what a reader sees.
fn judge(figures: &Value) -> Result<String> {
    for name in MUST_HOLD {
        ensure!(figures[name] == true, "{name} is {}", figures[name]);
    }
    for name in MUST_HAPPEN {
        let Some(count) = figures[name].as_u64() else {
            bail!("{name} is {}", figures[name])
        };
        ensure!(count > 0, "{name} is 0");
    }
    Ok(format!(
        "{} orders, {} batches on L1",
        figures["orders"], figures["batches_committed"]
    ))
}

/// A real node on a free port of this machine, ended with the value.
struct Anvil {
    child: Child,
    url: String,
}

impl Anvil {
    fn start(program: &Path, logs: &Path) -> Result<Self> {
        let port = free_port()?;
        let log_path: PathBuf = logs.join("anvil.log");
        let log = std::fs::File::create(&log_path)
            .with_context(|| format!("cannot write {}", log_path.display()))?;
        let child = Command::new(program)
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .stdin(Stdio::null())
            .stderr(log.try_clone().context("cannot share anvil's log")?)
            .stdout(log)
            .spawn()
            .context("cannot start anvil")?;
        let mut anvil = Self {
            child,
            url: format!("http://127.0.0.1:{port}"),
        };
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = anvil.child.try_wait().context("cannot wait for anvil")? {
                bail!("anvil ended at once ({status}), see {}", log_path.display());
            }
            ensure!(
                started.elapsed() < ANVIL_START_MAX,
                "anvil does not answer, see {}",
                log_path.display()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(anvil)
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        kill_tree(self.child.id());
        // Collects the dead process; that it is dead is all we want to know.
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago: anvil reports no port of its own choice in a form made for programs.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port on loopback")?;
    Ok(listener
        .local_addr()
        .context("a socket without an address")?
        .port())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn good() -> Value {
        json!({
            "orders": 900, "acks": 890, "fills": 70, "settlements": 4, "batches_proven": 3, "batches_committed": 3,
            "state_root_match": true, "conservation_ok": true, "replay_hash_match": true,
        })
    }

    #[test]
    fn figures_that_hold_are_summed_up() {
        assert_eq!(
            judge(&good()).expect("holds"),
            "900 orders, 3 batches on L1"
        );
    }

    #[test]
    fn each_figure_that_is_false_zero_or_missing_is_named() {
        for name in MUST_HOLD.iter().chain(MUST_HAPPEN) {
            for bad in [json!(false), json!(0), Value::Null] {
                let mut figures = good();
                figures[name] = bad;
                let error = judge(&figures).expect_err("refused").to_string();
                assert!(error.starts_with(name), "{error}");
            }
        }
    }
}
