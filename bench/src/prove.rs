//! `bench prove`: what a proof costs on this machine, by `prover bench`, which is a program of its own; and how the time
//! goes with the rows of fills in the batch. The circuit has one size, so it should not.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use maud::{DOCTYPE, PreEscaped, html};
use serde_json::{Value, json};

use crate::place::{project_root, writable};
use crate::report::page::{STYLE, figure};
use crate::report::plot::{self, Axis, Curve, Scale, Unit};

/// Rows of fills of the curve.
const FILLS: [u32; 4] = [1, 64, 128, 256];

/// `bench prove`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The only tier of this release.
    #[arg(long, value_parser = ["small"], default_value = "small")]
    tier: String,
    /// Proofs of the full batch; the middle time counts.
    #[arg(long, default_value_t = 3)]
    times: u32,
    /// File for the figures as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// File for the picture, a page of HTML.
    #[arg(long)]
    report: Option<PathBuf>,
}

/// Measures and prints.
///
/// # Errors
/// If the prover fails or a file cannot be written.
pub(crate) fn run(args: &Args) -> Result<()> {
    for path in [&args.json, &args.report].into_iter().flatten() {
        writable(path)?;
    }
    let root = project_root()?;
    let times = args.times.to_string();
    let mut figures = prover(&root, &["--setup", "--tier", &args.tier, "--times", &times])?;
    let mut by_fills = Vec::new();
    for fills in FILLS {
        let one = prover(&root, &["--times", "1", "--fills", &fills.to_string()])?;
        by_fills.push(
            json!({ "fills": fills, "prove_ms": one["prove_ms"], "witness_ms": one["witness_ms"] }),
        );
    }
    figures["by_fills"] = Value::Array(by_fills);
    println!("{}", serde_json::to_string_pretty(&figures)?);
    if let Some(path) = &args.json {
        let json = serde_json::to_vec_pretty(&figures)?;
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = &args.report {
        std::fs::write(path, page(&figures))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn prover(root: &Path, args: &[&str]) -> Result<Value> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(
        "run --quiet --locked --release --package proof --bin prover -- bench --json".split(' '),
    );
    cargo.args(args).current_dir(root).stderr(Stdio::inherit());
    let done = cargo.output().context("cargo")?;
    ensure!(done.status.success(), "prover bench: {}", done.status);
    let text = String::from_utf8(done.stdout)?;
    let last = text
        .lines()
        .rev()
        .find(|l| l.contains("\"event\":\"bench\""));
    serde_json::from_str(last.context("prover bench said nothing")?).context("its figures")
}

fn page(figures: &Value) -> String {
    let rows = figures["by_fills"].as_array().into_iter().flatten();
    let points =
        rows.filter_map(|r| Some((r["fills"].as_f64()?, r["prove_ms"].as_f64()? / 1_000.0)));
    let time = Curve {
        name: "witness and proof".into(),
        points: points.collect(),
        sparse: true,
        colour: 0,
    };
    let most = time.points.iter().map(|p| p.1).fold(0.0, f64::max);
    let axes = (
        Axis {
            scale: Scale::Linear(0.0, f64::from(FILLS[FILLS.len() - 1])),
            unit: Unit::Plain,
            label: "rows of fills",
        },
        Axis {
            scale: Scale::Linear(0.0, plot::axis_top(most)),
            unit: Unit::Seconds,
            label: "time",
        },
    );
    let picture = plot::curves("Time of a proof by fills", 320.0, axes.0, axes.1, &[time]);
    let groups = figures["by_group"].as_object().cloned().unwrap_or_default();
    html! {
        (DOCTYPE)
        html lang="en" {
            head { meta charset="utf-8"; title { "What a proof costs" } style { (PreEscaped(STYLE)) } }
            body {
                h1 { "What a proof costs" }
                p { (figures["constraints"]) " constraints in a domain of " (figures["domain"]) ", "
                    (figures["cores"]) " cores, at most " (figures["peak_rss_mb"]) " MiB." }
                (figure("Time by fills.", "The circuit has one size: an almost empty batch costs what a full one does.", &picture))
                table {
                    tr { th { "group of the statement" } th { "constraints" } }
                    @for (group, n) in &groups { tr { td { (group) } td { (n) } } }
                }
                p { "S3: " (figures["per_fill"]) " a row of fills. S2 and S7: " (figures["per_account"]) " an account." }
            }
        }
    }
    .into_string()
}
