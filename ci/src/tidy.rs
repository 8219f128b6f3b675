//! What a compiler does not see: stray files, leftovers, paths of one machine, a second version of a dependency.
//!
//! Words that may stand nowhere are spelled in two halves here, so that this file passes its own rules.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::step::Step;

/// All that may stand at the top, besides files whose name starts with a dot.
const TOP: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "DECISIONS.md",
    "LICENSE",
    "README.md",
    "bench",
    "ci",
    "clippy.toml",
    "deny.toml",
    "firmware",
    "hostd",
    "hw",
    "matcher",
    "proof",
    "rust-toolchain.toml",
    "rustfmt.toml",
];

/// What a reader of a fresh clone looks for.
const TOP_NEEDED: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "DECISIONS.md",
    "LICENSE",
    "README.md",
];

const FILE_BYTES_MAX: u64 = 2 << 20;

/// Files in which unfinished work would hide.
const SOURCES: &[&str] = &["rs", "sol", "sv", "mjs", "py", "sh", "toml"];

/// Unfinished work: it is finished, or said in README.
const LEFTOVERS: &[(&str, &str)] = &[
    ("to", "do!("),
    ("unimpl", "emented!("),
    ("#[ig", "nore"),
    ("FIX", "ME"),
    ("not yet impl", "emented"),
    ("lorem ", "ipsum"),
];

/// Left by a tool, in any file.
const RESIDUE: &[(&str, &str)] = &[
    ("<<<<", "<<< "),
    (">>>>", ">>> "),
    ("as an ai ", "language model"),
];

/// Folders that exist on one machine only.
const MACHINE_FOLDERS: &[(&str, &str)] = &[
    ("/ro", "ot/"),
    ("/ho", "me/"),
    ("/wo", "rk/"),
    ("/Us", "ers/"),
];

/// First labels of the hosts that packages are fetched from: which one to use is the machine's setting, not ours.
const HOST_LABELS: &[&str] = &[
    "registry", "index", "static", "files", "deb", "archive", "proxy", "mirror", "mirrors",
];

pub(crate) fn check(step: &mut Step<'_>) -> Result<String> {
    let names = files(step)?;
    let folders = machine_folders(&step.place.root);
    let mut wrong = top_level(&names);
    for name in &names {
        let path = step.place.root.join(name);
        // Listed by git but gone from the work tree: its removal is not committed yet.
        let Ok(about) = path.symlink_metadata() else {
            continue;
        };
        if about.len() > FILE_BYTES_MAX {
            wrong.push(format!(
                "{name}: {} bytes, more than {FILE_BYTES_MAX}: is it a source?",
                about.len()
            ));
        } else if about.is_file() {
            let bytes = std::fs::read(&path).with_context(|| format!("cannot read {name}"))?;
            // What is no text has no lines to judge.
            if let Ok(text) = String::from_utf8(bytes) {
                wrong.extend(in_text(name, &text, &folders));
            }
        }
    }
    wrong.extend(lock_moved(step)?);
    for line in &wrong {
        step.note(line);
    }
    if let Some(first) = wrong.first() {
        bail!("{} found; first: {first}", wrong.len());
    }
    Ok(format!("{} files", names.len()))
}

