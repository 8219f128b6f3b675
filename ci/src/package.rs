//! The Debian package: built from the release programs, listed, installed in a clean root and used there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::setup;
use crate::step::Step;

/// As the `demo` gate builds them, so that nothing is built twice.
const BUILD: &str = "build --release --locked -p hostd -p proof -p bench --bins";
const SOURCE: &str = "hostd/packaging";
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn check(step: &mut Step<'_>) -> Result<String> {
    let mut build = step.place.cargo();
    step.run(build.args(BUILD.split(' ')))?;
    let folder = step.place.target.join("package");
    let tree = folder.join("tree");
    let _ = fs::remove_dir_all(&tree);
    stage(step, &tree)?;
    let list = bill_of_materials(step)?;
    let parts = list["components"].as_array().map_or(0, Vec::len);
    let (version, arch) = (version(step)?, architecture()?);
    let name = format!("deltabox_{version}_{arch}");
    let listed = folder.join(format!("{name}.cdx.json"));
    fs::write(&listed, serde_json::to_string_pretty(&list)?)?;
    control(step, &tree, &version, &arch)?;
    let package = folder.join(format!("{name}.deb"));
    let mut deb = Command::new("dpkg-deb");
    deb.args(["--build", "--root-owner-group", "-Zgzip"]);
    step.run(deb.arg(&tree).arg(&package))
        .context("dpkg-deb comes with every Debian")?;
    let mib = fs::metadata(&package)?.len() >> 20;
    let built = format!("{name}.deb, {mib} MiB, {parts} parts listed");
    if !setup::is_root() {
        return Ok(format!("{built}; NOT TRIED: a clean root needs root"));
    }
    setup::debootstrap(step)?;
    let Some(root) = clean_root(step, &folder)? else {
        let why = "NOT TRIED: debootstrap could not fetch a clean root";
        step.say(why);
        return Ok(format!("{built}; {why}"));
    };
    try_it(step, &root, &package)?;
    Ok(format!(
        "{built}; installed, started, asked and stopped in a clean root"
    ))
}

fn version(step: &Step<'_>) -> Result<String> {
    let packages = step.place.metadata["packages"].as_array();
    let hostd = packages.and_then(|p| p.iter().find(|p| p["name"] == "hostd"));
    let version = hostd.and_then(|p| p["version"].as_str());
    Ok(version.context("cargo knows no hostd")?.to_owned())
}

fn architecture() -> Result<String> {
    let said = Command::new("dpkg")
        .arg("--print-architecture")
        .output()
        .context("no dpkg on this machine")?;
    Ok(String::from_utf8(said.stdout)?.trim().to_owned())
}

/// Puts everything where the package has it.
fn stage(step: &mut Step<'_>, tree: &Path) -> Result<()> {
    let put = |from: PathBuf, to: &str, mode: u32| -> Result<()> {
        let to = tree.join(to);
        fs::create_dir_all(to.parent().context("a file is in a folder")?)?;
        fs::copy(&from, &to).with_context(|| from.display().to_string())?;
        fs::set_permissions(&to, std::os::unix::fs::PermissionsExt::from_mode(mode))?;
        Ok(())
    };
    for program in ["hostd", "prover"] {
        let to = format!("usr/bin/{program}");
        put(step.place.release(program), &to, 0o755)?;
        let mut strip = Command::new("strip");
        step.run(strip.arg("--strip-debug").arg(tree.join(to)))?;
    }
    let source = step.place.root.join(SOURCE);
    for unit in ["hostd.service", "hostd-standby.service"] {
        put(
            source.join(unit),
            &format!("lib/systemd/system/{unit}"),
            0o644,
        )?;
    }
    for script in ["postinst", "prerm"] {
        put(source.join(script), &format!("DEBIAN/{script}"), 0o755)?;
    }
    let doc = "usr/share/doc/deltabox";
    let root = &step.place.root;
    put(
        root.join("hostd/tests/example.toml"),
        &format!("{doc}/hostd.toml"),
        0o644,
    )?;
    put(source.join("README.md"), &format!("{doc}/README.md"), 0o644)?;
    put(root.join("LICENSE"), &format!("{doc}/copyright"), 0o644)?;
    let pages = tree.with_file_name("manual");
    let _ = fs::remove_dir_all(&pages);
    let mut manual = Command::new(step.place.release("hostd"));
    step.run(manual.args(["manual", "--out"]).arg(&pages))?;
    for page in fs::read_dir(&pages)? {
        let path = page?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let to = match path.extension().and_then(|e| e.to_str()) {
            Some("1") => format!("usr/share/man/man1/{name}"),
            Some("bash") => "usr/share/bash-completion/completions/hostd".into(),
            Some("fish") => format!("usr/share/fish/vendor_completions.d/{name}"),
            _ => format!("usr/share/zsh/vendor-completions/{name}"),
        };
        put(path, &to, 0o644)?;
    }
    Ok(())
}

fn control(step: &Step<'_>, tree: &Path, version: &str, arch: &str) -> Result<()> {
    let license = &step.place.metadata["packages"][0]["license"];
    let text = format!(
        "Package: deltabox\nVersion: {version}\nArchitecture: {arch}\nMaintainer: Deltabox\n\
         Depends: libc6 (>= 2.36), passwd\nRecommends: systemd\nSection: net\nPriority: optional\n\
         Description: matching appliance for crypto derivatives\n \
         The daemon hostd matches, margins and settles; the prover commits what it\n \
         did to Ethereum. Licence: {}.\n",
        license.as_str().unwrap_or("Apache-2.0")
    );
    fs::write(tree.join("DEBIAN/control"), text)?;
    Ok(())
}

