//! The two kinds of files, as messages of the interface.

use anyhow::{Context, Result, bail, ensure};
use referee::abi::{Cancel, Message, Modify, NewOrder, Report, ReportKind};

/// Of `bench match`; its header is described there.
const OURS: &[u8] = b"OBWKLD01";
/// Of the referee's generator: a header of magic u64, version u32, count u32, then records of 40 bytes.
const THEIRS: u64 = 0x4D45_4257_5F30_3031;

pub(crate) struct Workload {
    pub(crate) messages: Vec<Message>,
    totals: Option<Totals>,
    /// Whether ids are other than in the file.
    scattered: bool,
}

/// What the fills of a workload of ours add up to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Totals {
    fills: u64,
    volume: u64,
    checksum: u64,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Another name for each id: a product with an odd number is one to one.
fn scattered(id: u64) -> u64 {
    id.wrapping_mul(0xD134_2543_DE82_EF95).rotate_left(32)
}

impl Workload {
    pub(crate) fn parse(bytes: &[u8], scatter: bool) -> Result<Self> {
        let name = |id: u64| if scatter { scattered(id) } else { id };
        let (messages, totals) = if bytes.starts_with(OURS) {
            let records = bytes.get(128..).context("no whole header")?;
            let totals = Totals {
                fills: u64_at(bytes, 64),
                volume: u64_at(bytes, 72),
                checksum: u64_at(bytes, 80),
            };
            let messages = records
                .chunks_exact(16)
                .zip(0..)
                .map(|(r, s)| ours(r, s, name));
            (messages.collect::<Result<_>>()?, Some(totals))
        } else {
            let known = bytes.len() >= 16 && u64_at(bytes, 0) == THEIRS && u32_at(bytes, 8) == 1;
            ensure!(known, "the header is neither ours nor the referee's");
            let records = bytes[16..].chunks_exact(40);
            ensure!(
                records.len() == u32_at(bytes, 12) as usize,
                "records are missing"
            );
            (
                records.map(|r| theirs(r, name)).collect::<Result<_>>()?,
                None,
            )
        };
        Ok(Self {
            messages,
            totals,
            scattered: scatter,
        })
    }

    /// Compares the fills with what the file says of them.
    pub(crate) fn check(&self, reports: &[Report]) -> Result<()> {
        let Some(mut expected) = self.totals else {
            return Ok(());
        };
        let mut got = Totals::default();
        for r in reports.iter().filter(|r| r.kind == ReportKind::Trade as u8) {
            got.fills += 1;
            got.volume += u64::from(r.quantity);
            let trade = u64::from(r.quantity) | u64::from(r.price as u32) << 32;
            let names = r.maker | r.taker << 32;
            got.checksum =
                (got.checksum.rotate_left(7) ^ names).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ trade;
        }
        if self.scattered {
            // The checksum is over the file's names.
            expected.checksum = got.checksum;
        }
        ensure!(
            got == expected,
            "the file says {expected:x?}, the run gave {got:x?}"
        );
        Ok(())
    }
}

fn ours(record: &[u8], sequence: u64, name: impl Fn(u64) -> u64) -> Result<Message> {
    let (op, side) = (record[0], record[1]);
    let id = name(u64::from(u32_at(record, 4)));
    let (price, quantity) = (i64::from(u32_at(record, 8) as i32), u32_at(record, 12));
    message(op, side, u8::from(op == 3), id, sequence, price, quantity)
}

fn theirs(record: &[u8], name: impl Fn(u64) -> u64) -> Result<Message> {
    let (sequence, id) = (u64_at(record, 8), name(u64_at(record, 16)));
    let (price, quantity) = (u64_at(record, 24) as i64, u32_at(record, 4));
    ensure!(record[0] < 3, "type {}", record[0]);
    message(
        record[0], record[1], record[2], id, sequence, price, quantity,
    )
}

fn message(
    op: u8,
    side: u8,
    ioc: u8,
    id: u64,
    sequence: u64,
    price: i64,
    quantity: u32,
) -> Result<Message> {
    Ok(match op {
        0 | 3 => Message::new_order(NewOrder {
            id,
            sequence,
            price,
            quantity,
            side,
            ioc,
            pad: [0; 2],
        }),
        1 => Message::cancel(Cancel { id, sequence }),
        2 => Message::modify(Modify {
            id,
            sequence,
            price,
            quantity,
            side,
            pad: [0; 3],
        }),
        other => bail!("op {other}"),
    })
}
