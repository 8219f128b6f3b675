//! What the process gives up before it starts its tiles: writing anywhere but in its own folders (Landlock), new rights
//! (no_new_privs), and leaving its memory, which holds keys, in a core file or to a debugger of the same user.
//!
//! Threads inherit all of it, so it is done once, first. A kernel without Landlock is logged and does not stop the box.

use crate::config::{Backend, Config};
use crate::machine::log;
use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use std::path::{Path, PathBuf};

/// The newest rules that are asked for; a kernel that knows fewer enforces those.
const RULES: ABI = ABI::V3;

/// Gives up what a box of this configuration does not need.
pub fn enter(config: &Config) {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let cores = rustix::process::setrlimit(Resource::Core, none)
        .and_then(|()| rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable));
    if let Err(e) = cores {
        log::event("core_files_possible", &[("reason", &e)]);
    }
    if config.net.backend != Backend::Uring {
        // BPF maps, hugepages and drivers' files are written to wherever the system has them.
        return log::event("sandbox", &[("files", &"not confined: backend")]);
    }
    let said = match confine(&own_folders(config)) {
        Ok(RulesetStatus::FullyEnforced) => "confined".into(),
        Ok(RulesetStatus::PartiallyEnforced) => "confined as far as this kernel can".into(),
        Ok(RulesetStatus::NotEnforced) => "not confined: no Landlock in this kernel".into(),
        Err(e) => format!("not confined: {e}"),
    };
    log::event("sandbox", &[("files", &said)]);
}

/// Where the box writes.
fn own_folders(config: &Config) -> Vec<PathBuf> {
    let data = config.data();
    let mut all = vec![data.path().to_owned(), config.admin.dir.clone()];
    all.extend(config.journal.archive_dir.clone());
    all
}

/// The calling thread, and all that it starts, may read and run whatever its user may, and write below these folders,
/// which are made if they are missing.
///
/// # Errors
/// When the rules cannot be made.
pub fn confine(folders: &[impl AsRef<Path>]) -> Result<RulesetStatus, RulesetError> {
    let (all, read): (BitFlags<AccessFs>, _) =
        (AccessFs::from_all(RULES), AccessFs::from_read(RULES));
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .create()?;
    let everywhere = PathFd::new("/").map(|root| PathBeneath::new(root, read));
    if let Ok(rule) = everywhere {
        rules = rules.add_rule(rule)?;
    }
    for folder in folders {
        // What cannot be made is found and named by who needs it.
        let _ = std::fs::create_dir_all(folder);
        if let Ok(folder) = PathFd::new(folder) {
            rules = rules.add_rule(PathBeneath::new(folder, all))?;
        }
    }
    // Written to by name by programs that print: nothing is kept there.
    for device in ["/dev/null", "/dev/tty"] {
        if let Ok(device) = PathFd::new(device) {
            rules = rules.add_rule(PathBeneath::new(device, AccessFs::from_file(RULES)))?;
        }
    }
    Ok(rules.restrict_self()?.ruleset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::ErrorKind;

    #[test]
    fn a_confined_thread_writes_in_its_own_folders_only() {
        let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (inside, outside) = (own.path().join("data"), other.path().join("file"));
        fs::write(&outside, "as it was").unwrap();
        let confined = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                if confine(&[&inside]).unwrap() == RulesetStatus::NotEnforced {
                    eprintln!("not run: no Landlock in this kernel");
                    return;
                }
                fs::write(inside.join("file"), "new").unwrap();
                assert_eq!(fs::read_to_string(&outside).unwrap(), "as it was");
                let denied = |result: std::io::Result<()>| {
                    assert_eq!(result.unwrap_err().kind(), ErrorKind::PermissionDenied);
                };
                denied(fs::write(&outside, "changed"));
                denied(fs::remove_file(&outside));
                denied(fs::write(other.path().join("new"), ""));
                denied(fs::create_dir(other.path().join("folder")));
                // What it starts is confined as well.
                let mut shell = std::process::Command::new("sh");
                shell.args(["-c", "echo changed > \"$0\""]).arg(&outside);
                assert!(!shell.output().unwrap().status.success());
                assert_eq!(fs::read_to_string(&outside).unwrap(), "as it was");
            });
            thread.join()
        });
        confined.unwrap();
        // Nobody else is.
        fs::write(&outside, "changed").unwrap();
    }
}
