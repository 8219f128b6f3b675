//! What the fuzz targets share: reading decisions off the fuzzer's bytes.

/// Bytes from the fuzzer, taken from the front; zeros once they are used up.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    /// All of an input.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Nothing is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        let taken = N.min(self.0.len());
        let (front, rest) = self.0.split_at(taken);
        out[..taken].copy_from_slice(front);
        self.0 = rest;
        out
    }

    /// A number of 8 bytes.
    pub fn word(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// One in two.
    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number below `end`, which is at most 65,536; from one byte where that is enough.
    ///
    /// # Panics
    /// If `end` is zero.
    pub fn below(&mut self, end: u32) -> u32 {
        let drawn = if end <= 256 {
            u32::from(self.byte())
        } else {
            u32::from(u16::from_le_bytes(self.array()))
        };
        drawn % end
    }

    /// A number of `from..=to`, which are at most 65,536 apart.
    pub fn within(&mut self, from: i64, to: i64) -> i64 {
        from + i64::from(self.below((to - from + 1) as u32))
    }

    /// A choice that may be none.
    pub fn maybe<T>(&mut self, take: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let present = self.flag();
        present.then(|| take(self))
    }
}
