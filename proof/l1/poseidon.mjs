// Poseidon over the scalar field of BN254 with circomlib's parameters (x^5, 8 full rounds, round constants and
// matrix from the Grain register), brought into the shape that is cheap on chain. Source: Grassi et al., "Poseidon"
// (USENIX Security 2021), appendix E for the register.
//
// A partial round raises lane 0 alone. In the coordinates y_i = e0 * M^i * s (M the mixing matrix, s the lanes) the
// mixing of a partial round is a shift: y_0 is lane 0, y_i moves to y_(i-1), and the new last one is a fixed form c
// in the old ones (M satisfies its characteristic polynomial). Adding d to lane 0 adds d * h_i, h_i = e0 * M^i * e0.
// So a partial round of width t costs 2 t products instead of t^2, and its constants are the same in every round.
// The constants of all lanes but 0 are carried along to the end of the partial rounds.

export const R = 21888242871839275222246405745257275088548364400416034343698204186575808495617n;
export const FULL = 8;
const PARTIAL = { 5: 60, 17: 68 };

const mod = (x) => ((x % R) + R) % R;
function inverse(a) {
  let [r, s, x, y] = [R, mod(a), 0n, 1n];
  while (s !== 0n) {
    const q = r / s;
    [r, s, x, y] = [s, r - q * s, y, x - q * y];
  }
  return mod(x);
}
const dot = (a, b) => mod(a.reduce((sum, x, i) => sum + x * b[i], 0n));
const column = (m, j) => m.map((row) => row[j]);
const times = (a, b) => a.map((row) => b[0].map((_, j) => dot(row, column(b, j))));
const apply = (m, v) => m.map((row) => dot(row, v));

/** Gauss and Jordan; throws if there is no inverse. */
function inverted(m) {
  const n = m.length;
  const a = m.map((row, i) => [...row, ...row.map((_, j) => (i === j ? 1n : 0n))]);
  for (let c = 0; c < n; c++) {
    const p = a.findIndex((row, i) => i >= c && row[c] !== 0n);
    if (p < 0) throw new Error("the matrix has no inverse");
    [a[c], a[p]] = [a[p], a[c]];
    const k = inverse(a[c][c]);
    a[c] = a[c].map((x) => mod(x * k));
    for (let i = 0; i < n; i++) {
      if (i === c || a[i][c] === 0n) continue;
      const f = a[i][c];
      a[i] = a[i].map((x, j) => mod(x - f * a[c][j]));
    }
  }
  return a.map((row) => row.slice(n));
}

/** The round constants and the mixing matrix, from the 80-bit register. */
export function parameters(t) {
  const bits = [];
  const put = (n, value) => {
    for (let k = n - 1; k >= 0; k--) bits.push(Number((BigInt(value) >> BigInt(k)) & 1n));
  };
  put(2, 1); // prime field
  put(4, 0); // x^5
  put(12, 254);
  put(12, t);
  put(10, FULL);
  put(10, PARTIAL[t]);
  put(30, 2 ** 30 - 1);
  const step = () => {
    const b = bits[62] ^ bits[51] ^ bits[38] ^ bits[23] ^ bits[13] ^ bits[0];
    bits.shift();
    bits.push(b);
    return b;
  };
  for (let i = 0; i < 160; i++) step();
  const bit = () => {
    while (step() === 0) step();
    return step();
  };
  const number = () => {
    let x = 0n;
    for (let i = 0; i < 254; i++) x = (x << 1n) | BigInt(bit());
    return x;
  };
  const element = () => {
    for (;;) {
      const x = number();
      if (x < R) return x;
    }
  };
  const range = [...Array(t).keys()];
  const constants = [...Array(FULL + PARTIAL[t]).keys()].map(() => range.map(element));
  const xs = range.map(() => number() % R);
  const ys = range.map(() => number() % R);
  return { constants, mix: xs.map((x) => ys.map((y) => inverse(x + y))) };
}

/** The permutation as the paper writes it. */
export function permute(t, state) {
  const { constants, mix } = parameters(t);
  const fifth = (x) => mod(x ** 5n);
  constants.forEach((c, r) => {
    state = state.map((x, i) => mod(x + c[i]));
    const isFull = r < FULL / 2 || r >= FULL / 2 + PARTIAL[t];
    state = state.map((x, i) => (isFull || i === 0 ? fifth(x) : x));
    state = apply(mix, state);
  });
  return state;
}

/**
 * The words that the contract works with, in order: the mixing matrix (rows), the matrix T * M that enters the
 * coordinates above, the matrix T^-1 that leaves them, the constants of the full rounds (those of the first after
 * the partial rounds hold what these carried along), the form c, the vector h, lane 0's constants.
 */
export function words(t) {
  const { constants, mix } = parameters(t);
  const half = FULL / 2;
  const unit = [...Array(t).keys()].map((i) => (i === 0 ? 1n : 0n));
  const rows = [unit];
  while (rows.length <= t) rows.push(rows.at(-1).map((_, j) => dot(rows.at(-1), column(mix, j))));
  const enter = rows.slice(0, t);
  const leave = inverted(enter);
  const last = leave[0].map((_, j) => dot(rows[t], column(leave, j)));
  const h = enter.map((row) => row[0]);
  let carried = unit.map(() => 0n);
  const lane0 = [];
  for (let r = half; r < half + PARTIAL[t]; r++) {
    const sum = carried.map((x, i) => mod(x + constants[r][i]));
    lane0.push(sum[0]);
    carried = apply(mix, [0n, ...sum.slice(1)]);
  }
  const full = [...constants.slice(0, half), ...constants.slice(half + PARTIAL[t])];
  full[half] = full[half].map((x, i) => mod(x + carried[i]));
  return [mix, times(enter, mix), leave, full, [last, h, lane0]].flat(2);
}

/** The permutation from `words(t)`, step by step as the contract does it. */
export function permuteByWords(t, state) {
  const all = words(t);
  const square = (k) => [...Array(t).keys()].map((i) => all.slice(k * t * t + i * t, k * t * t + (i + 1) * t));
  const [mix, enter, leave] = [square(0), square(1), square(2)];
  let at = 3 * t * t;
  const take = (n) => all.slice(at, (at += n));
  const full = [...Array(FULL).keys()].map(() => take(t));
  const [last, h, lane0] = [take(t), take(t), take(PARTIAL[t])];
  const fifth = (x) => mod(x ** 5n);
  for (let r = 0; r < FULL / 2; r++) {
    state = state.map((x, i) => fifth(x + full[r][i]));
    state = apply(r === FULL / 2 - 1 ? enter : mix, state);
  }
  for (const k of lane0) {
    const d = fifth(state[0] + k) - state[0];
    state = state.map((x, i) => mod(x + d * h[i]));
    state = [...state.slice(1), dot(last, state)];
  }
  state = apply(leave, state);
  for (let r = FULL / 2; r < FULL; r++) {
    state = apply(mix, state.map((x, i) => fifth(x + full[r][i])));
  }
  return state;
}
