//! `EVENTS.md` names every event that the sources write, and no other.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn sources(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|e| e == "rs") {
            all.push(path);
        }
    }
}

/// Names in quotes right after `event(`, also where an `if` picks one of two.
fn written() -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut files,
    );
    let mut names = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for call in text.split("event(").skip(1) {
            // Up to the list of fields.
            let head = call.split("&[").next().unwrap_or_default();
            if head.len() > 200 || head.contains("fn ") {
                continue;
            }
            for name in head.split('"').skip(1).step_by(2) {
                names.insert(name.to_owned());
            }
        }
    }
    names
}

#[test]
fn the_page_names_every_event_and_no_other() {
    let page = include_str!("../EVENTS.md");
    let rows = page.lines().filter(|l| l.starts_with("| `"));
    let named: BTreeSet<String> = rows
        .flat_map(|row| {
            let cell = row.split('|').nth(1).unwrap();
            cell.split('`').skip(1).step_by(2).map(str::to_owned)
        })
        .collect();
    let written = written();
    assert!(written.len() > 40, "{written:?}");
    let unnamed: Vec<_> = written.difference(&named).collect();
    let unwritten: Vec<_> = named.difference(&written).collect();
    assert!(unnamed.is_empty(), "not on the page: {unnamed:?}");
    assert!(unwritten.is_empty(), "written by nobody: {unwritten:?}");
}
