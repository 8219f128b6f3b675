//! Which crate may depend on which: reads cargo's metadata and refuses a wrong arrow by name.
//!
//! Normal and build dependencies follow the table below. Test code may reach further, but not to the
//! programs at the top: they are driven from outside.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::step::Step;

/// A crate and those of ours that it may depend on.
struct Arrow {
    from: &'static str,
    to: &'static [&'static str],
}

const ARROWS: &[Arrow] = &[
    Arrow {
        from: "firmware",
        to: &[],
    },
    Arrow {
        from: "handshake",
        to: &["firmware"],
    },
    Arrow {
        from: "matcher",
        to: &["firmware"],
    },
    Arrow {
        from: "lane",
        to: &[],
    },
    Arrow {
        from: "journal",
        to: &["firmware"],
    },
    Arrow {
        from: "l1",
        to: &["firmware"],
    },
    Arrow {
        from: "proof",
        to: &["firmware", "matcher", "journal", "l1"],
    },
    Arrow {
        from: "client",
        to: &["firmware", "handshake"],
    },
    Arrow {
        from: "dpdk-sys",
        to: &[],
    },
    Arrow {
        from: "hostd",
        to: &[
            "firmware",
            "handshake",
            "matcher",
            "lane",
            "journal",
            "dpdk-sys",
        ],
    },
    Arrow {
        from: "bench",
        to: &[
            "firmware",
            "handshake",
            "matcher",
            "journal",
            "lane",
            "client",
            "proof",
            "l1",
        ],
    },
    Arrow {
        from: "referee",
        to: &["firmware", "matcher"],
    },
    Arrow {
        from: "cosim",
        to: &["firmware"],
    },
    Arrow {
        from: "ci",
        to: &[],
    },
];

/// Nothing depends on these, not even a test: they are programs, or (`referee`) a library for programs of
/// others, reached from outside.
const PROGRAMS: &[&str] = &["hostd", "bench", "referee", "ci"];

/// All that firmware may bring along from outside: it must also run on a NIC.
const FIRMWARE_OUTSIDE: &[&str] = &["bytemuck", "heapless"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    Build,
    Dev,
}

#[derive(Debug)]
struct Dependency {
    name: String,
    kind: Kind,
}

#[derive(Debug)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

pub(crate) fn check(step: &mut Step<'_>) -> Result<String> {
    let packages = packages(&step.place.metadata)?;
    let wrong = wrong_arrows(&packages);
    for line in &wrong {
        step.note(line);
    }
    if !wrong.is_empty() {
        bail!("{} wrong: {}", wrong.len(), wrong.join("; "));
    }
    Ok(format!("{} crates", packages.len()))
}

fn packages(metadata: &Value) -> Result<Vec<Package>> {
    let text = |value: &Value, what: &str| {
        value
            .as_str()
            .map(str::to_owned)
            .with_context(|| format!("cargo metadata: a {what} is no text"))
    };
    let list = |value: &Value, what: &str| {
        value
            .as_array()
            .cloned()
            .with_context(|| format!("cargo metadata: {what} is no list"))
    };
    list(&metadata["packages"], "packages")?
        .iter()
        .map(|package| {
            let dependencies = list(&package["dependencies"], "dependencies")?
                .iter()
                .map(|dependency| {
                    let kind = match dependency["kind"].as_str() {
                        None => Kind::Normal,
                        Some("build") => Kind::Build,
                        Some("dev") => Kind::Dev,
                        Some(other) => bail!("cargo metadata: unknown kind of dependency {other}"),
                    };
                    Ok(Dependency {
                        name: text(&dependency["name"], "dependency's name")?,
                        kind,
                    })
                })
                .collect::<Result<_>>()?;
            Ok(Package {
                name: text(&package["name"], "package's name")?,
                dependencies,
            })
        })
        .collect()
}

/// Each wrong arrow as one line; none for a sound workspace.
fn wrong_arrows(packages: &[Package]) -> Vec<String> {
    let mut wrong = Vec::new();
    for package in packages {
        let Some(arrow) = ARROWS.iter().find(|arrow| arrow.from == package.name) else {
            wrong.push(format!(
                "{} is not in the table of ci/src/layers.rs: say there what it may depend on",
                package.name
            ));
            continue;
        };
        for dependency in &package.dependencies {
            wrong.extend(why_wrong(arrow, dependency, packages));
        }
    }
    wrong
}

