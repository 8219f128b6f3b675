//! The state as bytes, and back: a start then goes on from a record in the middle of the journal.
//!
//! The bytes are a function of the state and of nothing else: both books write the same, an engine that was
//! read back writes them again, and what the engine can work out anew is left out. Vectors and arenas keep the
//! room that they took at the start. Whether the bytes are whole is for the caller's hash to tell; what they say
//! is still checked against every bound before it is used as an index.

use bytemuck::{AnyBitPattern, NoUninit};

/// Layout of the bytes; a release that writes another one does not read this one.
pub const SNAPSHOT_LAYOUT: u32 = 3;

/// Why bytes are not those of a state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SnapshotError {
    /// They end too early.
    #[error("the snapshot is cut short")]
    Short,
    /// They go on after the end.
    #[error("the snapshot goes on after its end")]
    Long,
    /// A part does not begin where it should, or is of another release.
    #[error("part {} of the snapshot does not begin where it should", .0.escape_ascii())]
    Part([u8; 4]),
    /// A value that no state has.
    #[error("the snapshot's {0} cannot be")]
    Value(&'static str),
}

/// Where a state is written.
pub trait Sink {
    /// Appends bytes. What fails is kept until the caller asks for it.
    fn put(&mut self, bytes: &[u8]);

    /// Appends a plain value.
    fn pod<T: NoUninit>(&mut self, value: &T) {
        self.put(bytemuck::bytes_of(value));
    }

    /// Appends a length.
    fn count(&mut self, count: usize) {
        self.pod(&(count as u64));
    }

    /// Appends plain values with their number before them.
    fn pods<T: NoUninit>(&mut self, values: &[T]) {
        self.count(values.len());
        self.put(bytemuck::cast_slice(values));
    }

    /// Marks the beginning of a part.
    fn part(&mut self, name: [u8; 4]) {
        self.put(&name);
    }
}

impl Sink for alloc::vec::Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Where a state is read from.
pub trait Source {
    /// Fills `bytes`.
    ///
    /// # Errors
    /// [`SnapshotError::Short`].
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), SnapshotError>;

    /// The next plain value.
    ///
    /// # Errors
    /// [`SnapshotError::Short`].
    fn pod<T: AnyBitPattern + NoUninit>(&mut self) -> Result<T, SnapshotError> {
        let mut value = T::zeroed();
        self.fill(bytemuck::bytes_of_mut(&mut value))?;
        Ok(value)
    }

    /// A value below `end`, to be used as an index or a number of things.
    ///
    /// # Errors
    /// [`SnapshotError::Value`] with `what` if it is not below `end`.
    fn below(&mut self, end: usize, what: &'static str) -> Result<usize, SnapshotError> {
        let value: u64 = self.pod()?;
        let value = usize::try_from(value).ok().filter(|v| *v < end);
        value.ok_or(SnapshotError::Value(what))
    }

    /// A yes or a no.
    ///
    /// # Errors
    /// [`SnapshotError::Value`] with `what` if it is neither.
    fn flag(&mut self, what: &'static str) -> Result<bool, SnapshotError> {
        match self.pod::<u8>()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(SnapshotError::Value(what)),
        }
    }

    /// The beginning of a part.
    ///
    /// # Errors
    /// [`SnapshotError::Part`] if another one stands there.
    fn part(&mut self, name: [u8; 4]) -> Result<(), SnapshotError> {
        if self.pod::<[u8; 4]>()? == name {
            Ok(())
        } else {
            Err(SnapshotError::Part(name))
        }
    }
}

impl Source for &[u8] {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), SnapshotError> {
        let (head, rest) = self
            .split_at_checked(bytes.len())
            .ok_or(SnapshotError::Short)?;
        bytes.copy_from_slice(head);
        *self = rest;
        Ok(())
    }
}

/// Refuses a value that no state has.
pub(crate) const fn ensure(holds: bool, what: &'static str) -> Result<(), SnapshotError> {
    if holds {
        Ok(())
    } else {
        Err(SnapshotError::Value(what))
    }
}
