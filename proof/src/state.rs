//! What a state root commits to: the tree of leaves, the insurance fund and the risk table.

use crate::field::{Fr, Word, address, from_word, power_of_two, signed, to_word};
use crate::poseidon::{Domain, hash4, long_hash};
use ark_ff::AdditiveGroup;
use firmware::limits::{
    ACCOUNTS, COLLAR_BITS, LOT_VALUE_MICRO_MAX, PRICE_BITS, TICK_VALUE_BITS, TIER_INSTRUMENTS,
    TREE_ARITY, TREE_DEPTH,
};
use firmware::units::{AccountId, Pico};
use matcher::batch::TierLeaf;
use matcher::table::{Column, RiskTable};
use std::collections::BTreeMap;

/// Field elements of a leaf.
pub(crate) const LEAF_ELEMENTS: usize = TIER_INSTRUMENTS + 7;
/// Bits of one scenario value in its packed form, `value + SCENARIO_OFFSET`.
pub(crate) const SCENARIO_BITS: u32 = 31;
/// Makes every scenario value from `1 - LOT_VALUE_MICRO_MAX` to `LOT_VALUE_MICRO_MAX` non-negative.
pub(crate) const SCENARIO_OFFSET: i64 = LOT_VALUE_MICRO_MAX - 1;
/// Scenario values in one field element.
pub(crate) const SCENARIOS_PER_ELEMENT: usize = 8;

const _: () = assert!(TREE_ARITY == 4, "the tree's node hash has four children");
const _: () = assert!(LOT_VALUE_MICRO_MAX + SCENARIO_OFFSET == (1 << SCENARIO_BITS) - 1);
const _: () = assert!(SCENARIO_BITS * SCENARIOS_PER_ELEMENT as u32 <= 253);
const _: () = assert!(SETTLED_AT < 253);

/// The siblings of one node, in the order of the children without it.
pub(crate) type Siblings = [Fr; TREE_ARITY - 1];
/// The siblings on the way from a leaf to the root, from the bottom.
pub(crate) type Path = [Siblings; TREE_DEPTH];

/// Bits of a column's last element below those of [`FUNDING_BITS`].
pub(crate) const COLLAR_ELEMENT_BITS: u32 =
    3 * SCENARIO_BITS + PRICE_BITS + COLLAR_BITS + TICK_VALUE_BITS;
/// Bits of a column's cumulative funding in its packed form, `funding + FUNDING_OFFSET`.
pub(crate) const FUNDING_BITS: u32 = 41;
/// Makes every funding from `-2^40` on non-negative.
pub(crate) const FUNDING_OFFSET: i64 = 1 << (FUNDING_BITS - 1);
/// Where the settled flag stands in a column's last element: above everything else.
pub(crate) const SETTLED_AT: u32 = COLLAR_ELEMENT_BITS + FUNDING_BITS;
/// The liquidation fee stands above the taker fee, in one element.
pub(crate) const LIQUIDATION_FEE_AT: u32 = 32;

/// A leaf as field elements: owner, nonce, cash, positions, key, mandate, notional used under it, flags.
pub(crate) fn leaf_elements(leaf: &TierLeaf) -> [Fr; LEAF_ELEMENTS] {
    let mut elements = [Fr::ZERO; LEAF_ELEMENTS];
    elements[0] = address(&leaf.owner);
    elements[1] = Fr::from(leaf.nonce);
    elements[2] = signed(leaf.cash_pico);
    for (element, lots) in elements[3..].iter_mut().zip(&leaf.positions) {
        *element = signed(i128::from(*lots));
    }
    let digest = |word: &[u8; 32]| from_word(word).expect("no digest is taken that is no element");
    elements[3 + TIER_INSTRUMENTS..].copy_from_slice(&[
        digest(&leaf.key),
        digest(&leaf.mandate),
        Fr::from(leaf.mandate_used),
        Fr::from(leaf.flags),
    ]);
    elements
}

pub(crate) fn leaf_hash(leaf: &TierLeaf) -> Fr {
    long_hash(Domain::Leaf, &leaf_elements(leaf))
}

