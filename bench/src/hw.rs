//! `bench hw`: the RTL's latency in cycles, out of a lockstep with the firmware; with `--synth` also its clock and cells.
//!
//! Both are programs of their own, reached as such: `cosim` under cargo, and `hw/synth/run.py` in the Python that
//! `cargo ci hw` has installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::place::{project_root, writable};

/// Module that takes a frame on its way from the first word to the verdict. The slowest one bounds the clock.
const ON_THE_WAY: [&str; 3] = ["frame_parse", "siphash", "order_gate"];

/// `bench hw`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Frames that RTL and firmware are compared on.
    #[arg(long, default_value_t = 1_000_000)]
    frames: u64,
    /// Also places and routes the modules for ECP5, which takes many minutes.
    #[arg(long)]
    synth: bool,
    /// File for the figures as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Measures and prints.
///
/// # Errors
/// If RTL and firmware differ, or a tool is not here.
pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(path) = &args.json {
        writable(path)?;
    }
    let root = project_root()?;
    let mut figures = lockstep(&root, args.frames)?;
    let modules = if args.synth {
        synth(&root)?
    } else {
        Vec::new()
    };
    let slowest = modules
        .iter()
        .filter_map(|m| m["fmax_mhz"].as_f64())
        .min_by(f64::total_cmp);
    let cycles = figures["latency_cycles"].as_f64();
    let ns = |cycles: Option<f64>| Some((cycles? / slowest? * 1e4).round() / 10.0);
    figures["latency_ns"] = json!(ns(cycles));
    figures["latency_siphash_ns"] = json!(ns(figures["latency_siphash_cycles"].as_f64()));
    // Of the modules on the way, each placed alone: the whole may be slower.
    figures["fmax_mhz"] = json!(slowest);
    figures["cells"] = Value::Array(modules);
    println!("{}", serde_json::to_string_pretty(&figures)?);
    if let Some(path) = &args.json {
        let json = serde_json::to_vec_pretty(&figures)?;
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The figures of `cosim`, which fails at the first difference.
fn lockstep(root: &Path, frames: u64) -> Result<Value> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args("run --quiet --locked --release --package cosim --features verilator --".split(' '));
    let frames = frames.to_string();
    cargo.args(["--json", "--frames", &frames]);
    let text = output(cargo.current_dir(root))?;
    serde_json::from_str(&text).context("cosim's figures")
}

/// A line for each module on the way.
fn synth(root: &Path) -> Result<Vec<Value>> {
    let python = root.join(".tools/hw/bin/python");
    ensure!(
        python.is_file(),
        "no yosys and nextpnr here: cargo ci hw installs them"
    );
    let build = tempdir(root);
    let mut command = Command::new(python);
    command.arg("hw/synth/run.py").arg(build).args(ON_THE_WAY);
    let text = output(command.current_dir(root))?;
    let lines = text.lines().map(serde_json::from_str);
    lines
        .collect::<Result<_, _>>()
        .context("the figures of a synthesis")
}

fn tempdir(root: &Path) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target
        .unwrap_or_else(|| root.join("target"))
        .join("hw/synth")
}

fn output(command: &mut Command) -> Result<String> {
    let out = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    ensure!(
        out.status.success(),
        "{} failed",
        command.get_program().display()
    );
    Ok(String::from_utf8(out.stdout)?)
}
