//! `hostd journal truncate-torn-tail`.

use super::Failure;
use crate::storage::recover::tail_note;
use journal::{DiskError, End, JournalDir, JournalError, Reader, Tail, segment_path};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

fn end_of(dir: &Path) -> Result<End, Failure> {
    let read = || {
        let mut reader = Reader::open(dir)?;
        while reader.next()?.is_some() {}
        Ok(reader.end().clone())
    };
    read().map_err(|e: JournalError| match e {
        JournalError::Io { .. } => Failure::from(e),
        damage => Failure::Damaged(Some(format!(
            "{damage}\nThis is no torn tail: what stands there may have been durable. Nothing was changed."
        ))),
    })
}

pub(super) fn run(dir: &Path, yes: bool, out: &mut impl Write) -> Result<(), Failure> {
    // The lock is taken before anything is read, so that nobody writes while this judges and cuts.
    let held = if yes {
        Some(JournalDir::open(dir)?)
    } else if journal::is_held(dir)? {
        let path = dir.to_path_buf();
        return Err(Failure::from(DiskError::Locked { path }));
    } else {
        None
    };
    let end = end_of(dir)?;
    let Some(note) = tail_note(&end.tail) else {
        writeln!(
            out,
            "the tail is clean after record {}: nothing to do",
            end.next_seq - 1
        )?;
        return Ok(());
    };
    writeln!(out, "{note}")?;
    writeln!(
        out,
        "record {} is the last that was durable; it and all before stay",
        end.next_seq - 1
    )?;
    let Some(held) = held else {
        writeln!(
            out,
            "nothing was changed; --yes drops it and keeps a copy beside the journal"
        )?;
        return Ok(());
    };
    let kept = keep_copy(dir, &end)?;
    held.wipe_torn(&end)?;
    let after = end_of(dir)?;
    if after.tail != Tail::Clean || after.next_seq != end.next_seq {
        return Err(Failure::Damaged(Some("the tail is still not clean".into())));
    }
    writeln!(out, "dropped; the bytes are kept in {}", kept.display())?;
    Ok(())
}

/// Writes the bytes that will be dropped to a file of their own, durable when this returns.
fn keep_copy(dir: &Path, end: &End) -> Result<PathBuf, Failure> {
    let Tail::Torn {
        segment,
        offset,
        bytes,
        ..
    } = end.tail
    else {
        unreachable!("the caller looked")
    };
    let from = segment_path(dir, segment);
    let mut torn = vec![0; bytes as usize];
    let read = File::open(&from).and_then(|f| f.read_exact_at(&mut torn, offset));
    read.map_err(DiskError::io("read", &from))?;
    for n in 0.. {
        let name = format!("torn-{segment:08}-{offset:08x}.{n}");
        let path = dir.join(name);
        let mut file = match File::create_new(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => continue,
            Err(e) => return Err(Failure::from(DiskError::io("create", &path)(e))),
        };
        let kept = (file.write_all(&torn))
            .and_then(|()| file.sync_all())
            .and_then(|()| File::open(dir)?.sync_all());
        kept.map_err(DiskError::io("write", &path))?;
        return Ok(path);
    }
    unreachable!("some number is free")
}
