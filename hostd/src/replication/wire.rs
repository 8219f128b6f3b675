//! Frames between boxes, over TCP.
//!
//! ```text
//!  each side first sends  "DBREPL01" | 32 random bytes; the keys of both directions come from these and the shared key
//!
//!  0   magic u32 | kind u32 | payload length u32 | 0 u32
//!  16  epoch u64: the highest that the sender has met
//!  24  mac, 16 bytes: blake3 keyed, over the number of the frame in its direction, bytes 0..24 and the payload
//!  40  payload
//! ```
//!
//! All integers are little-endian. A frame that was cut, changed, repeated, left out or sent by somebody without the
//! key ends the connection. Nothing is encrypted: the boxes' network is the venue's own.

use serde::{Deserialize, Serialize};

/// Bytes before the payload.
pub const HEAD_LEN: usize = 40;
/// First bytes of each side.
pub const GREETING_LEN: usize = 40;
/// Largest payload: a batch and its place.
pub const PAYLOAD_MAX: usize = journal::BATCH_BYTES_MAX + PLACE_LEN;
/// Bytes before a piece: segment u32, zeros u32, offset u64.
pub const PLACE_LEN: usize = 16;

const GREETING: [u8; 8] = *b"DBREPL01";
const MAGIC: u32 = 0x5052_4244;
const MAC_LEN: usize = 16;

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A standby says where its journal ends: [`Hello`].
    Hello = 1,
    /// The primary takes it: [`Welcome`].
    Welcome = 2,
    /// The other side does not: [`Refusal`].
    Refusal = 3,
    /// A write of the primary's journal: its place, then its bytes.
    Piece = 4,
    /// Durable at the standby up to: u64.
    Ack = 5,
    /// On the primary's disk, and released, up to: two u64.
    Beat = 6,
    /// Who are you? [`Ask`].
    Ask = 7,
    /// The answer: [`State`].
    State = 8,
}

impl Kind {
    fn of(n: u32) -> Option<Self> {
        let all = [
            Self::Hello,
            Self::Welcome,
            Self::Refusal,
            Self::Piece,
            Self::Ack,
            Self::Beat,
            Self::Ask,
            Self::State,
        ];
        all.into_iter().find(|k| *k as u32 == n)
    }
}

/// Where a standby's journal ends.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// Who it is.
    pub name: String,
    /// Its next record.
    pub next_seq: u64,
    /// Hash of its journal, hex.
    pub chain: String,
    /// The segment that it has begun; zero: none.
    pub segment: u32,
    /// Where in that segment its journal ends.
    pub offset: u64,
    /// Epoch of its last record.
    pub tail_epoch: u64,
}

/// The primary takes a standby.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Welcome {
    /// Who it is.
    pub name: String,
    /// Where each epoch began.
    pub history: Vec<crate::replication::term::Began>,
}

/// Why a box does not go along with another.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Refusal {
    /// One word for programs.
    pub code: String,
    /// One line for people.
    pub reason: String,
    /// With code `diverged`: where each epoch began.
    #[serde(default)]
    pub history: Vec<crate::replication::term::Began>,
}

/// Who asks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ask {
    /// Who asks.
    pub name: String,
    /// It leads, in the frame's epoch.
    pub leads: bool,
}

/// What a box is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct State {
    /// Its name.
    pub name: String,
    /// `primary` or `standby`.
    pub role: String,
    /// Who leads, as far as it knows.
    pub leader: String,
    /// Its next record.
    pub next_seq: u64,
    /// Epoch of its last record.
    pub tail_epoch: u64,
}

/// What ends a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WireError {
    /// Somebody else's protocol, or another version of ours.
    #[error("the other side does not speak this protocol")]
    Greeting,
    /// No frame.
    #[error("no frame: magic {0:#010x}")]
    Magic(u32),
    /// A kind that this release does not know.
    #[error("a frame of unknown kind {0}")]
    Kind(u32),
    /// A length that cannot be.
    #[error("a frame of {0} bytes cannot be")]
    Len(u32),
    /// Not from who has the key, or changed, left out or repeated on the way.
    #[error("a frame's mac is wrong: another key, or it was changed on the way")]
    Mac,
}