/// The four children of a node, `node` put back between its siblings.
pub(crate) fn children(node: Fr, place: usize, siblings: &Siblings) -> [Fr; TREE_ARITY] {
    let mut others = siblings.iter();
    std::array::from_fn(|i| {
        if i == place {
            node
        } else {
            *others.next().expect("one sibling less than children")
        }
    })
}

/// The root that a leaf and its path lead to.
pub(crate) fn root_of(index: u32, leaf: Fr, path: &Path) -> Fr {
    let mut node = leaf;
    for (level, siblings) in path.iter().enumerate() {
        let place = index as usize >> (2 * level) & (TREE_ARITY - 1);
        node = hash4(&children(node, place, siblings));
    }
    node
}

/// One column as field elements:
///
/// ```text
/// 0     mark_micro, signed
/// 1..4  scenarios 0..7, 8..15, 16..23: value + 2^30 - 1 in 31 bits each, the first lowest
/// 4     scenarios 24..26 likewise (93 bits), collar_lo (24 bits), collar_width (20), tick_value (16),
///       funding + 2^40 (41), settled (1)
/// ```
///
/// The packing is one-to-one only for values within these widths: the circuit proves them.
pub(crate) fn column_elements(column: &Column) -> Vec<Fr> {
    let mut elements = vec![signed(i128::from(column.mark_micro))];
    for chunk in column.scenario_micro.chunks(SCENARIOS_PER_ELEMENT) {
        let shifted = |v: &i64| i128::from(*v) + i128::from(SCENARIO_OFFSET);
        let fields: Vec<(Fr, u32)> = chunk
            .iter()
            .map(|v| (signed(shifted(v)), SCENARIO_BITS))
            .collect();
        elements.push(pack(&fields));
    }
    let collar = pack(&[
        (signed(i128::from(column.collar_lo_ticks)), 24),
        (signed(i128::from(column.collar_width_ticks)), 20),
        (Fr::from(column.tick_value_micro), 16),
        (
            signed(i128::from(column.funding_micro) + i128::from(FUNDING_OFFSET)),
            FUNDING_BITS,
        ),
        (Fr::from(column.is_settled), 1),
    ]);
    if let Some(last) = elements.last_mut() {
        *last += collar * power_of_two(3 * SCENARIO_BITS);
    }
    elements
}

fn pack(fields: &[(Fr, u32)]) -> Fr {
    fields.iter().rev().fold(Fr::ZERO, |sum, (value, bits)| {
        sum * power_of_two(*bits) + value
    })
}

/// The table as field elements: the columns, taker and liquidation fee rates in one, maker fee rate, epoch, index.
pub(crate) fn table_elements(table: &RiskTable) -> Vec<Fr> {
    let mut elements: Vec<Fr> = table.columns.iter().flat_map(column_elements).collect();
    let liquidation = Fr::from(table.liquidation_fee_ppm) * power_of_two(LIQUIDATION_FEE_AT);
    elements.extend([
        signed(i128::from(table.taker_fee_ppm)) + liquidation,
        signed(i128::from(table.maker_fee_ppm)),
        Fr::from(table.epoch),
        signed(i128::from(table.index_micro)),
    ]);
    elements
}

pub(crate) fn table_digest(table: &RiskTable) -> Fr {
    long_hash(Domain::Table, &table_elements(table))
}

pub(crate) fn state_root(tree: Fr, fund_pico: Pico, table: Fr, batch_no: u64) -> Fr {
    hash4(&[tree, signed(fund_pico), table, Fr::from(batch_no)])
}

/// A tree of 65,536 leaves of which only those ever used are kept.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    /// Nodes by level, from the leaves, that differ from the empty ones.
    levels: Vec<BTreeMap<u32, Fr>>,
    /// The node of each level over empty leaves only.
    empty: Vec<Fr>,
}

impl Tree {
    pub(crate) fn new() -> Self {
        let mut empty = vec![leaf_hash(&TierLeaf::default())];
        for level in 0..TREE_DEPTH {
            empty.push(hash4(&[empty[level]; TREE_ARITY]));
        }
        Self {
            levels: vec![BTreeMap::new(); TREE_DEPTH + 1],
            empty,
        }
    }

