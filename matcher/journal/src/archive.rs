//! Closed segments move out of the way. None is ever removed.

use crate::dir::{ARCHIVE, list_segments, segment_name};
use crate::error::DiskError;
use std::fs::File;
use std::io;
use std::path::Path;

/// Moves closed segments of the journal in `dir` to its [`ARCHIVE`], oldest first, and returns their numbers.
/// A segment stays if it holds record `needed_from` or a later one, or is one of the `keep` last closed ones.
///
/// Readers find a segment wherever it is, also while it moves, so this may run beside the writer and in another
/// process than it. Where the archive is another disk (a link), a segment is copied, made durable and then
/// removed here.
///
/// # Errors
/// What the system said. What was not moved is still here.
pub fn archive(dir: &Path, needed_from: u64, keep: u32) -> Result<Vec<u32>, DiskError> {
    let here = list_segments(dir).map_err(|e| DiskError::io("list", dir)(io::Error::other(e)))?;
    let begun: Vec<(u32, u64)> = (here.iter().filter(|s| !s.is_archived))
        .map_while(|s| Some((s.segment, s.begun?.0)))
        .collect();
    let closed = begun.windows(2).map(|w| (w[0].0, w[1].1 - 1));
    let movable = begun.len().saturating_sub(1 + keep as usize);
    let mut moved = Vec::new();
    for (segment, last_seq) in closed.take(movable) {
        if last_seq >= needed_from {
            break;
        }
        if moved.is_empty() {
            let to = dir.join(ARCHIVE);
            std::fs::create_dir_all(&to).map_err(DiskError::io("create", &to))?;
        }
        move_one(dir, segment)?;
        moved.push(segment);
    }
    if !moved.is_empty() {
        sync(dir)?;
    }
    Ok(moved)
}

fn move_one(dir: &Path, segment: u32) -> Result<(), DiskError> {
    let name = segment_name(segment);
    let (from, archive) = (dir.join(&name), dir.join(ARCHIVE));
    let to = archive.join(&name);
    match std::fs::rename(&from, &to) {
        Ok(()) => return sync(&archive),
        Err(e) if e.kind() == io::ErrorKind::CrossesDevices => {}
        Err(e) => return Err(DiskError::io("move to the archive", &from)(e)),
    }
    let temp = to.with_extension("tmp");
    let copied = std::fs::copy(&from, &temp)
        .and_then(|_| File::open(&temp)?.sync_all())
        .and_then(|()| std::fs::rename(&temp, &to));
    if let Err(e) = copied {
        // It may not exist; the error at hand is the one to report.
        let _ = std::fs::remove_file(&temp);
        return Err(DiskError::io("copy to the archive", &from)(e));
    }
    sync(&archive)?;
    std::fs::remove_file(&from).map_err(DiskError::io("remove after its copy", &from))
}

fn sync(dir: &Path) -> Result<(), DiskError> {
    let synced = File::open(dir).and_then(|d| d.sync_all());
    synced.map_err(DiskError::io("fsync", dir))
}
