//! Counts the places in a RISC-V image from which a panic can start: calls of the core library's panic functions.
//!
//! Reads the ELF file itself: its symbols by name, and the code as a line of instructions of two or four bytes. A call
//! is `jal`, or `auipc` with the `jalr` behind it.

use anyhow::{Context, Result, ensure};

/// Parts of the mangled names of functions that only start or carry on a panic.
const PANICS: [&str; 5] = [
    "4core9panicking",
    "13expect_failed",
    "13unwrap_failed",
    "slice_index",
    "len_mismatch_fail",
];
/// Bytes of a section's head and of a symbol.
const SECTION: usize = 64;
const SYMBOL: usize = 24;

/// A function: its name, and where it starts and ends.
struct Function {
    name: String,
    from: u64,
    to: u64,
}

/// Calls of panic functions from functions that are none.
pub(crate) fn calls(elf: &[u8]) -> Result<usize> {
    ensure!(elf.starts_with(b"\x7fELF\x02\x01"), "the image is no ELF");
    let functions = functions(elf)?;
    let is_panic = |f: &&Function| PANICS.iter().any(|part| f.name.contains(part));
    let targets: Vec<u64> = functions.iter().filter(is_panic).map(|f| f.from).collect();
    ensure!(!targets.is_empty(), "the image names no panic function");
    let code: Vec<(u64, &[u8])> = sections(elf)?
        .filter(|s| s.kind == 1 && s.flags & 4 != 0)
        .map(|s| Ok((s.address, s.bytes(elf)?)))
        .collect::<Result<_>>()?;
    let mut found = 0;
    for f in functions.iter().filter(|f| !is_panic(f)) {
        let inside = |(at, bytes): &&(u64, &[u8])| f.from >= *at && f.to <= at + bytes.len() as u64;
        let Some((at, bytes)) = code.iter().find(inside) else {
            continue;
        };
        let bytes = &bytes[(f.from - at) as usize..(f.to - at) as usize];
        let called = called(f.from, bytes);
        found += called.iter().filter(|to| targets.contains(to)).count();
    }
    Ok(found)
}

/// Where the calls and far jumps of a function go that starts at `at`.
fn called(mut at: u64, mut code: &[u8]) -> Vec<u64> {
    let mut to = Vec::new();
    // What `auipc` left in which register.
    let mut upper: Option<(u32, u64)> = None;
    while code.len() >= 2 {
        let len = if code[0] & 3 == 3 { 4 } else { 2 };
        let Some(bytes) = code.get(..len) else { break };
        let mut word = [0; 4];
        word[..len].copy_from_slice(bytes);
        let word = u32::from_le_bytes(word);
        let before = upper.take();
        match word & 0x7f {
            0x6f if len == 4 => {
                let sign = (word as i32 >> 31) as i64;
                let offset = sign << 20
                    | i64::from(word >> 12 & 0xff) << 12
                    | i64::from(word >> 20 & 1) << 11
                    | i64::from(word >> 21 & 0x3ff) << 1;
                to.push(at.wrapping_add_signed(offset));
            }
            0x17 if len == 4 => {
                let offset = i64::from((word & 0xffff_f000) as i32);
                upper = Some((word >> 7 & 31, at.wrapping_add_signed(offset)));
            }
            0x67 if len == 4 => {
                if let Some((register, base)) = before
                    && register == word >> 15 & 31
                {
                    to.push(base.wrapping_add_signed(i64::from(word as i32 >> 20)));
                }
            }
            _ => {}
        }
        at += len as u64;
        code = &code[len..];
    }
    to
}

/// A section of the file.
struct Section {
    kind: u64,
    flags: u64,
    address: u64,
    offset: usize,
    len: usize,
    link: usize,
}

impl Section {
    fn bytes<'a>(&self, elf: &'a [u8]) -> Result<&'a [u8]> {
        let bytes = elf.get(self.offset..self.offset + self.len);
        bytes.context("a section lies outside the image")
    }
}

fn sections(elf: &[u8]) -> Result<impl Iterator<Item = Section>> {
    let (table, count) = (word(elf, 0x28, 8)? as usize, word(elf, 0x3c, 2)? as usize);
    let section = |i: usize| -> Result<Section> {
        let at = table + i * SECTION;
        Ok(Section {
            kind: word(elf, at + 4, 4)?,
            flags: word(elf, at + 8, 8)?,
            address: word(elf, at + 16, 8)?,
            offset: word(elf, at + 24, 8)? as usize,
            len: word(elf, at + 32, 8)? as usize,
            link: word(elf, at + 40, 4)? as usize,
        })
    };
    let all: Result<Vec<Section>> = (0..count).map(section).collect();
    Ok(all?.into_iter())
}

fn functions(elf: &[u8]) -> Result<Vec<Function>> {
    let sections: Vec<Section> = sections(elf)?.collect();
    let symbols = sections.iter().find(|s| s.kind == 2);
    let symbols = symbols.context("the image has no symbols")?;
    let names = sections
        .get(symbols.link)
        .context("symbols without names")?;
    let names = names.bytes(elf)?;
    let mut all = Vec::new();
    for symbol in symbols.bytes(elf)?.chunks_exact(SYMBOL) {
        let (from, len) = (word(symbol, 8, 8)?, word(symbol, 16, 8)?);
        if symbol[4] & 15 != 2 {
            continue;
        }
        let name = names
            .get(word(symbol, 0, 4)? as usize..)
            .unwrap_or_default();
        let name = name.split(|b| *b == 0).next().unwrap_or_default();
        all.push(Function {
            name: String::from_utf8_lossy(name).into_owned(),
            from,
            to: from + len,
        });
    }
    Ok(all)
}

/// A little-endian number of up to eight bytes.
pub(crate) fn word(bytes: &[u8], at: usize, len: usize) -> Result<u64> {
    let part = bytes.get(at..at + len).context("the image is cut short")?;
    let mut all = [0; 8];
    all[..len].copy_from_slice(part);
    Ok(u64::from_le_bytes(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_near_and_far_are_seen_behind_short_instructions() {
        let code: Vec<u8> = [
            &0x0001u16.to_le_bytes()[..],  // c.nop
            &0x0100_00efu32.to_le_bytes(), // jal ra, +16
            &0x0000_1097u32.to_le_bytes(), // auipc ra, 1
            &0xffc0_80e7u32.to_le_bytes(), // jalr ra, -4(ra)
            &0x0000_8067u32.to_le_bytes(), // ret: no call
            &0xff5f_f06fu32.to_le_bytes(), // j -12
        ]
        .concat();
        assert_eq!(called(0x1000, &code), [0x1012, 0x2002, 0x1006]);
    }
}
