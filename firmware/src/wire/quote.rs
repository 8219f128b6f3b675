//! The mass quote: the only message with a repeating group. Its entries follow the root block behind a
//! group header of 4 bytes, which the structs here keep as their last two fields.
//!
//! ```text
//! SBE header 8 | root block | blockLength u16 | numInGroup u16 | entry *
//! ```

use super::order::Request;
use super::sbe::{Field, HEADER_LEN, Message, MessageHeader, SbeError, messages, split};
use super::sbe::{SCHEMA_ID, SCHEMA_VERSION};
use bytemuck::{Pod, Zeroable};

/// Most entries of a mass quote: as many as fit a datagram with room to spare.
pub const QUOTE_ENTRIES_MAX: usize = 32;
/// Bytes of a group header.
pub const GROUP_HEADER_LEN: usize = 4;
/// Quantity of a side that an entry does not name.
pub const QUANTITY_NULL: i64 = i64::MIN;
/// The same in the journal.
pub const LOTS_NULL: u32 = u32::MAX;

/// A message with one repeating group.
pub trait Grouped: Message {
    /// One entry.
    type Entry: Pod;
    /// Name of the group in the schema.
    const GROUP: &'static str;
}

/// Declares a message with a group: the fields of the root block, the name of the group, and its entry.
macro_rules! grouped {
    ($(#[$m:meta])* $id:literal $name:ident { $($(#[$fm:meta])* $field:ident : $ty:ty),+ $(,)? } $group:literal $entry:ident) => {
        $(#[$m])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
        #[repr(C)]
        pub struct $name {
            $($(#[$fm])* pub $field: $ty,)+
            /// Bytes of an entry.
            pub block_length: u16,
            /// Number of entries.
            pub num_in_group: u16,
        }
        impl Message for $name {
            const TEMPLATE: u16 = $id;
            const NAME: &'static str = stringify!($name);
            const FIELDS: &'static [Field] = &[
                $(Field {
                    name: stringify!($field),
                    offset: core::mem::offset_of!($name, $field),
                    size: size_of::<$ty>(),
                    kind: stringify!($ty),
                }),+
            ];
            const HEADER: MessageHeader = MessageHeader {
                block_length: (size_of::<Self>() - GROUP_HEADER_LEN) as u16,
                template_id: Self::TEMPLATE,
                schema_id: SCHEMA_ID,
                version: SCHEMA_VERSION,
            };
        }
        impl Grouped for $name {
            type Entry = $entry;
            const GROUP: &'static str = $group;
        }
    };
}

messages! {
    /// Entry of a mass quote: both sides of one instrument.
    0 QuoteEntry {
        /// Price of the bid x 1e-9.
        bid_price: i64,
        /// Lots of the bid; zero withdraws it, null leaves it as it is.
        bid_quantity: i64,
        /// Price of the ask x 1e-9.
        ask_price: i64,
        /// Lots of the ask; zero withdraws it, null leaves it as it is.
        ask_quantity: i64,
        /// Instrument, once in a mass quote.
        instrument: u16,
        /// Written as zero.
        pad1: u16,
        /// Written as zero.
        pad2: u32,
    }
    /// Entry of an admitted mass quote.
    0 InQuoteEntry {
        /// Price of the bid.
        bid_ticks: i32,
        /// Lots of the bid; zero withdraws it, 4294967295 leaves it as it is.
        bid_lots: u32,
        /// Price of the ask.
        ask_ticks: i32,
        /// Lots of the ask; zero withdraws it, 4294967295 leaves it as it is.
        ask_lots: u32,
        /// Instrument.
        instrument: u16,
        /// Written as zero.
        pad1: u16,
    }
}

grouped! {
    /// Two-sided quotes in up to 32 instruments as one event. Each account has at most one quote a side of an
    /// instrument: an entry takes its place. The same price and quantity again keep the place in the queue.
    101 MassQuote {
        /// Client's name of the mass quote, and of each of its orders: rises strictly within the member's day.
        cl_ord_id: u64,
        /// As in NewOrder.
        smp_id: u64,
        /// Account.
        account: u32,
        /// Market-maker protection group; zero: none.
        mmp_group: u8,
        /// As in NewOrder.
        stp_mode: u8,
        /// Bits: 0 post-only, 2 cancel on disconnect.
        flags: u8,
        /// Written as zero.
        pad1: u8,
        /// Written as zero.
        pad2: u32,
    } "entries" QuoteEntry
}

grouped! {
    /// An admitted mass quote.
    601 InMassQuote {
        /// When the datagram was received, ns.
        rx_time: u64,
        /// Number of the request.
        client_seq: u64,
        /// Client's name.
        cl_ord_id: u64,
        /// As in MassQuote.
        smp_id: u64,
        /// Account.
        account: u32,
        /// As in MassQuote.
        mmp_group: u8,
        /// As in MassQuote.
        stp_mode: u8,
        /// As in MassQuote.
        flags: u8,
        /// Written as zero.
        pad1: u8,
        /// Written as zero.
        pad2: u32,
    } "entries" InQuoteEntry
}

/// A message with a group as the schema test sees it: name, template, root block, its fields, group, entry
/// block, its fields.
pub type GroupedRow = (
    &'static str,
    u16,
    usize,
    &'static [Field],
    &'static str,
    usize,
    &'static [Field],
);

const fn row<G: Grouped>(entry: &'static [Field]) -> GroupedRow {
    (
        G::NAME,
        G::TEMPLATE,
        size_of::<G>() - GROUP_HEADER_LEN,
        G::FIELDS,
        G::GROUP,
        size_of::<G::Entry>(),
        entry,
    )
}

/// All messages with a group.
pub const GROUPED: &[GroupedRow] = &[
    row::<MassQuote>(QuoteEntry::FIELDS),
    row::<InMassQuote>(InQuoteEntry::FIELDS),
];

/// Anything that a client may ask for.
#[derive(Clone, Copy, Debug)]
pub enum Asked<'a> {
    /// A message of fixed size.
    Request(Request),
    /// A mass quote.
    MassQuote(QuoteView<'a>),
}

impl<'a> Asked<'a> {
    /// Reads a request from its SBE header on.
    ///
    /// # Errors
    /// When the bytes are cut short, of another schema, or no request.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, SbeError> {
        match split(bytes)?.0.template_id {
            MassQuote::TEMPLATE => QuoteView::decode(bytes).map(Self::MassQuote),
            _ => Request::decode(bytes).map(Self::Request),
        }
    }
}

/// A mass quote as it stands in a datagram.
#[derive(Clone, Copy, Debug)]
pub struct QuoteView<'a> {
    /// The root block and the group's header.
    pub head: MassQuote,
    entries: &'a [u8],
}

impl<'a> QuoteView<'a> {
    /// Reads a mass quote from its SBE header on; fields that a newer sender appended are skipped.
    ///
    /// # Errors
    /// When the bytes are cut short, of another schema or template.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, SbeError> {
        let (header, block) = split(bytes)?;
        if header.template_id != MassQuote::TEMPLATE {
            return Err(SbeError::Template(header.template_id));
        }
        let want = MassQuote::HEADER.block_length;
        if header.block_length < want {
            return Err(SbeError::Block {
                template: MassQuote::TEMPLATE,
                got: header.block_length,
                want,
            });
        }
        let rest = &bytes[HEADER_LEN + block.len()..];
        let (dimensions, rest) = rest
            .split_at_checked(GROUP_HEADER_LEN)
            .ok_or(SbeError::Short)?;
        let mut whole = [0; size_of::<MassQuote>()];
        let (root, group) = whole.split_at_mut(want as usize);
        root.copy_from_slice(&block[..want as usize]);
        group.copy_from_slice(dimensions);
        let head: MassQuote = bytemuck::pod_read_unaligned(&whole);
        if (head.block_length as usize) < size_of::<QuoteEntry>() {
            return Err(SbeError::Block {
                template: MassQuote::TEMPLATE,
                got: head.block_length,
                want: size_of::<QuoteEntry>() as u16,
            });
        }
        let len = head.block_length as usize * head.num_in_group as usize;
        let entries = rest.get(..len).ok_or(SbeError::Short)?;
        Ok(Self { head, entries })
    }

    /// The entries in order.
    pub fn entries(&self) -> impl Iterator<Item = QuoteEntry> + 'a {
        self.entries
            .chunks_exact(self.head.block_length as usize)
            .map(|e| bytemuck::pod_read_unaligned(&e[..size_of::<QuoteEntry>()]))
    }
}

