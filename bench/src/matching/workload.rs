//! The workload file, checked once: after that every command of it can be played.
//!
//! The file proves its own result: its header holds the number of fills, their volume and a checksum
//! over maker, taker, price and quantity of every fill in order, and the stream ends by emptying the
//! book, so the checksum covers what was left on it too. All integers are little-endian:
//!
//! ```text
//! header  magic "OBWKLD01" | version u32 = 1 | record size u32 = 16
//!         commands: warm-up u64, timed u64, drain u64 | seed u64
//!         price: lowest i32, highest i32 | highest id u32 | most live orders u32
//!         fills u64 | volume u64 | checksum u64 | checksum without prices u64 | name, 32 bytes
//! record  op u8 (0 limit, 1 cancel, 2 replace, 3 immediate-or-cancel) | side u8 (0 buy, 1 sell)
//!         zero u16 | id u32, from 1 | price i32 | quantity u32
//! ```
//!
//! A replace is a cancel and a new order under the same id: it loses its place in the queue.

use anyhow::{Context, Result, bail, ensure};
use firmware::limits::ORDER_LOTS_MAX;
use firmware::units::Side;
use serde::Serialize;

const MAGIC: &[u8; 8] = b"OBWKLD01";
const HEADER_BYTES: usize = 128;
const RECORD_BYTES: usize = 16;
const NAME_AT: usize = 96;

/// What a command asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Op {
    /// Limit order, good till cancelled.
    Limit,
    /// Cancel by id.
    Cancel,
    /// Same id, new price and quantity, priority lost.
    Replace,
    /// Limit order whose remainder is dropped.
    Ioc,
}

/// One command: 16 bytes in memory as in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Command {
    pub(super) op: Op,
    pub(super) side: Side,
    pub(super) id: u32,
    pub(super) price: i32,
    pub(super) lots: u32,
}

const _: () = assert!(size_of::<Command>() == RECORD_BYTES);

/// What a whole run adds up to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub(super) struct Totals {
    pub(super) fills: u64,
    pub(super) volume: u64,
    /// Over maker, taker, price and quantity of each fill, in order.
    pub(super) checksum: u64,
}

impl Totals {
    /// Adds a fill at the maker's price.
    #[inline]
    pub(super) fn add(&mut self, maker: u32, taker: u32, price: i32, lots: u32) {
        self.fills += 1;
        self.volume += u64::from(lots);
        let names = u64::from(maker) | u64::from(taker) << 32;
        let trade = u64::from(lots) | u64::from(price as u32) << 32;
        self.checksum =
            (self.checksum.rotate_left(7) ^ names).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ trade;
    }
}

/// A checked workload: all prices inside its range, all ids and quantities inside their bounds.
#[derive(Clone, Debug)]
pub(super) struct Workload {
    pub(super) name: String,
    /// Of the generator.
    pub(super) seed: u64,
    pub(super) price_min: i32,
    pub(super) price_max: i32,
    pub(super) id_max: u32,
    /// Most orders that rest at a time.
    pub(super) live_max: u32,
    /// Commands to play before the timed ones.
    pub(super) warmup: usize,
    /// Commands to play after them, which empty the book.
    pub(super) drain: usize,
    pub(super) totals: Totals,
    /// The checksum with all prices zero.
    pub(super) priceless: u64,
    pub(super) commands: Vec<Command>,
}

