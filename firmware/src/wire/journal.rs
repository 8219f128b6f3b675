//! Header of a journal record: one sequenced input, little-endian.
//!
//! ```text
//!  0  len u32     whole record, header and padding included; a multiple of 8
//!  4  crc32c u32  over bytes 8..len, then over `len` itself
//!  8  seq u64     from 1, without gaps
//! 16  time_ns u64
//! 24  template u16   names the body (see `input`)
//! 26  source u16     what kind of source sent it
//! 28  session u32
//! 32  body, zero-padded to a multiple of 8
//! ```
//!
//! How records are grouped into batches and segments is the business of the `journal` crate.

use bytemuck::{Pod, Zeroable};

/// Header of a journal record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub struct RecordHeader {
    /// Bytes of the whole record, padding included; a multiple of [`RECORD_ALIGN`].
    pub len: u32,
    /// CRC32C of everything after this field, followed by `len`.
    pub crc32c: u32,
    /// Place in the journal, from 1, without gaps.
    pub seq: u64,
    /// Sequenced time, ns since the Unix epoch.
    pub time_ns: u64,
    /// SBE template of the body.
    pub template: u16,
    /// What kind of source the input came from.
    pub source: u16,
    /// Session or member it came from; zero for the venue itself.
    pub session: u32,
}

/// Records start at multiples of this, so a body can be read in place.
pub const RECORD_ALIGN: usize = 8;
/// Bytes of a record header.
pub const RECORD_HEADER_LEN: usize = size_of::<RecordHeader>();
/// Largest body of a record: bounds every reader's work on a damaged file.
pub const RECORD_BODY_MAX: usize = 65 * 1024;

const _: () = assert!(RECORD_HEADER_LEN == 32);
const _: () = assert!(RECORD_HEADER_LEN.is_multiple_of(RECORD_ALIGN));

impl RecordHeader {
    /// Bytes of a record with a body of `body` bytes.
    #[must_use]
    pub const fn record_len(body: usize) -> usize {
        RECORD_HEADER_LEN + body.next_multiple_of(RECORD_ALIGN)
    }
}
