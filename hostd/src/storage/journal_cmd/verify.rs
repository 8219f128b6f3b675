//! `hostd journal verify`.

use super::{Failure, is_live};
use crate::ops::admin::hex;
use crate::storage::recover::tail_note;
use journal::{BLOCK_LEN, JournalError, Reader, list_segments};
use serde_json::json;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// Looks at a place that is being written before it is called damaged.
const LOOKS: u32 = 4;
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What was read.
#[derive(Default)]
struct Read {
    records: u64,
    batches: u64,
    /// Of batches and segment headers, as they stand on disk.
    bytes: u64,
}

impl Read {
    /// Reads on to the end of what is whole.
    fn on(
        &mut self,
        mut next: impl FnMut() -> Result<Option<(u64, u64)>, JournalError>,
    ) -> Result<(), JournalError> {
        while let Some((batch_bytes, is_first)) = next()? {
            self.records += 1;
            self.batches += is_first;
            self.bytes += batch_bytes * is_first;
        }
        Ok(())
    }
}

/// Reads a record; bytes of its batch, and 1 if it is the first one there.
fn step(reader: &mut Reader, live: bool) -> Result<Option<(u64, u64)>, JournalError> {
    let view = if live {
        reader.next_until(u64::MAX)?
    } else {
        reader.next()?
    };
    let Some(seq) = view.map(|v| v.header.seq) else {
        return Ok(None);
    };
    let batch = reader.batch();
    let bytes = u64::from(batch.len).next_multiple_of(BLOCK_LEN as u64);
    Ok(Some((bytes, u64::from(batch.first_seq == seq))))
}

pub(super) fn run(dir: &Path, json: bool, out: &mut impl Write) -> Result<(), Failure> {
    let live = is_live(dir);
    let begun = Instant::now();
    let mut read = Read::default();
    let opened = Reader::open(dir);
    let (reader, damage) = match opened {
        Err(e) => (None, Some(e)),
        Ok(mut reader) => {
            let damage = read_all(&mut reader, &mut read, live);
            (Some(reader), damage.err())
        }
    };
    let seconds = begun.elapsed().as_secs_f64();
    if let Some(JournalError::Io { .. }) = &damage {
        return Err(damage.map_or(Failure::Damaged(None), Failure::from));
    }
    let segments = list_segments(dir)?;
    let archived = segments.iter().filter(|s| s.is_archived).count();
    let begun = segments.iter().filter(|s| s.begun.is_some()).count();
    let bytes = read.bytes + begun as u64 * BLOCK_LEN as u64;
    let mib_per_s = bytes as f64 / f64::from(1 << 20) / seconds.max(1e-9);
    let records_per_s = read.records as f64 / seconds.max(1e-9);
    let last_seq = reader.as_ref().map_or(0, |r| r.next_seq() - 1);
    let hash = reader.as_ref().map(|r| hex(&r.chain()));
    let tail = reader.as_ref().and_then(|r| tail_note(&r.end().tail));
    let tail = tail.unwrap_or_else(|| "clean".into());
    if json {
        let place = match &damage {
            Some(JournalError::Corrupt {
                segment,
                offset,
                seq,
                fault,
            }) => {
                json!({"segment": segment, "offset": offset, "seq": seq, "what": fault.to_string()})
            }
            Some(other) => json!({"what": other.to_string()}),
            None => json!(null),
        };
        let all = json!({
            "ok": damage.is_none(),
            "live": live,
            "segments": segments.len(),
            "segments_begun": begun,
            "segments_archived": archived,
            "batches": read.batches,
            "records": read.records,
            "bytes": bytes,
            "last_seq": last_seq,
            "last_time_ns": reader.as_ref().map_or(0, |r| r.end().last_time_ns),
            "journal_hash": hash,
            "tail": tail,
            "damage": place,
            "seconds": seconds,
            "mib_per_s": mib_per_s,
            "records_per_s": records_per_s,
        });
        writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
    } else {
        let verdict = if damage.is_none() { "ok" } else { "DAMAGED" };
        writeln!(out, "{}: {verdict}", dir.display())?;
        writeln!(
            out,
            "segments {} ({begun} begun, {archived} archived)  batches {}  records {}  bytes {bytes}",
            segments.len(),
            read.batches,
            read.records
        )?;
        let hash = hash.unwrap_or_default();
        writeln!(out, "last record {last_seq}  journal hash {hash}")?;
        if live {
            writeln!(
                out,
                "a running box holds it: read up to where it was written just now"
            )?;
        }
        match &damage {
            None => writeln!(out, "tail {tail}")?,
            Some(e) => {
                writeln!(out, "{e}")?;
                writeln!(out, "{}", advice(e, last_seq))?;
            }
        }
        writeln!(
            out,
            "{seconds:.3} s  {mib_per_s:.0} MiB/s  {records_per_s:.0} records/s"
        )?;
    }
    match damage {
        None => Ok(()),
        Some(_) => Err(Failure::Damaged(None)),
    }
}

fn read_all(reader: &mut Reader, read: &mut Read, live: bool) -> Result<(), JournalError> {
    if live {
        for look in 1.. {
            let before = read.records;
            read.on(|| step(reader, true))?;
            if read.records > before && look < LOOKS {
                continue;
            }
            // A write half seen looks like damage; damage is still there when it is looked for again.
            match reader.next() {
                Ok(None) => return Ok(()),
                Err(e) if look >= LOOKS => return Err(e),
                Ok(Some(_)) => read.records += 1,
                Err(_) => std::thread::sleep(LOOK_AGAIN),
            }
        }
    }
    read.on(|| step(reader, false))
}

fn advice(damage: &JournalError, last_seq: u64) -> String {
    match damage {
        JournalError::Missing { missing, .. } => format!(
            "Put journal-{missing:08}.seg back, here or into archive/; no box starts without it."
        ),
        _ => format!(
            "Records 1 to {last_seq} are whole. What follows had been durable and cannot be read, so no box starts on \
             this journal. Keep it as it is, and restore the named segment from a standby or a copy."
        ),
    }
}