/// The first bytes of a side with this nonce.
#[must_use]
pub fn greeting(nonce: &[u8; 32]) -> [u8; GREETING_LEN] {
    let mut bytes = [0; GREETING_LEN];
    bytes[..8].copy_from_slice(&GREETING);
    bytes[8..].copy_from_slice(nonce);
    bytes
}

/// The nonce in the other side's first bytes.
///
/// # Errors
/// When it is no greeting.
pub fn read_greeting(bytes: &[u8; GREETING_LEN]) -> Result<[u8; 32], WireError> {
    let mut nonce = [0; 32];
    nonce.copy_from_slice(&bytes[8..]);
    if bytes[..8] == GREETING {
        Ok(nonce)
    } else {
        Err(WireError::Greeting)
    }
}

/// One direction of a connection.
#[derive(Clone)]
pub struct Way {
    key: [u8; 32],
    next: u64,
}

/// A frame that was checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// What it is.
    pub kind: Kind,
    /// The highest epoch that the sender has met.
    pub epoch: u64,
    /// The rest.
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// Bytes of the frame.
    #[must_use]
    pub const fn len(&self) -> usize {
        HEAD_LEN + self.payload.len()
    }

    /// A frame is never empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }
}

impl Way {
    /// Both directions, from who connected and to it.
    #[must_use]
    pub fn pair(shared: &[u8; 32], connector: &[u8; 32], acceptor: &[u8; 32]) -> (Self, Self) {
        let way = |to: &[u8]| {
            let mut hash = blake3::Hasher::new_keyed(shared);
            hash.update(to).update(connector).update(acceptor);
            Self {
                key: *hash.finalize().as_bytes(),
                next: 0,
            }
        };
        (way(b"from connector"), way(b"from acceptor"))
    }

    fn mac(&self, head: &[u8], payload: &[&[u8]]) -> [u8; MAC_LEN] {
        let mut hash = blake3::Hasher::new_keyed(&self.key);
        hash.update(&self.next.to_le_bytes()).update(head);
        payload.iter().for_each(|p| {
            hash.update(p);
        });
        let mut mac = [0; MAC_LEN];
        mac.copy_from_slice(&hash.finalize().as_bytes()[..MAC_LEN]);
        mac
    }

    /// Appends the next frame to `out`; its payload comes in parts.
    ///
    /// # Panics
    /// When the payload is too long.
    pub fn seal(&mut self, kind: Kind, epoch: u64, payload: &[&[u8]], out: &mut Vec<u8>) {
        let len: usize = payload.iter().map(|p| p.len()).sum();
        assert!(len <= PAYLOAD_MAX, "a payload fits a frame");
        let at = out.len();
        for word in [MAGIC, kind as u32, len as u32, 0] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&epoch.to_le_bytes());
        let mac = self.mac(&out[at..], payload);
        out.extend_from_slice(&mac);
        payload.iter().for_each(|p| out.extend_from_slice(p));
        self.next += 1;
    }

    /// Whether the frame at the start of `bytes` is all there, or no frame at all, which [`open`](Self::open) tells.
    #[must_use]
    pub fn is_ready(bytes: &[u8]) -> bool {
        let Some(len) = bytes.get(8..HEAD_LEN) else {
            return false;
        };
        let len = u32::from_le_bytes([len[0], len[1], len[2], len[3]]) as usize;
        len > PAYLOAD_MAX || bytes.len() >= HEAD_LEN + len
    }

    /// The frame at the start of `bytes`; `None` if it is not all there.
    ///
    /// # Errors
    /// [`WireError`]: the connection is over.
    pub fn open<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<Frame<'a>>, WireError> {
        let Some(head) = bytes.get(..HEAD_LEN) else {
            return Ok(None);
        };
        let word =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        if word(0) != MAGIC {
            return Err(WireError::Magic(word(0)));
        }
        let (kind, len) = (word(4), word(8));
        if len as usize > PAYLOAD_MAX {
            return Err(WireError::Len(len));
        }
        let Some(payload) = bytes.get(HEAD_LEN..HEAD_LEN + len as usize) else {
            return Ok(None);
        };
        if self.mac(&head[..24], &[payload]) != head[24..] {
            return Err(WireError::Mac);
        }
        let kind = Kind::of(kind).ok_or(WireError::Kind(kind))?;
        let epoch = u64::from(word(16)) | u64::from(word(20)) << 32;
        self.next += 1;
        Ok(Some(Frame {
            kind,
            epoch,
            payload,
        }))
    }
}

