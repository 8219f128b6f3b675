//! Shows that `firmware` and `matcher` need no operating system.
//!
//! With a bare-metal target installed, both are built for it. Without one, each is linked on the host
//! into a library that brings its own panic handler: if anything under it used std, there would be two
//! handlers and the link would fail; the same for an allocator, which only the matcher is given.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::step::Step;

/// The first that is installed is used; the first of all is the one to install.
const TARGETS: &[&str] = &[
    "riscv64imac-unknown-none-elf",
    "riscv64gc-unknown-none-elf",
    "riscv32imac-unknown-none-elf",
    "thumbv7em-none-eabihf",
    "x86_64-unknown-none",
];

const PANIC_HANDLER: &str = "
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
";

const ALLOCATOR: &str = "
struct Never;
unsafe impl core::alloc::GlobalAlloc for Never {
    unsafe fn alloc(&self, _: core::alloc::Layout) -> *mut u8 {
        core::ptr::null_mut()
    }
    unsafe fn dealloc(&self, _: *mut u8, _: core::alloc::Layout) {}
}
#[global_allocator]
static ALLOCATOR: Never = Never;
";

const BUILD: &[&str] = &[
    "build",
    "--locked",
    "--lib",
    "-p",
    "firmware",
    "-p",
    "matcher",
    "--no-default-features",
];

pub(crate) fn check(step: &mut Step<'_>) -> Result<String> {
    let mut command = step.place.cargo();
    let messages = step.run_for_output(
        command
            .args(BUILD)
            .arg("--message-format=json-render-diagnostics"),
    )?;
    link(step, "firmware", &rlib(&messages, "firmware")?, "")?;
    link(step, "matcher", &rlib(&messages, "matcher")?, ALLOCATOR)?;
    let Some(target) = installed_target(step)? else {
        let note = format!(
            "linked on the host; no bare-metal target here (rustup target add {})",
            TARGETS[0]
        );
        return Ok(note);
    };
    let mut command = step.place.cargo();
    step.run(command.args(BUILD).args(["--target", target]))?;
    Ok(format!("linked on the host and built for {target}"))
}

/// Links one crate and all under it into a library that has no std.
fn link(step: &mut Step<'_>, name: &str, rlib: &Path, allocator: &str) -> Result<()> {
    let folder = step.place.log_folder();
    let source = folder.join(format!("nostd_{name}.rs"));
    let text = format!("#![no_std]\nuse {name} as _;\n{PANIC_HANDLER}{allocator}");
    std::fs::write(&source, text).with_context(|| format!("cannot write {}", source.display()))?;
    let deps = rlib.parent().context("an rlib lies in no folder")?;
    let mut command = step
        .place
        .command(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command
        .args([
            "--edition=2024",
            "--crate-type=staticlib",
            "-Cpanic=abort",
            "--out-dir",
        ])
        .arg(&folder)
        .arg("--extern")
        .arg(format!("{name}={}", rlib.display()))
        // Cargo puts each rlib beside or one above its dependencies.
        .arg(format!("-Ldependency={}", deps.join("deps").display()))
        .arg(format!("-Ldependency={}", deps.display()))
        .arg(&source);
    step.run(&mut command)
        .with_context(|| format!("{name} needs std or an allocator"))
}

/// The path of a library that cargo reported as built or fresh.
fn rlib(messages: &str, name: &str) -> Result<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| {
            message["reason"] == "compiler-artifact" && message["target"]["name"] == name
        })
        .flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default())
        .filter_map(|file| file.as_str().map(PathBuf::from))
        .find(|path| {
            path.extension()
                .is_some_and(|extension| extension == "rlib")
        })
        .with_context(|| format!("cargo reported no library of {name}"))
}

fn installed_target(step: &Step<'_>) -> Result<Option<&'static str>> {
    let output = step
        .place
        .command(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--print", "sysroot"])
        .output()
        .context("cannot start rustc")?;
    ensure!(
        output.status.success(),
        "rustc does not say where its libraries are"
    );
    let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    Ok(TARGETS.iter().copied().find(|target| {
        sysroot
            .join("lib/rustlib")
            .join(target)
            .join("lib")
            .is_dir()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_found_among_cargos_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"bytemuck"},"filenames":["/t/libbytemuck.rlib"]}"#,
            "\nnot json\n",
            r#"{"reason":"compiler-artifact","target":{"name":"firmware"},"filenames":["/t/f.rmeta","/t/f.rlib"]}"#,
        );
        assert_eq!(
            rlib(messages, "firmware").expect("found"),
            PathBuf::from("/t/f.rlib")
        );
        assert!(rlib(messages, "matcher").is_err());
    }
}