    fn node(&self, level: usize, index: u32) -> Fr {
        self.levels[level]
            .get(&index)
            .copied()
            .unwrap_or(self.empty[level])
    }

    pub(crate) fn root(&self) -> Fr {
        self.node(TREE_DEPTH, 0)
    }

    pub(crate) fn path(&self, index: u32) -> Path {
        std::array::from_fn(|level| {
            let own = index >> (2 * level);
            let mut others = (own & !3..=own | 3).filter(|i| *i != own);
            std::array::from_fn(|_| {
                let other = others.next().expect("one sibling less than children");
                self.node(level, other)
            })
        })
    }

    pub(crate) fn set(&mut self, index: u32, leaf: Fr) {
        assert!((index as usize) < ACCOUNTS, "leaf {index} is off the tree");
        let mut node = leaf;
        let path = self.path(index);
        for (level, siblings) in path.iter().enumerate() {
            let own = index >> (2 * level);
            self.levels[level].insert(own, node);
            node = hash4(&children(node, own as usize & 3, siblings));
        }
        self.levels[TREE_DEPTH].insert(0, node);
    }
}

/// The prover's own copy of the state, at the end of its last batch.
#[derive(Clone, Debug)]
pub struct State {
    pub(crate) tree: Tree,
    pub(crate) leaves: BTreeMap<u32, TierLeaf>,
    pub(crate) fund_pico: Pico,
    /// The risk table of the last batch; none at genesis.
    pub(crate) table: Option<Box<RiskTable>>,
    pub(crate) table_digest: Fr,
    pub(crate) batch_no: u64,
    /// Deposits consumed so far: the next place in the L1 queue.
    pub(crate) deposits_seen: u64,
}

impl State {
    /// Before the first batch: no account, no fund, no risk table (its digest is zero).
    #[must_use]
    pub fn genesis() -> Self {
        Self {
            tree: Tree::new(),
            leaves: BTreeMap::new(),
            fund_pico: 0,
            table: None,
            table_digest: Fr::ZERO,
            batch_no: 0,
            deposits_seen: 0,
        }
    }

    /// The state root: what L1 stores.
    #[must_use]
    pub fn root(&self) -> Word {
        to_word(&self.root_element())
    }

    pub(crate) fn root_element(&self) -> Fr {
        state_root(
            self.tree.root(),
            self.fund_pico,
            self.table_digest,
            self.batch_no,
        )
    }

    /// Number of the last batch applied; 0 at genesis.
    #[must_use]
    pub fn batch_no(&self) -> u64 {
        self.batch_no
    }

    /// Insurance fund.
    #[must_use]
    pub fn fund_pico(&self) -> Pico {
        self.fund_pico
    }

    /// The leaf of an account; all zero if it was never used.
    #[must_use]
    pub fn leaf(&self, account: AccountId) -> TierLeaf {
        self.leaves.get(&account.0).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_from_each_leaf_to_the_root_and_from_no_other_leaf() {
        let mut tree = Tree::new();
        for (k, index) in [0u32, 1, 7, 4096, 65_535].into_iter().enumerate() {
            tree.set(index, Fr::from(k as u64 + 10));
        }
        tree.set(7, Fr::from(99u64));
        for (index, leaf) in [(0, 10u64), (1, 11), (7, 99), (4096, 13), (65_535, 14)] {
            let path = tree.path(index);
            assert_eq!(root_of(index, Fr::from(leaf), &path), tree.root());
            assert_ne!(root_of(index ^ 1, Fr::from(leaf), &path), tree.root());
            assert_ne!(root_of(index, Fr::from(leaf + 1), &path), tree.root());
        }
        let empty = leaf_hash(&TierLeaf::default());
        assert_eq!(root_of(500, empty, &tree.path(500)), tree.root());
    }

    #[test]
    fn the_order_of_updates_does_not_matter() {
        let (mut a, mut b) = (Tree::new(), Tree::new());
        for index in [3u32, 900, 17] {
            a.set(index, Fr::from(index));
        }
        for index in [17u32, 3, 900] {
            b.set(index, Fr::from(index));
        }
        assert_eq!(a.root(), b.root());
    }
}