/// The numbers of a payload that is nothing else.
#[must_use]
pub fn numbers<const N: usize>(payload: &[u8]) -> Option<[u64; N]> {
    if payload.len() != 8 * N {
        return None;
    }
    let mut all = [0; N];
    for (n, bytes) in all.iter_mut().zip(payload.chunks_exact(8)) {
        let mut word = [0; 8];
        word.copy_from_slice(bytes);
        *n = u64::from_le_bytes(word);
    }
    Some(all)
}

/// Place and bytes of a piece.
#[must_use]
pub fn read_piece(payload: &[u8]) -> Option<journal::Piece<'_>> {
    let (place, bytes) = payload.split_at_checked(PLACE_LEN)?;
    let [head, offset] = numbers(place)?;
    let segment = u32::try_from(head).ok()?;
    Some(journal::Piece {
        segment,
        offset,
        bytes,
        last_seq: None,
    })
}

/// The bytes before a piece.
#[must_use]
pub fn place(segment: u32, offset: u64) -> [u8; PLACE_LEN] {
    let mut bytes = [0; PLACE_LEN];
    bytes[..4].copy_from_slice(&segment.to_le_bytes());
    bytes[8..].copy_from_slice(&offset.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways() -> (Way, Way) {
        let pair = || Way::pair(&[1; 32], &[2; 32], &[3; 32]);
        (pair().0, pair().0)
    }

    #[test]
    fn a_stream_cut_at_any_byte_gives_whole_frames_only() {
        let (mut to, from) = ways();
        let mut bytes = Vec::new();
        for n in 0..20_u64 {
            let body = vec![n as u8; n as usize * 37];
            to.seal(Kind::Piece, n, &[&place(1, n), &body], &mut bytes);
        }
        for cut in 0..=bytes.len() {
            let (mut from, mut at, mut count) = (from.clone(), 0, 0);
            while let Some(frame) = from.open(&bytes[at..cut]).unwrap() {
                assert_eq!(frame.epoch, count);
                assert_eq!(frame.payload.len(), PLACE_LEN + count as usize * 37);
                at += frame.len();
                count += 1;
            }
            assert!(count < 20 || cut == bytes.len());
        }
    }

    #[test]
    fn a_byte_changed_anywhere_or_another_key_or_a_frame_left_out_ends_the_connection() {
        let (mut to, from) = ways();
        let (mut one, mut two) = (Vec::new(), Vec::new());
        to.seal(Kind::Ack, 7, &[&9_u64.to_le_bytes()], &mut one);
        to.seal(Kind::Ack, 7, &[&10_u64.to_le_bytes()], &mut two);
        for at in 0..one.len() {
            let mut changed = one.clone();
            changed[at] ^= 1;
            // A length that grew looks like a frame that is not all there; it never becomes one.
            match from.clone().open(&changed) {
                Err(_) => {}
                Ok(None) => assert!((8..12).contains(&at), "byte {at}"),
                Ok(Some(_)) => panic!("byte {at}"),
            }
        }
        assert_eq!(from.clone().open(&two), Err(WireError::Mac));
        let mut other = Way::pair(&[4; 32], &[2; 32], &[3; 32]).0;
        assert_eq!(other.open(&one), Err(WireError::Mac));
        let mut back = Way::pair(&[1; 32], &[2; 32], &[3; 32]).1;
        assert_eq!(back.open(&one), Err(WireError::Mac));
        let mut whole = from;
        assert_eq!(
            numbers(whole.open(&one).unwrap().unwrap().payload),
            Some([9])
        );
        assert_eq!(whole.open(&one), Err(WireError::Mac), "repeated");
    }
}