impl Workload {
    /// Reads and checks a file.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        ensure!(
            bytes.len() >= HEADER_BYTES,
            "{} bytes are no header",
            bytes.len()
        );
        let (header, records) = bytes.split_at(HEADER_BYTES);
        ensure!(
            header.starts_with(MAGIC),
            "the magic is not {}",
            MAGIC.escape_ascii()
        );
        let (version, record_bytes) = (u32_at(header, 8), u32_at(header, 12));
        ensure!(
            (version, record_bytes) == (1, RECORD_BYTES as u32),
            "version {version}, records of {record_bytes}"
        );
        let parts = [16, 24, 32].map(|at| u64_at(header, at));
        let count = parts
            .iter()
            .try_fold(0u64, |sum, &part| sum.checked_add(part))
            .context("too many commands")?;
        ensure!(
            count.checked_mul(RECORD_BYTES as u64) == Some(records.len() as u64),
            "the header says {count} commands, the file has {} bytes of them",
            records.len()
        );
        let name = &header[NAME_AT..];
        let name = name.split(|&b| b == 0).next().unwrap_or_default();
        let mut workload = Self {
            name: String::from_utf8_lossy(name).into_owned(),
            seed: u64_at(header, 40),
            price_min: u32_at(header, 48) as i32,
            price_max: u32_at(header, 52) as i32,
            id_max: u32_at(header, 56),
            live_max: u32_at(header, 60),
            warmup: parts[0] as usize,
            drain: parts[2] as usize,
            totals: Totals {
                fills: u64_at(header, 64),
                volume: u64_at(header, 72),
                checksum: u64_at(header, 80),
            },
            priceless: u64_at(header, 88),
            commands: Vec::new(),
        };
        ensure!(
            0 < workload.price_min && workload.price_min <= workload.price_max,
            "the range of prices is empty"
        );
        let commands = records.chunks_exact(RECORD_BYTES).enumerate();
        workload.commands = commands
            .map(|(i, record)| {
                workload
                    .command(record)
                    .with_context(|| format!("command {i}"))
            })
            .collect::<Result<_>>()?;
        Ok(workload)
    }

    /// The file.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.commands.len() * RECORD_BYTES);
        let words = |bytes: &mut Vec<u8>, values: &[u64]| {
            values.iter().for_each(|v| bytes.extend(v.to_le_bytes()));
        };
        let halves = |bytes: &mut Vec<u8>, values: &[u32]| {
            values.iter().for_each(|v| bytes.extend(v.to_le_bytes()));
        };
        bytes.extend(MAGIC);
        halves(&mut bytes, &[1, RECORD_BYTES as u32]);
        let parts = [self.warmup(), self.timed(), self.drain()].map(|part| part.len() as u64);
        words(&mut bytes, &parts);
        words(&mut bytes, &[self.seed]);
        let prices = [self.price_min, self.price_max].map(|p| p as u32);
        halves(&mut bytes, &prices);
        halves(&mut bytes, &[self.id_max, self.live_max]);
        let t = self.totals;
        words(&mut bytes, &[t.fills, t.volume, t.checksum, self.priceless]);
        let name = &self.name.as_bytes()[..self.name.len().min(HEADER_BYTES - NAME_AT)];
        bytes.extend(name);
        bytes.resize(HEADER_BYTES, 0);
        for c in &self.commands {
            bytes.extend([c.op as u8, c.side as u8, 0, 0]);
            halves(&mut bytes, &[c.id, c.price as u32, c.lots]);
        }
        bytes
    }

    fn command(&self, record: &[u8]) -> Result<Command> {
        let op = match record[0] {
            0 => Op::Limit,
            1 => Op::Cancel,
            2 => Op::Replace,
            3 => Op::Ioc,
            other => bail!("op {other}"),
        };
        let side = Side::from_wire(record[1]).with_context(|| format!("side {}", record[1]))?;
        let (id, price, lots) = (
            u32_at(record, 4),
            u32_at(record, 8) as i32,
            u32_at(record, 12),
        );
        ensure!((1..=self.id_max).contains(&id), "id {id}");
        let rests = matches!(op, Op::Limit | Op::Replace);
        ensure!(
            !rests || (self.price_min..=self.price_max).contains(&price),
            "price {price}"
        );
        ensure!(
            !rests || (1..=ORDER_LOTS_MAX).contains(&i64::from(lots)),
            "quantity {lots}"
        );
        Ok(Command {
            op,
            side,
            id,
            price,
            lots,
        })
    }

    /// Number of prices from the lowest to the highest.
    pub(super) fn width_ticks(&self) -> u32 {
        self.price_max.abs_diff(self.price_min) + 1
    }

    pub(super) fn warmup(&self) -> &[Command] {
        &self.commands[..self.warmup]
    }
    pub(super) fn timed(&self) -> &[Command] {
        &self.commands[self.warmup..self.commands.len() - self.drain]
    }
    pub(super) fn drain(&self) -> &[Command] {
        &self.commands[self.commands.len() - self.drain..]
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A buy of 5 at 10 by id 1, and the sale that empties the book.
    fn file() -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1u32, 16].into_iter().flat_map(u32::to_le_bytes));
        bytes.extend([0u64, 1, 1, 7].into_iter().flat_map(u64::to_le_bytes));
        bytes.extend([10u32, 12, 2, 1].into_iter().flat_map(u32::to_le_bytes));
        bytes.extend([1u64, 5, 0xAB, 0xCD].into_iter().flat_map(u64::to_le_bytes));
        bytes.extend(b"two");
        bytes.resize(HEADER_BYTES, 0);
        bytes.extend(
            [0, 0, 0, 0]
                .into_iter()
                .chain([1u32, 10, 5].into_iter().flat_map(u32::to_le_bytes)),
        );
        bytes.extend(
            [3, 1, 0, 0]
                .into_iter()
                .chain([2u32, 10, 9].into_iter().flat_map(u32::to_le_bytes)),
        );
        bytes
    }

    #[test]
    fn a_file_is_read_field_by_field() {
        let workload = Workload::parse(&file()).unwrap();
        let buy = Command {
            op: Op::Limit,
            side: Side::Buy,
            id: 1,
            price: 10,
            lots: 5,
        };
        let sale = Command {
            op: Op::Ioc,
            side: Side::Sell,
            id: 2,
            price: 10,
            lots: 9,
        };
        assert_eq!(
            (workload.warmup(), workload.timed(), workload.drain()),
            (&[][..], &[buy][..], &[sale][..])
        );
        assert_eq!((workload.name.as_str(), workload.width_ticks()), ("two", 3));
        assert_eq!(workload.encode(), file());
        assert_eq!(
            workload.totals,
            Totals {
                fills: 1,
                volume: 5,
                checksum: 0xAB
            }
        );
    }

    #[test]
    fn a_broken_file_is_refused_with_the_place() {
        let broken = |at: usize, byte: u8| {
            let mut bytes = file();
            bytes[at] = byte;
            format!("{:#}", Workload::parse(&bytes).unwrap_err())
        };
        assert!(broken(0, b'X').contains("magic"));
        assert!(broken(8, 2).contains("version 2"));
        assert!(broken(16, 9).contains("the header says"));
        assert!(broken(23, 255).contains("the header says"));
        assert!(broken(48, 13).contains("range of prices"));
        assert!(broken(128, 4).contains("command 0: op 4"));
        assert!(broken(145, 2).contains("command 1: side 2"));
        assert!(broken(132, 3).contains("command 0: id 3"));
        assert!(broken(136, 9).contains("command 0: price 9"));
        assert!(broken(140, 0).contains("command 0: quantity 0"));
        assert!(Workload::parse(&file()[..159]).is_err());
        assert!(Workload::parse(&file()[..100]).is_err());
    }
}
