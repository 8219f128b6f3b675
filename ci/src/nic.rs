//! The bare-metal image of `firmware/nic`: built for RISC-V, linted, and run in QEMU with the frames that the RTL is
//! tried with.

use anyhow::{Context, Result, ensure};

use crate::panics;
use crate::setup;
use crate::step::Step;

/// What the image is built for.
pub(crate) const TARGET: &str = "riscv64imac-unknown-none-elf";
const FOLDER: &str = "firmware/nic";
const TESTS: &str = "test --locked --package cosim --features qemu --test nic_image";
const LINT: &str =
    "clippy --locked --package cosim --features qemu --test nic_image -- -D warnings";
/// Code and constants that the image may have, bytes; an empty gate to start from is most of it. More means that
/// somebody should look.
const TEXT_MAX: u64 = 704 << 10;
/// Calls of panic functions that the image may have, start-up and drivers included. A change that takes some away
/// lowers it; a new one must be argued for.
const PANIC_CALLS_MAX: usize = 52;

pub(crate) fn check(step: &mut Step<'_>) -> Result<String> {
    if let Err(error) = setup::riscv_target(step) {
        let why = format!("NOT RUN: no core library for {TARGET}: {error:#}");
        step.say(&why);
        return Ok(why);
    }
    if !setup::can_install() && !setup::has_qemu() {
        let why = "NOT RUN: QEMU is not here, and neither is root to install it";
        step.say(why);
        return Ok(why.into());
    }
    setup::qemu(step)?;
    for args in [
        "clippy --locked --release -- -D warnings",
        "build --locked --release",
    ] {
        let mut cargo = step.place.cargo();
        cargo.current_dir(step.place.root.join(FOLDER));
        cargo.env("CARGO_TARGET_DIR", step.place.target.join("nic"));
        step.run(cargo.args(args.split(' ')))?;
    }
    let image = step
        .place
        .target
        .join("nic")
        .join(TARGET)
        .join("release/nic");
    let elf = std::fs::read(&image).context("the image was built")?;
    let text = text_bytes(&elf)?;
    ensure!(
        text <= TEXT_MAX,
        "{text} bytes of code and constants, {TEXT_MAX} are thought enough"
    );
    let calls = panics::calls(&elf)?;
    ensure!(
        calls <= PANIC_CALLS_MAX,
        "{calls} places can panic, {PANIC_CALLS_MAX} could before: a new panic path"
    );
    let mut cargo = step.place.cargo();
    step.run(cargo.args(LINT.split(' ')))?;
    let before = step.tests.passed;
    let mut cargo = step.place.cargo();
    cargo.env("DELTABOX_NIC_IMAGE", &image);
    step.run(cargo.args(TESTS.split(' ')))?;
    ensure!(step.tests.passed >= before + 3, "the image did not run");
    Ok(format!(
        "6,000 frames judged alike by image and firmware crate; {text} bytes of code and constants; {calls} places can panic"
    ))
}

/// Bytes of all segments of a 64-bit little-endian ELF that are loaded and not written to.
fn text_bytes(elf: &[u8]) -> Result<u64> {
    let word = |at, len| panics::word(elf, at, len);
    ensure!(elf.starts_with(b"\x7fELF\x02\x01"), "the image is no ELF");
    let (table, size, count) = (word(0x20, 8)?, word(0x36, 2)?, word(0x38, 2)?);
    let mut sum = 0;
    for i in 0..count {
        let at = (table + i * size) as usize;
        let (kind, flags) = (word(at, 4)?, word(at + 4, 4)?);
        let is_writable = flags & 2 != 0;
        if kind == 1 && !is_writable {
            sum += word(at + 0x20, 8)?;
        }
    }
    Ok(sum)
}