/// Every file that git has or would take: tracked ones, and new ones that it does not ignore.
fn files(step: &Step<'_>) -> Result<Vec<String>> {
    let mut command = step.place.command("git");
    let output = command
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .output()
        .context("cannot start git")?;
    ensure!(
        output.status.success(),
        "git ls-files: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let text = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    let names: BTreeSet<String> = text
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    Ok(names.into_iter().collect())
}

/// Unattended, the lock must be the committed one: cargo may have moved it before any gate ran.
fn lock_moved(step: &Step<'_>) -> Result<Option<String>> {
    if !step.place.unattended {
        return Ok(None);
    }
    let status = step
        .place
        .command("git")
        .args(["diff", "--quiet", "--", "Cargo.lock"])
        .status()
        .context("git diff")?;
    let moved = !status.success();
    Ok(moved.then(|| "Cargo.lock: the committed one does not fit the manifests".to_owned()))
}

fn machine_folders(root: &Path) -> Vec<String> {
    let mut folders: Vec<String> = MACHINE_FOLDERS
        .iter()
        .map(|(a, b)| format!("{a}{b}"))
        .collect();
    folders.push(format!("{}/", root.display()));
    folders
}

fn top_level(names: &[String]) -> Vec<String> {
    let tops: BTreeSet<&str> = names
        .iter()
        .filter_map(|name| name.split('/').next())
        .collect();
    let strange = tops
        .iter()
        .filter(|top| !top.starts_with('.') && !TOP.contains(top))
        .map(|top| format!("{top}: nothing of this name belongs at the top level"));
    let missing = TOP_NEEDED
        .iter()
        .filter(|top| !tops.contains(*top))
        .map(|top| format!("{top}: missing at the top level"));
    strange.chain(missing).collect()
}

/// What is wrong in one text file, as lines of `name:line: why`.
fn in_text(name: &str, text: &str, folders: &[String]) -> Vec<String> {
    let mut wrong = Vec::new();
    let source = name
        .rsplit('.')
        .next()
        .is_some_and(|extension| SOURCES.contains(&extension));
    // One that is a workspace of its own has no top manifest above it.
    let manifest = name.ends_with("/Cargo.toml") && !text.lines().any(|line| line == "[workspace]");
    let mut section = String::new();
    for (number, line) in (1..).zip(text.lines()) {
        let mut found = |why: String| wrong.push(format!("{name}:{number}: {why}"));
        if let Some(word) = first_word(line, RESIDUE) {
            found(format!("`{word}` was left by a tool"));
        }
        if source && let Some(word) = first_word(line, LEFTOVERS) {
            found(format!("`{word}` stands for work that is not done"));
        }
        if let Some(folder) = folders.iter().find(|folder| has_path(line, folder)) {
            found(format!("`{folder}` is a folder of one machine"));
        }
        if let Some(host) = package_host(line) {
            found(format!(
                "`{host}` is a host that packages come from; which one is the machine's setting"
            ));
        }
        if name.ends_with("package-lock.json") && line.trim_start().starts_with("\"resolved\"") {
            found(
                "a lock file records no download addresses (npm: omit-lockfile-registry-resolved)"
                    .into(),
            );
        }
        if manifest {
            if line.starts_with('[') {
                section = line.trim().to_owned();
            } else if is_own_version(&section, line) {
                found(
                    "versions stand in the top Cargo.toml, once: write `workspace = true`".into(),
                );
            }
        }
    }
    wrong
}

fn first_word(line: &str, words: &[(&str, &str)]) -> Option<String> {
    words
        .iter()
        .map(|(a, b)| format!("{a}{b}"))
        .find(|word| line.contains(word))
}

/// Whether the line holds an absolute path into the folder (and not `some/where/else/`, a part of another path).
fn has_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-~}/*".contains(c))
    })
}

/// The host of the first address on the line whose first label says that it serves packages.
fn package_host(line: &str) -> Option<&str> {
    line.split("://").skip(1).find_map(|rest| {
        let host = rest
            .split(|c: char| !(c.is_alphanumeric() || c == '.' || c == '-'))
            .next()?;
        let label = host.split('.').next()?;
        (host.contains('.') && HOST_LABELS.contains(&label)).then_some(host)
    })
}

/// Whether this line of a manifest's dependency section brings a version or a source of its own.
fn is_own_version(section: &str, line: &str) -> bool {
    if !section.trim_end_matches(']').ends_with("dependencies") {
        return false;
    }
    let key = line.split('=').next().unwrap_or_default();
    let starts_entry = line.starts_with(|c: char| c.is_ascii_alphanumeric());
    starts_entry
        && !key.trim_end().ends_with(".workspace")
        && !line.replace(' ', "").contains("workspace=true")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(name: &str, text: &str) -> Vec<String> {
        in_text(
            name,
            text,
            &machine_folders(Path::new("/somewhere/checkout")),
        )
    }

    fn join(halves: &[&str]) -> String {
        halves.concat()
    }

    #[test]
    fn the_top_level_is_the_designed_one() {
        let mut names: Vec<String> = TOP_NEEDED
            .iter()
            .chain(&["firmware/src/lib.rs", ".ci/run"])
            .map(|&name| name.to_owned())
            .collect();
        assert_eq!(top_level(&names), Vec::<String>::new());
        names.push("scripts/build.sh".into());
        names.retain(|name| name != "LICENSE");
        let lines = top_level(&names);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(
            lines[0].starts_with("scripts:") && lines[1].starts_with("LICENSE:"),
            "{lines:?}"
        );
    }

    #[test]
    fn leftovers_are_found_in_sources_with_their_line() {
        let text = format!("fn a() {{}}\nfn b() {{ {} }}\n", join(&["to", "do!()"]));
        let lines = judged("matcher/src/book.rs", &text);
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with("matcher/src/book.rs:2:"), "{lines:?}");
        assert_eq!(judged("README.md", &text), Vec::<String>::new());
        assert_eq!(
            judged("proof/l1/src/A.sol", &join(&["// FIX", "ME later"])).len(),
            1
        );
    }

    #[test]
    fn conflict_marks_are_found_in_any_file() {
        assert_eq!(
            judged("README.md", &join(&["<<<<", "<<< HEAD\n", "=======\n"])).len(),
            1
        );
    }

    #[test]
    fn folders_of_one_machine_are_found_and_parts_of_other_paths_are_not() {
        let home = join(&["/ro", "ot/"]);
        assert_eq!(judged("a.md", &format!("see {home}notes")).len(), 1);
        assert_eq!(judged("a.md", &format!("\"{home}x\"")).len(), 1);
        assert_eq!(judged("a.md", "in /somewhere/checkout/ci").len(), 1);
        assert!(
            judged(
                "a.md",
                &format!("crate{home}x and ${{X}}{home}x and ..{home}x")
            )
            .is_empty()
        );
    }

    #[test]
    fn hosts_that_packages_come_from_are_found_and_others_are_not() {
        for label in HOST_LABELS {
            let host = format!("{label}.example.org");
            let line = format!("curl https://{host}:443/a");
            assert_eq!(package_host(&line), Some(host.as_str()));
        }
        assert_eq!(
            package_host("https://example.org/registry and http://127.0.0.1:8545"),
            None
        );
        assert_eq!(package_host("the registry is no address"), None);
    }

    #[test]
    fn a_lock_file_with_download_addresses_is_refused() {
        let line = "      \"resolved\": \"https://example.org/a.tgz\",";
        assert_eq!(judged("proof/l1/package-lock.json", line).len(), 1);
        assert!(judged("proof/l1/notes.json", line).is_empty());
    }

    #[test]
    fn a_member_brings_no_version_of_its_own() {
        let text = "[package]\nname = \"x\"\nversion = \"1\"\n[dependencies]\na.workspace = true\n\
                    b = { workspace = true, features = [\n    \"c\",\n] }\nd = \"1\"\n\
                    [target.'cfg(unix)'.dev-dependencies]\ne = { version = \"2\" }\n";
        let lines = judged("bench/Cargo.toml", text);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(
            lines[0].starts_with("bench/Cargo.toml:9:")
                && lines[1].starts_with("bench/Cargo.toml:11:"),
            "{lines:?}"
        );
        assert!(
            judged("Cargo.toml", text).is_empty(),
            "the top manifest is where versions stand"
        );
        let alone = format!("[workspace]\n{text}");
        assert!(judged("ci/fuzz/Cargo.toml", &alone).is_empty());
    }
}
