//! Random streams of messages, the same for the same seed.

use referee::abi::{Cancel, Message, Modify, NewOrder};

/// SplitMix64: the same stream for the same seed everywhere.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }
}

/// How prices come about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Prices {
    /// Near a middle that walks slowly: the window follows.
    Walk,
    /// Near a middle that jumps anywhere now and then.
    Jumps,
    /// Near a middle that often goes to where it has been: moves find a book there, and orders come in
    /// between its prices while it moves.
    Hops,
    /// Anywhere, with both ends of the range.
    Anywhere,
}

pub(crate) struct Stream {
    random: Random,
    prices: Prices,
    middle: i64,
    spread: u64,
    pub(crate) ids: u64,
    pub(crate) sequence: u64,
    /// Prices named so far, a few of the last ones.
    pub(crate) named: Vec<i64>,
}

impl Stream {
    pub(crate) fn new(seed: u64, prices: Prices, spread: u64) -> Self {
        Self {
            random: Random(seed),
            prices,
            middle: 33_504,
            spread,
            ids: 60,
            sequence: 0,
            named: Vec::new(),
        }
    }

    /// A price for an order of `side`: mostly away from the middle, so that books grow deep.
    fn price(&mut self, side: u8) -> i64 {
        let random = &mut self.random;
        match self.prices {
            Prices::Walk => {
                self.middle += random.below(self.spread / 2 + 3) as i64 - self.spread as i64 / 8;
            }
            Prices::Jumps if random.below(150) == 0 => self.middle = random.bits() as i64,
            Prices::Hops if random.below(40) == 0 => {
                let hop = 1_500.max(30 * self.spread as i64);
                self.middle = 33_504 + hop * random.below(3) as i64;
            }
            Prices::Anywhere if random.below(3) == 0 => {
                let ends = [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX];
                return ends[random.below(7) as usize];
            }
            Prices::Anywhere if random.below(2) == 0 => return random.bits() as i64,
            _ => {}
        }
        let away = random.below(self.spread) as i64;
        let passive = random.below(5) > 0;
        let off = if passive == (side == 0) { -away } else { away };
        self.middle.saturating_add(off)
    }

    /// Few ids, so that they are reused; most far from each other, some in one place of the id map.
    fn id(&mut self) -> u64 {
        let pick = self.random.below(self.ids);
        match pick % 3 {
            0 => pick,
            1 => pick << 40 | 5,
            _ => u64::MAX - pick,
        }
    }

    fn quantity(&mut self) -> u32 {
        match self.random.below(120) {
            0 => 0,
            1 => u32::MAX,
            2 => (1 << 24) - 2 + self.random.below(4) as u32,
            3 => self.random.bits() as u32,
            _ => 1 + self.random.below(100) as u32,
        }
    }

    pub(crate) fn next(&mut self) -> Message {
        self.sequence += 1;
        let (id, sequence, side) = (self.id(), self.sequence, self.random.below(2) as u8);
        let (price, quantity) = (self.price(side), self.quantity());
        if self.named.len() == 12 {
            self.named.remove(self.random.below(12) as usize);
        }
        self.named.push(price);
        match self.random.below(10) {
            0..6 => Message::new_order(NewOrder {
                id,
                sequence,
                price,
                quantity,
                side,
                ioc: u8::from(self.random.below(6) == 0),
                pad: [0; 2],
            }),
            6..8 => Message::cancel(Cancel { id, sequence }),
            _ => Message::modify(Modify {
                id,
                sequence,
                price,
                quantity,
                side,
                pad: [0; 3],
            }),
        }
    }
}
