//! A rank-1 constraint system under construction, and linear combinations over its wires.
//!
//! One and the same circuit code runs in two modes. With the shape, every linear combination carries
//! its terms, and each constraint is kept as three rows. Without it the terms stay empty and only
//! values are worked out, which is all that a proof needs once the shape is known.
//!
//! No decision of the circuit code may depend on a value: constants are told from wires by
//! [`Lc::is_constant`], which is the same in both modes.

use crate::field::{Fr, power_of_two};
use crate::native::Group;
use ark_ff::{AdditiveGroup, Field, PrimeField};
use std::ops::{Add, Mul, Sub};

/// A row of a constraint matrix: coefficient and column. Column 0 is the constant one.
pub(crate) type Row = Vec<(Fr, usize)>;

/// A linear combination of wires, and its value.
#[derive(Clone, Debug)]
pub(crate) struct Lc {
    terms: Row,
    value: Fr,
    constant: bool,
}

impl Lc {
    pub(crate) fn constant(value: Fr) -> Self {
        Self {
            terms: vec![(value, 0)],
            value,
            constant: true,
        }
    }

    pub(crate) fn zero() -> Self {
        Self {
            terms: Row::new(),
            value: Fr::ZERO,
            constant: true,
        }
    }

    pub(crate) fn value(&self) -> Fr {
        self.value
    }

    pub(crate) fn is_constant(&self) -> bool {
        self.constant
    }

    /// `self += scale * other`.
    pub(crate) fn add_scaled(&mut self, scale: Fr, other: &Self) {
        self.terms
            .extend(other.terms.iter().map(|(c, column)| (*c * scale, *column)));
        self.value += other.value * scale;
        self.constant &= other.constant;
    }

    pub(crate) fn sum<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut sum = Self::zero();
        for part in parts {
            sum = sum + part;
        }
        sum
    }

    /// `sum coefficients[i] * parts[i] + constant`.
    pub(crate) fn dot(coefficients: &[Fr], parts: &[Self], constant: Fr) -> Self {
        let mut sum = Self::zero();
        for (scale, part) in coefficients.iter().zip(parts) {
            sum.add_scaled(*scale, part);
        }
        sum + constant
    }

    /// Bits, lowest first, as an integer.
    pub(crate) fn from_bits(bits: &[Self]) -> Self {
        let mut sum = Self::zero();
        let mut weight = Fr::ONE;
        for bit in bits {
            sum.add_scaled(weight, bit);
            weight.double_in_place();
        }
        sum
    }

    /// Fields of the given widths as one integer, the first lowest. One-to-one only if each value is
    /// known to be within its width.
    pub(crate) fn pack(fields: &[(&Self, u32)]) -> Self {
        let mut sum = Self::zero();
        let mut place = 0;
        for (value, bits) in fields {
            sum.add_scaled(power_of_two(place), value);
            place += bits;
        }
        assert!(place <= 253, "a pack of {place} bits wraps");
        sum
    }
}

impl Add<&Lc> for Lc {
    type Output = Lc;
    fn add(mut self, other: &Lc) -> Lc {
        self.terms.extend_from_slice(&other.terms);
        self.value += other.value;
        self.constant &= other.constant;
        self
    }
}

impl Add<Fr> for Lc {
    type Output = Lc;
    fn add(mut self, constant: Fr) -> Lc {
        self.terms.push((constant, 0));
        self.value += constant;
        self
    }
}

impl Sub<&Lc> for Lc {
    type Output = Lc;
    fn sub(mut self, other: &Lc) -> Lc {
        self.add_scaled(-Fr::ONE, other);
        self
    }
}

impl Mul<Fr> for &Lc {
    type Output = Lc;
    fn mul(self, scale: Fr) -> Lc {
        let mut product = Lc::zero();
        product.add_scaled(scale, self);
        product
    }
}

/// `1 - x`.
pub(crate) fn not(x: &Lc) -> Lc {
    Lc::constant(Fr::ONE) - x
}

/// The three matrices, and the group that each row belongs to.
#[derive(Default)]
pub(crate) struct Shape {
    /// A, B and C: a row holds where A times B is C.
    pub(crate) matrices: [Vec<Row>; 3],
    /// Group of each row.
    pub(crate) groups: Vec<Group>,
    /// Columns of the constant and the public inputs.
    pub(crate) publics: usize,
    /// All columns.
    pub(crate) columns: usize,
}

/// Sorted by column, equal columns added up.
fn compact(mut row: Row) -> Row {
    row.sort_unstable_by_key(|(_, column)| *column);
    row.dedup_by(|next, kept| {
        let same = next.1 == kept.1;
        if same {
            kept.0 += next.0;
        }
        same
    });
    row.retain(|(coefficient, _)| *coefficient != Fr::ZERO);
    row
}

/// The value of a row.
pub(crate) fn row_value(row: &Row, assignment: &[Fr]) -> Fr {
    row.iter()
        .map(|(coefficient, column)| assignment[*column] * coefficient)
        .sum()
}

