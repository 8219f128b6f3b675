//! `prover keys` and `prover verify`.

use crate::out::Out;
use crate::store::{KEY_WARNING, Store, Stored, Words};
use anyhow::{Context, bail, ensure};
use clap::Args;
use l1::{B256, U256, VerifyingKeyWords};
use proof::{Prover, VerifyingKeyEvm};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// `prover keys`.
#[derive(Args, Debug)]
pub(crate) struct KeysArgs {
    /// Folder of the key; a folder of the user's cache if not given.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Make the key again, whatever is there.
    #[arg(long)]
    remake: bool,
    /// JSON instead of lines.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `prover verify`.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct What {
    /// The venue's data_dir: all proofs in it, and that each goes on where the one before ended.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// One proof file.
    #[arg(long, value_name = "FILE")]
    proof: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    what: What,
    /// Folder of the key; a folder of the user's cache if not given.
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// JSON instead of lines.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The folder given, or else the cache's.
pub(crate) fn keys_dir(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let found = given.map(Path::to_owned).or_else(proof::keys::default_dir);
    found.context("no folder for keys: give one, or set HOME")
}

/// Loads or makes the key and says how far it is.
pub(crate) fn load_key(dir: &Path, remake: bool, out: Out) -> anyhow::Result<Prover> {
    let mut progress = |stage: &'static str, fraction: f32| {
        let percent = f64::from(fraction * 100.0).round();
        let fields = json!({ "stage": stage, "fraction": percent / 100.0 });
        out.event("key_progress", fields, format!("key: {stage}"));
    };
    let prover = if remake {
        Prover::remake(dir, &mut progress)
    } else {
        Prover::load_or_create(dir, &mut progress)
    };
    Ok(prover?)
}

/// Names the verifying key, as the deployment record does.
pub(crate) fn vk_hash(prover: &Prover) -> B256 {
    let VerifyingKeyEvm {
        alpha1,
        beta2,
        gamma2,
        delta2,
        ic,
    } = prover.verifying_key_evm();
    let g2 = |point: &[[u8; 32]; 4]| point.map(U256::from_be_bytes);
    let key = VerifyingKeyWords {
        alpha1: alpha1.map(U256::from_be_bytes),
        beta2: g2(beta2),
        gamma2: g2(gamma2),
        delta2: g2(delta2),
        ic: ic.map(|point| point.map(U256::from_be_bytes)),
        insecure: true,
    };
    key.hash()
}

pub(crate) fn keys(args: KeysArgs, out: Out) -> anyhow::Result<()> {
    let begun = Instant::now();
    let dir = keys_dir(args.dir.as_deref())?;
    let prover = load_key(&dir, args.remake, out)?;
    let hash = vk_hash(&prover);
    let fields = json!({
        "hash": hash.to_string(),
        "insecure": true,
        "text": KEY_WARNING,
        "constraints": prover.constraints(),
        "dir": dir.display().to_string(),
        "ms": begun.elapsed().as_millis() as u64,
    });
    let text = format!(
        "key {hash} in {}: {} constraints; {KEY_WARNING}",
        dir.display(),
        prover.constraints()
    );
    out.event("key", fields, text);
    Ok(())
}

pub(crate) fn verify(args: VerifyArgs, out: Out) -> anyhow::Result<()> {
    let paths = match (&args.what.data, &args.what.proof) {
        (Some(data), _) => {
            let store = Store::new(data);
            let numbers = store.list()?;
            ensure!(!numbers.is_empty(), "{}: no proofs there", data.display());
            numbers.into_iter().map(|n| store.path(n)).collect()
        }
        (None, Some(path)) => vec![path.clone()],
        (None, None) => bail!("nothing to verify"),
    };
    // What needs no key comes first: it is found at once.
    let mut proofs = Vec::new();
    for path in &paths {
        let proof = Stored::read(path)?.batch_proof();
        proofs.push(proof.with_context(|| path.display().to_string())?);
    }
    let prover = load_key(&keys_dir(args.keys.as_deref())?, false, out)?;
    let mut before: Option<(u64, U256)> = None;
    for (path, proof) in paths.iter().zip(&proofs) {
        let name = || path.display().to_string();
        prover.verify(proof).with_context(name)?;
        let words = Words(&proof.words);
        let batch_no = words.batch_no().with_context(name)?;
        if let Some((last, root)) = before {
            ensure!(
                batch_no == last + 1 && words.old_root() == root,
                "{}: batch {batch_no} does not go on where batch {last} ended",
                name()
            );
        }
        before = Some((batch_no, words.new_root()));
        let fields =
            json!({ "batch_no": batch_no, "new_root": format!("{:#066x}", words.new_root()) });
        out.event(
            "verified",
            fields,
            format!("batch {batch_no}: the proof holds"),
        );
    }
    Ok(())
}