/// Writes a mass quote behind its SBE header's place: root block, group header, entries. Returns the bytes
/// written; `None` when they do not fit or are more than [`QUOTE_ENTRIES_MAX`].
pub fn encode_quote(head: &MassQuote, entries: &[QuoteEntry], out: &mut [u8]) -> Option<usize> {
    if entries.len() > QUOTE_ENTRIES_MAX {
        return None;
    }
    let head = MassQuote {
        block_length: size_of::<QuoteEntry>() as u16,
        num_in_group: entries.len() as u16,
        ..*head
    };
    let bytes = bytemuck::cast_slice(entries);
    let len = size_of::<MassQuote>() + bytes.len();
    let out = out.get_mut(..len)?;
    out[..size_of::<MassQuote>()].copy_from_slice(bytemuck::bytes_of(&head));
    out[size_of::<MassQuote>()..].copy_from_slice(bytes);
    Some(len)
}

/// An admitted mass quote with room for all its entries: what the gate fills in and the journal holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct QuoteRecord {
    head: InMassQuote,
    entries: [InQuoteEntry; QUOTE_ENTRIES_MAX],
}

impl QuoteRecord {
    /// A record without entries.
    #[must_use]
    pub fn new(head: InMassQuote) -> Self {
        Self {
            head: InMassQuote {
                block_length: size_of::<InQuoteEntry>() as u16,
                num_in_group: 0,
                ..head
            },
            entries: [InQuoteEntry::zeroed(); QUOTE_ENTRIES_MAX],
        }
    }