fn why_wrong(arrow: &Arrow, dependency: &Dependency, packages: &[Package]) -> Option<String> {
    let (from, to) = (arrow.from, dependency.name.as_str());
    let ours = packages.iter().any(|package| package.name == to);
    if PROGRAMS.contains(&to) && ours {
        return Some(format!(
            "{from} -> {to}: no crate, test or build script depends on {to}"
        ));
    }
    if dependency.kind == Kind::Dev {
        return None;
    }
    if ours && !arrow.to.contains(&to) {
        let may = if arrow.to.is_empty() {
            "none of ours".to_owned()
        } else {
            arrow.to.join(", ")
        };
        return Some(format!("{from} -> {to}: {from} may depend on {may}"));
    }
    if !ours && from == "firmware" && !FIRMWARE_OUTSIDE.contains(&to) {
        return Some(format!(
            "firmware -> {to}: from outside, firmware may use only {}",
            FIRMWARE_OUTSIDE.join(" and ")
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A crate, with its dependencies as (name, kind).
    type Crate<'a> = (&'a str, &'a [(&'a str, Option<&'a str>)]);

    fn wrong(crates: &[Crate<'_>]) -> Vec<String> {
        let packages_json: Vec<Value> = crates
            .iter()
            .map(|(name, dependencies)| {
                let list: Vec<Value> = dependencies
                    .iter()
                    .map(|(name, kind)| json!({ "name": name, "kind": kind }))
                    .collect();
                json!({ "name": name, "dependencies": list })
            })
            .collect();
        wrong_arrows(&packages(&json!({ "packages": packages_json })).expect("well formed"))
    }

    #[test]
    fn the_designed_arrows_pass() {
        let lines = wrong(&[
            (
                "firmware",
                &[
                    ("bytemuck", None),
                    ("heapless", None),
                    ("proptest", Some("dev")),
                ],
            ),
            ("matcher", &[("firmware", None), ("blake3", None)]),
            ("l1", &[("alloy", None)]),
            (
                "proof",
                &[("matcher", None), ("firmware", None), ("l1", None)],
            ),
            ("hostd", &[("firmware", None), ("matcher", None)]),
        ]);
        assert_eq!(lines, Vec::<String>::new());
    }

    #[test]
    fn an_arrow_upwards_is_refused_by_name() {
        let lines = wrong(&[("firmware", &[("matcher", None)]), ("matcher", &[])]);
        assert_eq!(
            lines,
            ["firmware -> matcher: firmware may depend on none of ours"]
        );
        let lines = wrong(&[("matcher", &[("lane", None)]), ("lane", &[])]);
        assert_eq!(lines, ["matcher -> lane: matcher may depend on firmware"]);
    }

    #[test]
    fn bench_takes_every_library_but_never_the_daemon() {
        let bench = ARROWS
            .iter()
            .find(|arrow| arrow.from == "bench")
            .expect("a row");
        for arrow in ARROWS {
            let refused = !wrong(&[("bench", &[(arrow.from, None)]), (arrow.from, &[])]).is_empty();
            // The bindings are a part of the daemon; the RTL is reached as a program.
            let daemons =
                PROGRAMS.contains(&arrow.from) || ["dpdk-sys", "cosim"].contains(&arrow.from);
            assert_eq!(refused, daemons, "{}", arrow.from);
            assert_eq!(refused, !bench.to.contains(&arrow.from), "{}", arrow.from);
        }
    }

    #[test]
    fn a_build_dependency_counts_like_a_normal_one() {
        let lines = wrong(&[("hostd", &[("proof", Some("build"))]), ("proof", &[])]);
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with("hostd -> proof:"), "{lines:?}");
    }

    #[test]
    fn not_even_a_test_depends_on_a_program() {
        for program in PROGRAMS {
            let lines = wrong(&[("proof", &[(program, Some("dev"))]), (program, &[])]);
            assert_eq!(
                lines,
                [format!(
                    "proof -> {program}: no crate, test or build script depends on {program}"
                )]
            );
        }
    }

    #[test]
    fn a_test_may_reach_a_library_that_its_crate_may_not() {
        assert!(wrong(&[("client", &[("matcher", Some("dev"))]), ("matcher", &[])]).is_empty());
    }

    #[test]
    fn firmware_brings_nothing_new_from_outside() {
        let lines = wrong(&[("firmware", &[("serde", None), ("proptest", Some("dev"))])]);
        assert_eq!(
            lines,
            ["firmware -> serde: from outside, firmware may use only bytemuck and heapless"]
        );
    }

    #[test]
    fn an_outside_crate_with_the_name_of_a_program_is_not_ours() {
        assert!(wrong(&[("proof", &[("bench", None)])]).is_empty());
    }

    #[test]
    fn a_crate_without_a_row_is_refused() {
        assert!(wrong(&[("helper", &[])])[0].starts_with("helper is not in the table"));
    }

    #[test]
    fn metadata_that_is_not_cargos_is_an_error() {
        assert!(packages(&json!({ "packages": [{ "name": 3, "dependencies": [] }] })).is_err());
        assert!(packages(&json!({})).is_err());
    }
}
