//! The SBE message header and the macro that declares a message as a `Pod` struct together with
//! its field table, which a test holds against the XML schema.

use bytemuck::{Pod, Zeroable};

/// Id of our schema in every message header.
pub const SCHEMA_ID: u16 = 0xDB01;
/// Version of our schema.
pub const SCHEMA_VERSION: u16 = 1;
/// Bytes of the SBE message header.
pub const HEADER_LEN: usize = size_of::<MessageHeader>();
/// Null value of an optional price.
pub const PRICE_NULL: i64 = i64::MIN;
/// Null value of an optional unsigned 16-bit id: "all instruments".
pub const ID16_NULL: u16 = u16::MAX;
/// Null value of an optional unsigned 32-bit id: "all accounts of the member".
pub const ID32_NULL: u32 = u32::MAX;
/// Null value of an optional byte: "both sides".
pub const BYTE_NULL: u8 = u8::MAX;

/// The 8 bytes before each block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct MessageHeader {
    /// Bytes of the root block that follows; a newer sender may have appended fields.
    pub block_length: u16,
    /// Which message.
    pub template_id: u16,
    /// [`SCHEMA_ID`].
    pub schema_id: u16,
    /// Version that the sender wrote.
    pub version: u16,
}

/// One field of a message, as the schema test sees it.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Rust name; the schema has it in camelCase.
    pub name: &'static str,
    /// Offset in the block.
    pub offset: usize,
    /// Size in bytes.
    pub size: usize,
    /// Rust type.
    pub kind: &'static str,
}

/// A message with a fixed block.
pub trait Message: Pod {
    /// Template id.
    const TEMPLATE: u16;
    /// Name in the schema.
    const NAME: &'static str;
    /// Fields in order, without gaps.
    const FIELDS: &'static [Field];
    /// The SBE header for this message.
    const HEADER: MessageHeader = MessageHeader {
        block_length: size_of::<Self>() as u16,
        template_id: Self::TEMPLATE,
        schema_id: SCHEMA_ID,
        version: SCHEMA_VERSION,
    };
}

/// Why bytes are not a message of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SbeError {
    /// Fewer bytes than the header or the block needs.
    Short,
    /// Another schema.
    Schema(u16),
    /// The block is shorter than this version's.
    Block {
        /// Template.
        template: u16,
        /// Length on the wire.
        got: u16,
        /// Length needed.
        want: u16,
    },
    /// No such template in this direction.
    Template(u16),
}

impl core::fmt::Display for SbeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Short => f.write_str("message is cut short"),
            Self::Schema(id) => write!(f, "schema id {id:#06x} is not {SCHEMA_ID:#06x}"),
            Self::Block {
                template,
                got,
                want,
            } => {
                write!(
                    f,
                    "template {template}: block of {got} bytes, at least {want} needed"
                )
            }
            Self::Template(id) => write!(f, "template {id} is not accepted here"),
        }
    }
}

/// Splits the SBE header off and returns it with the block that it announces.
///
/// # Errors
/// [`SbeError::Short`] or [`SbeError::Schema`].
pub fn split(bytes: &[u8]) -> Result<(MessageHeader, &[u8]), SbeError> {
    let (head, rest) = bytes.split_at_checked(HEADER_LEN).ok_or(SbeError::Short)?;
    let header: MessageHeader = bytemuck::pod_read_unaligned(head);
    if header.schema_id != SCHEMA_ID {
        return Err(SbeError::Schema(header.schema_id));
    }
    let block = rest
        .get(..header.block_length as usize)
        .ok_or(SbeError::Short)?;
    Ok((header, block))
}

/// Reads a block as message `M`; appended fields of a newer version are skipped.
///
/// # Errors
/// [`SbeError::Block`] when the block is too short.
pub fn read<M: Message>(block: &[u8]) -> Result<M, SbeError> {
    match block.get(..size_of::<M>()) {
        Some(bytes) => Ok(bytemuck::pod_read_unaligned(bytes)),
        None => Err(SbeError::Block {
            template: M::TEMPLATE,
            got: block.len() as u16,
            want: size_of::<M>() as u16,
        }),
    }
}

/// Declares messages: `id Name { field: type, ... }`.
macro_rules! messages {
    ($($(#[$m:meta])* $id:literal $name:ident { $($(#[$fm:meta])* $field:ident : $ty:ty),+ $(,)? })+) => {
        $(
            $(#[$m])*
            #[derive(Clone, Copy, PartialEq, Eq, Debug, bytemuck::Pod, bytemuck::Zeroable)]
            #[repr(C)]
            pub struct $name { $($(#[$fm])* pub $field: $ty),+ }
            impl $crate::wire::sbe::Message for $name {
                const TEMPLATE: u16 = $id;
                const NAME: &'static str = stringify!($name);
                const FIELDS: &'static [$crate::wire::sbe::Field] = &[
                    $($crate::wire::sbe::Field {
                        name: stringify!($field),
                        offset: core::mem::offset_of!($name, $field),
                        size: size_of::<$ty>(),
                        kind: stringify!($ty),
                    }),+
                ];
            }
        )+
        /// Name, template id, block length and fields of every message of this module.
        pub const SCHEMA: &[(&str, u16, usize, &[$crate::wire::sbe::Field])] = &[
            $((stringify!($name), $id, size_of::<$name>(), <$name as $crate::wire::sbe::Message>::FIELDS)),+
        ];
    };
}

/// Declares an enum over messages of one direction, with encode and decode.
macro_rules! union {
    ($(#[$m:meta])* $name:ident { $($v:ident),+ $(,)? }) => {
        $(#[$m])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[expect(missing_docs, reason = "each variant is the message of the same name")]
        pub enum $name { $($v($v)),+ }
        impl $name {
            /// The SBE header that belongs in front of the block.
            #[must_use]
            pub const fn header(&self) -> $crate::wire::sbe::MessageHeader {
                match self { $(Self::$v(_) => <$v as $crate::wire::sbe::Message>::HEADER),+ }
            }
            /// The block.
            #[must_use]
            pub fn block(&self) -> &[u8] {
                match self { $(Self::$v(m) => bytemuck::bytes_of(m)),+ }
            }
            /// Name in the schema.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$v(_) => <$v as $crate::wire::sbe::Message>::NAME),+ }
            }
            /// Reads a message from its SBE header on.
            ///
            /// # Errors
            /// When the bytes are cut short, of another schema, or of a template of another direction.
            pub fn decode(bytes: &[u8]) -> Result<Self, $crate::wire::sbe::SbeError> {
                let (header, block) = $crate::wire::sbe::split(bytes)?;
                match header.template_id {
                    $(<$v as $crate::wire::sbe::Message>::TEMPLATE => $crate::wire::sbe::read(block).map(Self::$v),)+
                    other => Err($crate::wire::sbe::SbeError::Template(other)),
                }
            }
        }
        $(impl From<$v> for $name { fn from(m: $v) -> Self { Self::$v(m) } })+
    };
}

pub(crate) use {messages, union};
