//! Each command of `RUNBOOK.md`, in its order, against a real box in the state that its part is about.

mod world;

use std::process::Command;
use world::World;

const PAGE: &str = include_str!("../RUNBOOK.md");

/// A command and the exit codes that the page gives it.
struct Line {
    text: String,
    codes: Vec<i32>,
}

/// The parts of the page that have commands, by their titles.
fn parts() -> Vec<(String, Vec<Line>)> {
    let parts = PAGE.split("\n## ").skip(1).map(|part| {
        let (title, body) = part.split_once('\n').unwrap();
        let blocks = body.split("```").skip(1).step_by(2);
        let lines = blocks
            .flat_map(str::lines)
            .filter(|l| l.starts_with("hostd "));
        let lines = lines.map(|line| {
            let (text, note) = line.split_once(" # exit ").unwrap_or((line, "0"));
            Line {
                text: text.to_owned(),
                codes: note.split(" or ").map(|n| n.parse().unwrap()).collect(),
            }
        });
        (title.to_owned(), lines.collect::<Vec<_>>())
    });
    parts.filter(|(_, lines)| !lines.is_empty()).collect()
}

/// The words of a line, with what stands in quotes as one.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (n, part) in text.split('"').enumerate() {
        if n % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// Sets the scene of a part.
fn scene(title: &str) -> World {
    let mut w = World::new();
    match title {
        "Start of day" => {
            let pre_open = "symbol = \"BTC-PERP\"\nstate = \"pre-open\"";
            let text = w.config().replacen("symbol = \"BTC-PERP\"", pre_open, 1);
            std::fs::write(w.config_path(), text).unwrap();
            w.open();
        }
        "Stale oracle" => {
            w.start();
            w.fund();
        }
        "Change of configuration" => {
            w.open();
            let text = w.config() + "\n[risk]\nfunding = true\nnotice_s = 60\n";
            std::fs::write(w.config_path(), text).unwrap();
        }
        _ => w.open(),
    }
    w
}

#[test]
fn each_command_of_the_page_does_what_the_page_says() {
    let parts = parts();
    let count: usize = parts.iter().map(|(_, lines)| lines.len()).sum();
    assert!(count > 40, "only {count} commands were found");
    for (title, lines) in parts {
        let w = scene(&title);
        // So that there is somebody to kick.
        let mut session = Some(w.session(1));
        for line in lines {
            if line.text.contains("oracle override") || line.text.contains("day end") {
                session = None;
            }
            let words = words(&line.text);
            let words = words[1..].iter().map(|word| match word.as_str() {
                "/etc/deltabox/hostd.toml" => w.config_path().display().to_string(),
                "/var/lib/deltabox" => w.data().display().to_string(),
                other => other.to_owned(),
            });
            let mut command = Command::new(env!("CARGO_BIN_EXE_hostd"));
            command.env("HOSTD_ADMIN_DIR", w.dir.path()).args(words);
            let out = command.output().unwrap();
            let code = out.status.code().unwrap();
            let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
            assert!(
                line.codes.contains(&code),
                "{title}: {}: exit {code}: {said}",
                line.text
            );
            if line.text.contains("oracle override") {
                w.wait_for("a table", |s| s["risk_epoch"].as_u64() > Some(0));
            }
            // Whoever was kicked comes again.
            if line.text.contains("session kick") && !title.contains("key") {
                session = None;
                w.wait_for("no session", |s| s["sessions"] == 0);
            }
        }
        drop(session);
    }
}
