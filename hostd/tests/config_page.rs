//! `CONFIG.md` is made from the sources of the configuration: every key, its type, its default and what it does.
//! `BLESS=1 cargo test -p hostd --test config_page` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// Where the sections stand, in the order of the page: heading, struct.
const SECTIONS: [(&str, &str); 29] = [
    ("[venue]", "Venue"),
    ("[net]", "Net"),
    ("[net.xdp]", "XdpSection"),
    ("[net.dpdk]", "DpdkSection"),
    ("[feed]", "FeedSection"),
    ("[feed.requests]", "RequestsSection"),
    ("[feed.snapshots]", "SnapshotsSection"),
    ("[feed.checkpoints]", "CheckpointsSection"),
    ("[journal]", "Journal"),
    ("[replication]", "ReplicationSection"),
    ("[[replication.peers]]", "Peer"),
    ("[replication.etcd]", "EtcdSection"),
    ("[snapshot]", "SnapshotSection"),
    ("[topology]", "TopologySection"),
    ("[memory]", "Memory"),
    ("[capacity]", "Capacity"),
    ("[admin]", "Admin"),
    ("[[admin.users]]", "User"),
    ("[metrics]", "Metrics"),
    ("[page]", "Page"),
    ("[domain]", "Domain"),
    ("[risk]", "RiskSection"),
    ("[risk.adaptive]", "AdaptiveSection"),
    ("[oracle_panel]", "OraclePanel"),
    ("[[oracles]]", "Oracle"),
    ("[[members]]", "Member"),
    ("[[instruments]]", "Instrument"),
    ("[instruments.coarse_tick]", "CoarseTick"),
    ("the file", "Config"),
];

struct Key {
    name: String,
    ty: String,
    default: Option<String>,
    about: String,
}

fn sources() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                all.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }
    all
}

/// `const fn NAME() -> T { VALUE }`
fn function_value(text: &str, name: &str) -> Option<String> {
    let body = text.split_once(&format!("fn {name}()"))?.1;
    let body = body.split_once('{')?.1.split_once('}')?.0;
    Some(body.trim().trim_end_matches(';').to_owned())
}

/// Values of `impl Default for NAME`, by key.
fn default_values(text: &str, name: &str) -> BTreeMap<String, String> {
    let Some((_, body)) = text.split_once(&format!("impl Default for {name} {{")) else {
        return BTreeMap::new();
    };
    let body = body.split_once("\n}\n").map_or(body, |b| b.0);
    let lines = body.lines().filter_map(|l| l.trim().split_once(": "));
    let lines = lines.filter(|(k, _)| k.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
    lines
        .map(|(k, v)| (k.to_owned(), v.trim_end_matches(',').to_owned()))
        .collect()
}

/// Keys of a struct that the TOML is read into.
fn find(sources: &[String], name: &str) -> Vec<Key> {
    let head = format!("pub struct {name} {{\n");
    // Another struct of that name may not be the configuration's.
    let parts = sources
        .iter()
        .filter_map(|t| Some((t, t.split_once(&head)?)));
    let attributes_of = |before: &str| -> String {
        let part = before.rsplit_once("\n\n").map_or(before, |b| b.1);
        part.to_owned()
    };
    let is_ours = |before: &str| attributes_of(before).contains("deny_unknown_fields");
    let found = parts.into_iter().find(|(_, (before, _))| is_ours(before));
    let (text, (before, after)) =
        found.unwrap_or_else(|| panic!("no struct {name} that refuses unknown keys"));
    let attributes = attributes_of(before);
    let whole_defaults = attributes.contains(", default)");
    let defaults = default_values(text, name);
    let body = after.split_once("\n}\n").unwrap().0;
    let (mut keys, mut about, mut attribute) = (Vec::new(), String::new(), String::new());
    for line in body.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("/// ") {
            about.push_str(words);
            about.push(' ');
        } else if line.starts_with("#[") {
            attribute.push_str(line);
        } else if let Some((name, ty)) = line.strip_prefix("pub ").and_then(|l| l.split_once(": "))
        {
            let ty = ty.trim_end_matches(',').to_owned();
            let by_function = attribute
                .split_once("default = \"")
                .and_then(|a| function_value(text, a.1.split_once('"')?.0));
            let optional = ty.starts_with("Option<") || attribute.contains("default");
            let default = by_function
                .or_else(|| defaults.get(name).filter(|_| whole_defaults).cloned())
                .or_else(|| (optional || whole_defaults).then(|| nothing(sources, &ty)));
            if !attribute.contains("serde(skip)") {
                keys.push(Key {
                    name: name.to_owned(),
                    ty,
                    default,
                    about: about.trim().to_owned(),
                });
            }
            (about, attribute) = (String::new(), String::new());
        }
    }
    keys
}

