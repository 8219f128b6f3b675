//! `prover export`: a stored proof, its public signals and the verifying key as three files that snarkjs takes, so that
//! somebody else's program can check a batch.

use crate::keys::{keys_dir, load_key};
use crate::out::Out;
use crate::store::{Store, decimal};
use anyhow::{Context, bail};
use clap::Args;
use proof::VerifyingKeyEvm;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// `prover export`.
#[derive(Args, Debug)]
pub(crate) struct ExportArgs {
    /// The venue's data_dir.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Number of the batch.
    #[arg(long, value_name = "N")]
    batch: u64,
    /// Where to: made if it is missing.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Folder of the proving key; a folder of the user's cache if not given.
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// JSON instead of lines.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn export(args: ExportArgs, out: Out) -> anyhow::Result<()> {
    let Some(stored) = Store::new(&args.data).load(args.batch)? else {
        bail!("{}: no proof of batch {}", args.data.display(), args.batch);
    };
    let prover = load_key(&keys_dir(args.keys.as_deref())?, false, out)?;
    fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    let (proof, signals) = stored.as_snarkjs()?;
    for (name, value) in [
        ("proof.json", proof),
        ("public.json", signals),
        ("verification_key.json", key(prover.verifying_key_evm())),
    ] {
        write(&args.out.join(name), &value)?;
    }
    let to = args.out.display().to_string();
    let fields = json!({ "batch_no": args.batch, "dir": to });
    let text = format!(
        "batch {} is in {to}: snarkjs groth16 verify verification_key.json public.json proof.json",
        args.batch
    );
    out.event("exported", fields, text);
    Ok(())
}

fn write(path: &Path, value: &Value) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(value)? + "\n";
    fs::write(path, text).with_context(|| path.display().to_string())
}

/// The key as snarkjs has it: decimal, c0 before c1, with a third coordinate.
fn key(vk: &VerifyingKeyEvm) -> Value {
    let g1 = |p: &[[u8; 32]; 2]| json!([decimal(&p[0]), decimal(&p[1]), "1"]);
    // The EVM wants c1 before c0.
    let g2 = |p: &[[u8; 32]; 4]| {
        json!([
            [decimal(&p[1]), decimal(&p[0])],
            [decimal(&p[3]), decimal(&p[2])],
            ["1", "0"]
        ])
    };
    json!({
        "protocol": "groth16",
        "curve": "bn128",
        "nPublic": vk.ic.len() - 1,
        "vk_alpha_1": g1(&vk.alpha1),
        "vk_beta_2": g2(&vk.beta2),
        "vk_gamma_2": g2(&vk.gamma2),
        "vk_delta_2": g2(&vk.delta2),
        "IC": vk.ic.iter().map(g1).collect::<Vec<_>>(),
    })
}
