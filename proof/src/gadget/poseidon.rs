//! Poseidon in the circuit: three constraints an S-box, everything between is linear.

use super::system::{Lc, System};
use crate::field::Fr;
use crate::poseidon::{BLOCK, Domain, Form, Permutation, tag};
use ark_ff::AdditiveGroup;

/// `x^5`; of a constant, free.
fn s_box(cs: &mut System, x: Lc) -> Lc {
    if x.is_constant() {
        let v = x.value();
        return Lc::constant(v * v * v * v * v);
    }
    let x2 = cs.product(&x, &x);
    let x4 = cs.product(&x2, &x2);
    cs.product(&x4, &x)
}

fn full_round(cs: &mut System, constants: &[Fr], state: Vec<Lc>) -> Vec<Lc> {
    let lanes = state.into_iter().zip(constants);
    lanes.map(|(x, c)| s_box(cs, x + *c)).collect()
}

fn mixed(mix: &[Vec<Fr>], state: &[Lc]) -> Vec<Lc> {
    let lane = |row: &Vec<Fr>| Lc::dot(row, state, Fr::ZERO);
    mix.iter().map(lane).collect()
}

fn apply(form: &Form, lanes: &[Lc], partials: &[Lc]) -> Lc {
    let mut sum = Lc::dot(&form.lanes, lanes, form.constant);
    for (scale, partial) in form.partials.iter().zip(partials) {
        sum.add_scaled(*scale, partial);
    }
    sum
}

/// The permutation; see [`Permutation`] for its shape.
fn permute(cs: &mut System, p: &Permutation, mut state: Vec<Lc>) -> Vec<Lc> {
    let half = p.full.len() / 2;
    for (round, constants) in p.full[..half].iter().enumerate() {
        if round > 0 {
            state = mixed(&p.mix, &state);
        }
        state = full_round(cs, constants, state);
    }
    let mut partials: Vec<Lc> = Vec::with_capacity(p.partial.len());
    for form in &p.partial {
        let input = apply(form, &state, &partials);
        partials.push(s_box(cs, input));
    }
    let exit = |form: &Form| apply(form, &state, &partials);
    state = p.exit.iter().map(exit).collect();
    for constants in &p.full[half..] {
        state = full_round(cs, constants, state);
        state = mixed(&p.mix, &state);
    }
    state
}

/// A node of the tree, or the state root.
pub(crate) fn hash4(cs: &mut System, inputs: [&Lc; 4]) -> Lc {
    let mut state = vec![Lc::zero()];
    state.extend(inputs.into_iter().cloned());
    permute(cs, Permutation::five(), state).swap_remove(0)
}

/// The last state of the long hash.
pub(crate) fn long_state(cs: &mut System, domain: Domain, inputs: &[Lc]) -> Vec<Lc> {
    let mut state = vec![Lc::constant(tag(domain, inputs.len()))];
    for block in inputs.chunks(BLOCK) {
        state.truncate(1);
        state.extend_from_slice(block);
        state.resize(BLOCK + 1, Lc::zero());
        state = permute(cs, Permutation::seventeen(), state);
    }
    state
}

/// The long hash.
pub(crate) fn long_hash(cs: &mut System, domain: Domain, inputs: &[Lc]) -> Lc {
    long_state(cs, domain, inputs).swap_remove(0)
}