/// What a type is when nothing is said.
fn nothing(sources: &[String], ty: &str) -> String {
    match ty {
        "bool" => "false".into(),
        "u8" | "u16" | "u32" | "u64" | "usize" | "i32" | "i64" => "0".into(),
        _ if ty.starts_with("Vec<") || ty.starts_with("BTreeMap<") => "empty".into(),
        _ => {
            let head = format!("enum {ty} {{");
            let text = sources.iter().find_map(|t| t.split_once(&head));
            let value = text.and_then(|(_, body)| body.split_once("#[default]"));
            let word = value.and_then(|(_, v)| v.split(',').next());
            word.map_or("none".into(), |w| {
                w.trim()
                    .split(' ')
                    .next()
                    .unwrap_or_default()
                    .to_lowercase()
            })
        }
    }
}

/// A type for people.
fn kind(ty: &str) -> String {
    let inner = ty
        .strip_prefix("Option<")
        .and_then(|t| t.strip_suffix('>'))
        .unwrap_or(ty);
    match inner {
        "bool" => "true or false".into(),
        "String" => "text".into(),
        "PathBuf" => "path".into(),
        "SocketAddrV4" | "SocketAddr" => "address:port".into(),
        "Ipv4Addr" => "address".into(),
        "u8" | "u16" | "u32" | "u64" | "usize" => "integer from 0".into(),
        "i32" | "i64" => "integer".into(),
        other => match other.strip_prefix("Vec<").and_then(|t| t.strip_suffix('>')) {
            Some(item) => format!("list: {}", kind(item)),
            None => other.to_owned(),
        },
    }
}

fn page() -> String {
    let sources = sources();
    let mut text = String::from(
        "# Configuration\n\nOne TOML file, read once at the start; unknown keys are refused, and `hostd check-config` says \
         what is wrong. `hostd/tests/example.toml` is one with comments. `hostd admin config show` prints what is in \
         force, `config diff` what the file would change, `config reload` takes over what can change while the box \
         runs.\n\nThis page is made from the sources (`cargo test -p hostd --test config_page`). Decimals such as `tick` \
         are texts, so that nothing is rounded on the way. A key without a default has to be there if its section is.\n",
    );
    for (heading, name) in SECTIONS {
        let keys = find(&sources, name);
        write!(
            text,
            "\n## {heading}\n\n| Key | Type | Default | What it is |\n|---|---|---|---|\n"
        )
        .unwrap();
        for key in &keys {
            assert!(
                !key.about.is_empty(),
                "{name}.{} says nothing of itself",
                key.name
            );
            let default = key.default.as_deref().unwrap_or("needed");
            let cell = |s: &str| s.replace('|', "\\|");
            writeln!(
                text,
                "| `{}` | {} | {} | {} |",
                key.name,
                cell(&kind(&key.ty)),
                cell(default),
                cell(&key.about)
            )
            .unwrap();
        }
    }
    text
}

#[test]
fn the_page_is_that_of_the_sources() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("CONFIG.md");
    let (held, made) = (std::fs::read_to_string(&path).unwrap_or_default(), page());
    if held == made {
        return;
    }
    assert!(
        std::env::var_os("BLESS").is_some(),
        "CONFIG.md is stale: BLESS=1 cargo test -p hostd --test config_page writes it anew"
    );
    std::fs::write(path, made).unwrap();
}

#[test]
fn every_key_of_the_example_is_on_the_page() {
    let page = page();
    let example = include_str!("example.toml");
    let lines = example.lines().map(|l| l.trim_start_matches("# "));
    for line in lines {
        let Some((key, _)) = line.split_once(" = ") else {
            continue;
        };
        let is_key = key
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        // A core's name is no key of ours.
        if is_key && !key.is_empty() {
            assert!(page.contains(&format!("| `{key}` |")), "{key}: {line}");
        }
    }
}