impl Shape {
    pub(crate) fn constraints(&self) -> usize {
        self.groups.len()
    }

    /// Whether one row holds.
    pub(crate) fn holds(&self, row: usize, assignment: &[Fr]) -> bool {
        let [a, b, c] = &self.matrices;
        let value = |matrix: &[Row]| row_value(&matrix[row], assignment);
        value(a) * value(b) == value(c)
    }

    /// The first row that an assignment breaks.
    pub(crate) fn first_broken(&self, assignment: &[Fr]) -> Option<usize> {
        (0..self.constraints()).find(|row| !self.holds(*row, assignment))
    }
}

/// The system under construction.
pub(crate) struct System {
    /// Column 0, the public inputs, then all other wires.
    pub(crate) values: Vec<Fr>,
    shape: Option<Shape>,
    group: Group,
}

impl System {
    /// Values only.
    pub(crate) fn new() -> Self {
        Self {
            values: vec![Fr::ONE],
            shape: None,
            group: Group::S8,
        }
    }

    /// Values and rows.
    pub(crate) fn with_shape() -> Self {
        Self {
            shape: Some(Shape::default()),
            ..Self::new()
        }
    }

    pub(crate) fn into_parts(self) -> (Vec<Fr>, Option<Shape>) {
        let columns = self.values.len();
        let shape = self.shape.map(|shape| Shape { columns, ..shape });
        (self.values, shape)
    }

    /// The constraints that follow belong to this group.
    pub(crate) fn enter(&mut self, group: Group) {
        self.group = group;
    }

    /// A public input; all come before the first other wire.
    pub(crate) fn public(&mut self, value: Fr) -> Lc {
        let wire = self.wire(value);
        if let Some(shape) = &mut self.shape {
            shape.publics = self.values.len();
        }
        wire
    }

    /// A wire that the prover chooses.
    pub(crate) fn wire(&mut self, value: Fr) -> Lc {
        let mut terms = Row::new();
        if self.shape.is_some() {
            terms.push((Fr::ONE, self.values.len()));
        }
        self.values.push(value);
        Lc {
            terms,
            value,
            constant: false,
        }
    }

    /// `a * b = c`.
    pub(crate) fn enforce(&mut self, a: &Lc, b: &Lc, c: &Lc) {
        if let Some(shape) = &mut self.shape {
            for (matrix, lc) in shape.matrices.iter_mut().zip([a, b, c]) {
                matrix.push(compact(lc.terms.clone()));
            }
            shape.groups.push(self.group);
        }
    }

    pub(crate) fn enforce_equal(&mut self, a: &Lc, b: &Lc) {
        let difference = a.clone() - b;
        self.enforce(&difference, &Lc::constant(Fr::ONE), &Lc::zero());
    }

    pub(crate) fn enforce_zero(&mut self, a: &Lc) {
        self.enforce(a, &Lc::constant(Fr::ONE), &Lc::zero());
    }

    /// `a * b` on a wire of its own.
    pub(crate) fn product(&mut self, a: &Lc, b: &Lc) -> Lc {
        let product = self.wire(a.value * b.value);
        self.enforce(a, b, &product);
        product
    }

    /// `a` on a wire of its own, where a long combination is used often.
    pub(crate) fn settle(&mut self, a: &Lc) -> Lc {
        let wire = self.wire(a.value);
        self.enforce_equal(a, &wire);
        wire
    }

    /// `a / b` on a wire of its own; `b` is a difference from a challenge, zero with no real chance.
    pub(crate) fn quotient(&mut self, a: &Lc, b: &Lc) -> Lc {
        let inverse = b.value.inverse().unwrap_or(Fr::ZERO);
        let quotient = self.wire(a.value * inverse);
        self.enforce(&quotient, b, a);
        quotient
    }

    /// A wire that is 0 or 1.
    pub(crate) fn flag(&mut self, value: bool) -> Lc {
        let flag = self.wire(Fr::from(value));
        self.enforce(&flag, &flag, &flag);
        flag
    }

    /// The low `bits` of an integer, as flags.
    pub(crate) fn bits(&mut self, value: Fr, bits: u32) -> Vec<Lc> {
        let limbs = value.into_bigint().0;
        (0..bits as usize)
            .map(|i| self.flag(limbs[i / 64] >> (i % 64) & 1 == 1))
            .collect()
    }

    /// `0 <= a < 2^bits`.
    pub(crate) fn range(&mut self, a: &Lc, bits: u32) {
        let flags = self.bits(a.value, bits);
        self.enforce_equal(&Lc::from_bits(&flags), a);
    }

    /// A wire that is 1 where `a` is not zero, and else 0. The helper wire has one value only.
    pub(crate) fn nonzero(&mut self, a: &Lc) -> Lc {
        let inverse = self.wire(a.value.inverse().unwrap_or(Fr::ZERO));
        let flag = self.product(a, &inverse);
        let zero = not(&flag);
        self.enforce(a, &zero, &Lc::zero());
        self.enforce(&inverse, &zero, &Lc::zero());
        flag
    }
}
