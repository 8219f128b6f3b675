//! A state as the circuit hashes it, built with the plain Poseidon of these tests.

use std::collections::BTreeMap;

use alloy::primitives::{Address, U256};
use l1::{LeafProof, R, StateParts};

use crate::poseidon::{hash4, long_hash};

/// One instrument of a risk table.
#[derive(Clone, Copy)]
pub(crate) struct Column {
    pub(crate) mark: i128,
    /// How far the worst scenario of a long lies below the mark, and that of a short above it.
    pub(crate) spread: i64,
    pub(crate) funding: i64,
}

#[derive(Clone, Default)]
pub(crate) struct Book {
    pub(crate) leaves: BTreeMap<u32, [U256; 23]>,
    pub(crate) fund_pico: i128,
    pub(crate) table: Vec<U256>,
}

pub(crate) fn signed(value: i128) -> U256 {
    let size = U256::from(value.unsigned_abs());
    if value < 0 { R - size } else { size }
}

impl Book {
    pub(crate) fn set(&mut self, account: u32, owner: Address, cash_pico: i128, lots: &[i128]) {
        let mut leaf = [U256::ZERO; 23];
        leaf[0] = U256::from_be_slice(owner.as_slice());
        leaf[1] = U256::from(7);
        leaf[2] = signed(cash_pico);
        for (element, lots) in leaf[3..].iter_mut().zip(lots) {
            *element = signed(*lots);
        }
        leaf[19] = U256::from(0xBABE);
        self.leaves.insert(account, leaf);
    }

    pub(crate) fn list(&mut self, columns: &[Column]) {
        let mut table = Vec::new();
        for i in 0..16 {
            let none = Column {
                mark: 0,
                spread: 0,
                funding: 0,
            };
            let c = columns.get(i).unwrap_or(&none);
            let mark = i64::try_from(c.mark).unwrap_or_default();
            let scenario: Vec<i64> = (0..27)
                .map(|s| mark + c.spread * (i64::from(s) - 13) / 13)
                .collect();
            let pack = |values: &[i64]| {
                let offset = (1 << 30) - 1;
                values.iter().rev().fold(U256::ZERO, |sum, v| {
                    sum << 31 | U256::from((v + offset) as u64)
                })
            };
            table.push(signed(c.mark));
            for part in scenario[..24].chunks(8) {
                table.push(pack(part));
            }
            let collar = U256::from(0x0FED_CBA9_8765_4321_u64) << 93;
            let funding = U256::from((c.funding + (1 << 40)) as u64) << 153;
            table.push(pack(&scenario[24..]) | collar | funding);
        }
        table.extend([500, 100, 3, 42].map(U256::from));
        self.table = table;
    }

    fn nodes(&self) -> Vec<BTreeMap<u32, U256>> {
        let mut empty = long_hash(1, &[U256::ZERO; 23]);
        let leaf = |(i, leaf): (&u32, &[U256; 23])| (*i, long_hash(1, leaf));
        let mut level: BTreeMap<u32, U256> = self.leaves.iter().map(leaf).collect();
        let mut levels = Vec::new();
        for _ in 0..8 {
            let parents: Vec<u32> = level.keys().map(|i| i / 4).collect();
            for parent in &parents {
                for child in 0..4 {
                    level.entry(4 * parent + child).or_insert(empty);
                }
            }
            let up = |p: &u32| (*p, hash4([0, 1, 2, 3].map(|c| level[&(4 * p + c)])));
            let next = parents.iter().map(up).collect();
            // Siblings of nodes that hold nothing are never asked for.
            level.insert(u32::MAX, empty);
            levels.push(std::mem::replace(&mut level, next));
            empty = hash4([empty; 4]);
        }
        level.insert(u32::MAX, empty);
        levels.push(level);
        levels
    }

    pub(crate) fn parts(&self) -> StateParts {
        let nodes = self.nodes();
        let top = &nodes[8];
        StateParts {
            tree: top.get(&0).copied().unwrap_or(top[&u32::MAX]),
            fund: signed(self.fund_pico),
            table_digest: if self.table.is_empty() {
                U256::ZERO
            } else {
                long_hash(2, &self.table)
            },
        }
    }

    pub(crate) fn root(&self, batch_no: u64) -> U256 {
        let p = self.parts();
        hash4([p.tree, p.fund, p.table_digest, U256::from(batch_no)])
    }

    pub(crate) fn proof(&self, account: u32) -> LeafProof {
        let nodes = self.nodes();
        let mut siblings = [U256::ZERO; 24];
        for (level, out) in siblings.chunks_mut(3).enumerate() {
            let own = account >> (2 * level);
            let others = (own & !3..=own | 3).filter(|i| *i != own);
            let node = |i: u32| nodes[level].get(&i).unwrap_or(&nodes[level][&u32::MAX]);
            for (sibling, i) in out.iter_mut().zip(others) {
                *sibling = *node(i);
            }
        }
        LeafProof {
            leaf: self.leaves.get(&account).copied().unwrap_or_default(),
            siblings,
        }
    }
}