/// Every crate that is in the programs, with version, licence and checksum: CycloneDX.
fn bill_of_materials(step: &mut Step<'_>) -> Result<Value> {
    let mut tree = step.place.cargo();
    tree.args("tree --locked -p hostd -p proof -e normal --prefix none --no-dedupe -f".split(' '));
    let said = step.run_for_output(tree.arg("{p}|{l}"))?;
    let used: std::collections::BTreeSet<(&str, &str, &str)> = said
        .lines()
        .filter_map(|line| {
            let (package, license) = line.split_once('|')?;
            let mut words = package.split(' ');
            Some((words.next()?, words.next()?.strip_prefix('v')?, license))
        })
        .collect();
    let lock = fs::read_to_string(step.place.root.join("Cargo.lock"))?;
    let components = used.iter().map(|(name, version, license)| {
        let mut part = json!({
            "type": "library", "name": name, "version": version,
            "purl": format!("pkg:cargo/{name}@{version}"),
            "licenses": [{ "expression": if license.is_empty() { "unknown" } else { license } }],
        });
        let entry = format!("name = \"{name}\"\nversion = \"{version}\"\n");
        let checksum = lock.split("[[package]]").find(|p| p.contains(&entry));
        let checksum = checksum.and_then(|p| p.split("checksum = \"").nth(1));
        if let Some(sum) = checksum.and_then(|c| c.split('"').next()) {
            part["hashes"] = json!([{ "alg": "SHA-256", "content": sum }]);
        }
        part
    });
    let components: Vec<_> = components.collect();
    ensure!(
        components.len() > 50,
        "the list of parts is too short to be whole"
    );
    Ok(json!({
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": { "component": { "type": "application", "name": "deltabox" } },
        "components": components,
    }))
}

/// A clean root, and what is done in it.
struct Root {
    path: PathBuf,
}

impl Root {
    /// A shell line in it, as root.
    fn line(&self, line: &str) -> Command {
        let mut command = Command::new("chroot");
        command.arg(&self.path).args(["/bin/sh", "-ec", line]);
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path.join("proc")).status();
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Makes one; none where the system's packages cannot be had, which is no fault of ours.
fn clean_root(step: &mut Step<'_>, folder: &Path) -> Result<Option<Root>> {
    let path = folder.join("root");
    let _ = Command::new("umount").arg(path.join("proc")).output();
    let _ = fs::remove_dir_all(&path);
    let root = Root { path };
    let suite = fs::read_to_string("/etc/os-release")?;
    let suite = suite
        .lines()
        .find_map(|l| l.strip_prefix("VERSION_CODENAME="));
    let suite = suite
        .context("/etc/os-release has no VERSION_CODENAME")?
        .to_owned();
    let mut make = Command::new("debootstrap");
    make.args(["--variant=minbase", &suite]).arg(&root.path);
    Ok(step.run(&mut make).is_ok().then_some(root))
}

fn try_it(step: &mut Step<'_>, root: &Root, package: &Path) -> Result<()> {
    fs::copy(package, root.path.join("deltabox.deb"))?;
    step.run(&mut root.line("mount -t proc proc /proc; dpkg -i /deltabox.deb"))?;
    // As packaging/README.md says; the example's public keys are those that the box makes here.
    let first_steps = "cp /usr/share/doc/deltabox/hostd.toml /etc/deltabox/hostd.toml
        hostd keygen --out /etc/deltabox/venue.key > /tmp/public
        chown hostd: /etc/deltabox/venue.key
        sed -i -e s/PUBLIC_KEY/$(cat /tmp/public)/ -e 's#\"run\"#\"/var/lib/deltabox\"#' \
            -e 's#keys/venue.key#/etc/deltabox/venue.key#' -e '/^dir = /s#/var/lib/deltabox#/run/hostd#' \
            /etc/deltabox/hostd.toml
        chgrp hostd /etc/deltabox/hostd.toml
        install -d -o hostd -g hostd -m 0755 /run/hostd
        hostd check-config --config /etc/deltabox/hostd.toml";
    step.run(&mut root.line(first_steps))?;
    let mut box_ = root
        .line("exec setpriv --reuid hostd --regid hostd --init-groups hostd run --config /etc/deltabox/hostd.toml")
        .spawn()?;
    let tried = ask_and_stop(step, root, &mut box_);
    if tried.is_err() {
        let _ = box_.kill();
        let _ = box_.wait();
    }
    tried?;
    step.run(
        &mut root
            .line("dpkg -r deltabox; test ! -e /usr/bin/hostd; test -e /var/lib/deltabox/journal"),
    )
}

fn ask_and_stop(step: &mut Step<'_>, root: &Root, box_: &mut std::process::Child) -> Result<()> {
    let begun = Instant::now();
    while !root.path.join("run/hostd/view.sock").exists() {
        ensure!(
            begun.elapsed() < PATIENCE,
            "the installed box makes no socket"
        );
        ensure!(box_.try_wait()?.is_none(), "the installed box has stopped");
        std::thread::sleep(Duration::from_millis(50));
    }
    let status = step.run_for_output(&mut root.line("hostd admin --json status"))?;
    ensure!(status.contains("\"engine_seq\""), "no status: {status}");
    let stop = "hostd admin --yes --reason 'the package is tried' box stop";
    step.run(&mut root.line(stop))?;
    let ended = box_.wait()?;
    ensure!(
        ended.success(),
        "the installed box did not stop in order: {ended}"
    );
    step.run(&mut root.line("hostd admin audit verify --data /var/lib/deltabox"))
}
