//! Where runs keep their files.

use crate::clock::now_ns;
use anyhow::Context as _;
use std::path::{Path, PathBuf};

/// Folder of the runs, in the project's folder.
pub(crate) const RUNS: &str = ".demo";

/// Says at the start, not after a minute, that a file cannot be written.
pub(crate) fn writable(path: &Path) -> anyhow::Result<()> {
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .map(drop)
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The nearest folder above that is a cargo workspace, or else the current one.
pub(crate) fn project_root() -> anyhow::Result<PathBuf> {
    let here = std::env::current_dir().context("where are we?")?;
    let is_root = |dir: &Path| dir.join("Cargo.lock").is_file() && dir.join("firmware").is_dir();
    Ok(here
        .ancestors()
        .find(|d| is_root(d))
        .unwrap_or(&here)
        .to_path_buf())
}

/// A name that no other run has: a Unix socket's path must stay short.
pub(crate) fn run_name() -> String {
    format!("{}-{}", now_ns() / 1_000_000_000, std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_that_cannot_be_written_is_refused_at_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("file");
        std::fs::write(&file, "x").expect("written");
        let error = format!(
            "{:#}",
            writable(&file.join("report.html")).expect_err("a file is no folder")
        );
        assert!(error.starts_with("cannot make"), "{error}");
    }
}
