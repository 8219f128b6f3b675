//! Sealed batches as the venue wrote them, held against the prover's own replay.

use crate::out::hex;
use crate::replay::Replay;
use anyhow::{Context, bail};
use matcher::batch::SealedBatch;
use std::fmt::Debug;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Where batch `batch_no` is.
pub(crate) fn batch_path(data: &Path, batch_no: u64) -> PathBuf {
    data.join("batches")
        .join(format!("batch-{batch_no:08}.sealed"))
}

/// Reads batch `batch_no` and requires that the journal, replayed here, seals the same. `None` if the file is not
/// there yet.
///
/// `replay` has sealed all batches before this one.
pub(crate) fn next_batch(
    data: &Path,
    batch_no: u64,
    replay: &mut Replay,
) -> anyhow::Result<Option<SealedBatch>> {
    let path = batch_path(data, batch_no);
    let name = path.display();
    let bytes = match std::fs::read(&path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        read => read.with_context(|| name.to_string())?,
    };
    let file = matcher::batch::decode(&bytes).with_context(|| name.to_string())?;
    let ours = replay
        .batch_until(file.last_seq.0)
        .with_context(|| format!("batch {batch_no}"))?;
    let Some(ours) = ours else {
        bail!(
            "{name}: the journal up to record {} seals no batch {batch_no}",
            file.last_seq.0
        );
    };
    if let Some(what) = difference(&file, &ours) {
        bail!("{name} is not what the journal leads to: {what}");
    }
    let mut encoded = Vec::new();
    matcher::batch::encode(&ours, &mut encoded);
    if encoded != bytes {
        bail!("{name}: written otherwise than this release writes it");
    }
    Ok(Some(ours))
}

/// The first field in which two batches differ.
fn difference(file: &SealedBatch, ours: &SealedBatch) -> Option<String> {
    fn scalar<T: PartialEq + Debug>(name: &str, file: T, ours: T) -> Option<String> {
        (file != ours).then(|| format!("{name} is {file:?}, the replay says {ours:?}"))
    }
    fn rows<T: PartialEq + Debug>(name: &str, file: &[T], ours: &[T]) -> Option<String> {
        if file.len() != ours.len() {
            let (file, ours) = (file.len(), ours.len());
            return Some(format!("{file} {name}s, the replay says {ours}"));
        }
        let at = file.iter().zip(ours).position(|(a, b)| a != b)?;
        Some(format!(
            "{name} {at} is {:?}, the replay says {:?}",
            file[at], ours[at]
        ))
    }
    scalar("batch number", file.batch_no, ours.batch_no)
        .or_else(|| scalar("first record", file.first_seq.0, ours.first_seq.0))
        .or_else(|| scalar("last record", file.last_seq.0, ours.last_seq.0))
        .or_else(|| scalar("time", file.time.0, ours.time.0))
        .or_else(|| scalar("reason", file.reason, ours.reason))
        .or_else(|| scalar("old fund", file.fund_old_pico, ours.fund_old_pico))
        .or_else(|| scalar("new fund", file.fund_new_pico, ours.fund_new_pico))
        .or_else(|| rows("fill row", &file.fills, &ours.fills))
        .or_else(|| rows("deposit", &file.deposits, &ours.deposits))
        .or_else(|| rows("withdrawal", &file.withdrawals, &ours.withdrawals))
        .or_else(|| rows("touched account", &file.touched, &ours.touched))
        .or_else(|| {
            let columns = rows("risk column", &file.table.columns, &ours.table.columns);
            columns.or_else(|| (file.table != ours.table).then(|| "risk table".to_owned()))
        })
        .or_else(|| scalar("state hash", hex(&file.state_hash), hex(&ours.state_hash)))
        .or_else(|| {
            let (file, ours) = (hex(&file.journal_hash), hex(&ours.journal_hash));
            scalar("journal hash", file, ours)
        })
}
