//! Where things are: the checkout, cargo's build folder, the tools folder, the user's cache.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The folders that a run works in.
#[derive(Debug)]
pub(crate) struct Place {
    /// The top of the checkout.
    pub(crate) root: PathBuf,
    /// Cargo's build folder: what `CARGO_TARGET_DIR` or cargo's settings say.
    pub(crate) target: PathBuf,
    /// Tools that belong to this checkout (npm packages, a Python environment); ignored by git.
    pub(crate) tools: PathBuf,
    /// Tools that take minutes to build, shared by all checkouts of a user.
    pub(crate) cache: PathBuf,
    /// Nobody watches: no questions, no incremental builds.
    pub(crate) unattended: bool,
    /// `cargo metadata --no-deps` of the workspace.
    pub(crate) metadata: Value,
}

impl Place {
    pub(crate) fn find() -> Result<Self> {
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest
            .parent()
            .context("ci/ has no parent folder")?
            .to_owned();
        let output = cargo_command(&root)
            .args(["metadata", "--format-version=1", "--no-deps"])
            .output()
            .context("cannot start cargo")?;
        ensure!(
            output.status.success(),
            "cargo metadata failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let metadata: Value =
            serde_json::from_slice(&output.stdout).context("cargo metadata is not JSON")?;
        let target = metadata["target_directory"]
            .as_str()
            .context("cargo metadata names no target_directory")?;
        Ok(Self {
            target: PathBuf::from(target),
            tools: root.join(".tools"),
            cache: user_cache()?.join("deltabox"),
            unattended: std::env::var_os("CI").is_some(),
            root,
            metadata,
        })
    }

    /// A cargo call from the top of the checkout.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = cargo_command(&self.root);
        if self.unattended {
            // Incremental files are never read again on a fresh clone, and are a third of the build folder.
            command.env("CARGO_INCREMENTAL", "0");
        }
        command
    }

    /// A program started from the top of the checkout.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        command
    }

    pub(crate) fn log_folder(&self) -> PathBuf {
        self.target.join("ci")
    }

    pub(crate) fn release(&self, program: &str) -> PathBuf {
        self.target.join("release").join(program)
    }
}

fn cargo_command(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).env("CARGO_TERM_COLOR", "never");
    // `cargo run` describes the runner's package to it; the cargo below us must not see that.
    for (key, _) in std::env::vars_os() {
        let name = key.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&key);
        }
    }
    command
}

fn user_cache() -> Result<PathBuf> {
    let set = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("XDG_CACHE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set, so there is no folder for tools")
}