    /// Appends an entry; `false` when there is no room.
    #[must_use]
    pub fn push(&mut self, entry: InQuoteEntry) -> bool {
        let slot = self.entries.get_mut(self.head.num_in_group as usize);
        let fits = slot.map(|s| *s = entry).is_some();
        self.head.num_in_group += u16::from(fits);
        fits
    }

    /// As the engine reads it.
    #[must_use]
    pub fn view(&self) -> QuoteRef<'_> {
        let entries = &self.entries[..self.head.num_in_group as usize];
        let len = size_of::<InMassQuote>() + size_of_val(entries);
        QuoteRef {
            head: &self.head,
            entries,
            body: &bytemuck::bytes_of(self)[..len],
        }
    }
}

/// An admitted mass quote, as it lies in a journal record.
#[derive(Clone, Copy, Debug)]
pub struct QuoteRef<'a> {
    /// Root block and group header.
    pub head: &'a InMassQuote,
    /// Entries.
    pub entries: &'a [InQuoteEntry],
    body: &'a [u8],
}

impl<'a> QuoteRef<'a> {
    /// Reads the body of a record, which must be aligned to 8 bytes; `None` when it is cut short, not
    /// aligned, or of another layout.
    #[must_use]
    pub fn read(body: &'a [u8]) -> Option<Self> {
        let (head, entries) = body.split_at_checked(size_of::<InMassQuote>())?;
        let head: &InMassQuote = bytemuck::try_from_bytes(head).ok()?;
        if head.block_length as usize != size_of::<InQuoteEntry>() {
            return None;
        }
        let len = head.num_in_group as usize * size_of::<InQuoteEntry>();
        let entries = bytemuck::try_cast_slice(entries.get(..len)?).ok()?;
        Some(Self {
            head,
            entries,
            body: &body[..size_of::<InMassQuote>() + len],
        })
    }

    /// Body of the journal record.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(instrument: u16) -> QuoteEntry {
        QuoteEntry {
            bid_price: 5,
            bid_quantity: 1,
            ask_price: 7,
            ask_quantity: QUANTITY_NULL,
            instrument,
            pad1: 0,
            pad2: 0,
        }
    }

    fn encoded(n: u16) -> ([u8; 2048], usize) {
        let mut out = [0; 2048];
        out[..HEADER_LEN].copy_from_slice(bytemuck::bytes_of(&MassQuote::HEADER));
        let mut entries = [entry(0); QUOTE_ENTRIES_MAX];
        for (i, e) in entries.iter_mut().enumerate() {
            e.instrument = i as u16;
        }
        let head = MassQuote {
            cl_ord_id: 9,
            ..MassQuote::zeroed()
        };
        let len = encode_quote(&head, &entries[..n as usize], &mut out[HEADER_LEN..]).unwrap();
        (out, HEADER_LEN + len)
    }

    #[test]
    fn a_mass_quote_reads_as_it_was_written() {
        let (out, len) = encoded(32);
        let view = QuoteView::decode(&out[..len]).unwrap();
        assert_eq!((view.head.cl_ord_id, view.entries().count()), (9, 32));
        assert!(
            view.entries()
                .enumerate()
                .all(|(i, e)| e == entry(i as u16))
        );
    }

    #[test]
    fn a_mass_quote_that_is_cut_short_anywhere_is_refused() {
        let (out, len) = encoded(3);
        for cut in 0..len {
            assert!(QuoteView::decode(&out[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn the_journal_record_reads_as_it_was_written() {
        let mut record = QuoteRecord::new(InMassQuote::zeroed());
        for i in 0..QUOTE_ENTRIES_MAX as u16 {
            let e = InQuoteEntry {
                instrument: i,
                ..InQuoteEntry::zeroed()
            };
            assert!(record.push(e));
        }
        assert!(!record.push(InQuoteEntry::zeroed()), "no room for one more");
        let body = record.view().bytes();
        let read = QuoteRef::read(body).unwrap();
        assert_eq!((read.entries, read.bytes()), (record.view().entries, body));
        assert!(QuoteRef::read(&body[..body.len() - 1]).is_none());
    }
}
