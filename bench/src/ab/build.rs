//! Finds the hostd of a side: a program, a folder with one, or a git revision, which is built once and kept.

use anyhow::{Context as _, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program that `side` means.
pub(super) fn program(side: &str, root: &Path) -> anyhow::Result<PathBuf> {
    let path = Path::new(side);
    if path.is_dir() && path.join("hostd").is_file() {
        return std::path::absolute(path.join("hostd")).context("where are we?");
    }
    if path.is_file() {
        return std::path::absolute(path).context("where are we?");
    }
    let Ok(commit) = git(
        root,
        &[
            "rev-parse",
            "--verify",
            "--quiet",
            &format!("{side}^{{commit}}"),
        ],
    ) else {
        bail!("{side} is no program, no folder with a hostd, and no git revision");
    };
    of_commit(root, commit.trim())
}

/// Builds hostd as it was at a commit.
fn of_commit(root: &Path, commit: &str) -> anyhow::Result<PathBuf> {
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root.join(dir),
        None => root.join("target"),
    };
    let folder = target.join("ab");
    let program = folder.join(commit).join("hostd");
    if program.is_file() {
        return Ok(program);
    }
    eprintln!("ab: building {commit}");
    let source = folder.join(format!("source-{commit}"));
    let tree = source.display().to_string();
    // Left over from a build that was interrupted, if there is one.
    let _ = git(root, &["worktree", "remove", "--force", &tree]);
    git(root, &["worktree", "add", "--detach", &tree, commit])?;
    let built = Command::new("cargo")
        .args(["build", "--release", "--locked", "-p", "hostd"])
        .current_dir(&source)
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .status()
        .context("cannot run cargo");
    let kept = built.and_then(|status| {
        ensure!(status.success(), "{commit} does not build");
        let from = folder.join("target/release/hostd");
        std::fs::create_dir_all(folder.join(commit))
            .and_then(|()| std::fs::copy(&from, &program))
            .with_context(|| format!("cannot keep {}", from.display()))
    });
    git(root, &["worktree", "remove", "--force", &tree])?;
    kept.map(|_| program)
}

fn git(root: &Path, words: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("git")
        .args(words)
        .current_dir(root)
        .output()
        .context("cannot run git")?;
    ensure!(
        output.status.success(),
        "git {}: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_is_a_program_a_folder_with_one_or_said_to_be_neither() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("hostd");
        std::fs::write(&file, "x").expect("written");
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for side in [dir.path(), file.as_path()] {
            let found = program(&side.display().to_string(), root).expect("there");
            assert_eq!(found, file);
        }
        let error = program("no-such-thing-as-this", root).expect_err("refused");
        assert!(error.to_string().contains("no git revision"), "{error}");
    }
}
