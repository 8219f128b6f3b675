//! The day's messages on disk, by number. It is a copy of what the journal says, made anew at each start, so
//! that nothing in it has to be durable.

use anyhow::Context;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes that are kept in memory before they are written together.
const TAIL_BYTES: usize = 256 << 10;

/// All messages of a session, framed as in the packets: `length u16 big-endian | message`.
///
/// ```text
///  messages   | framed 1 | framed 2 | …      the last of them in `tail`
///  index      u64 u64 …                      where each begins; the last of them in `offsets`
/// ```
pub(crate) struct Store {
    messages: File,
    index: File,
    /// Bytes and messages that the files hold.
    written: u64,
    written_messages: u64,
    tail: Vec<u8>,
    offsets: Vec<u8>,
}

impl Store {
    /// An empty store in `dir`; what was there before is dropped.
    ///
    /// # Errors
    /// When the files cannot be made.
    pub(crate) fn create(dir: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let open = |name: &str| {
            let path = dir.join(name);
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(true);
            options
                .open(&path)
                .with_context(|| format!("cannot make {}", path.display()))
        };
        Ok(Self {
            messages: open("messages")?,
            index: open("index")?,
            written: 0,
            written_messages: 0,
            tail: Vec::with_capacity(TAIL_BYTES + 2 * 1024),
            offsets: Vec::new(),
        })
    }

    /// Number of the next message; numbers run from 1.
    pub(crate) fn next(&self) -> u64 {
        self.written_messages + (self.offsets.len() / 8) as u64 + 1
    }

    /// Appends a message.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn push(&mut self, message: &[u8]) -> anyhow::Result<()> {
        let at = self.written + self.tail.len() as u64;
        self.offsets.extend_from_slice(&at.to_le_bytes());
        let len = message.len() as u16;
        self.tail.extend_from_slice(&len.to_be_bytes());
        self.tail.extend_from_slice(message);
        if self.tail.len() >= TAIL_BYTES {
            self.write_out().context("the feed's store")?;
        }
        Ok(())
    }

    fn write_out(&mut self) -> std::io::Result<()> {
        self.messages.write_all_at(&self.tail, self.written)?;
        self.index
            .write_all_at(&self.offsets, self.written_messages * 8)?;
        self.written += self.tail.len() as u64;
        self.written_messages += (self.offsets.len() / 8) as u64;
        self.tail.clear();
        self.offsets.clear();
        Ok(())
    }

    /// Reads framed messages from number `first` on into `buf`: as many whole ones as fit, at most `max`.
    /// Returns bytes and messages; none when `first` is not there.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn read(
        &self,
        first: u64,
        max: u16,
        buf: &mut [u8],
    ) -> anyhow::Result<(usize, u16)> {
        if first == 0 || first >= self.next() {
            return Ok((0, 0));
        }
        let got = self.bytes_from(first, buf).context("the feed's store")?;
        let (mut end, mut count) = (0, 0);
        while count < max {
            let Some((len, _)) = buf[end..got].split_first_chunk::<2>() else {
                break;
            };
            let next = end + 2 + u16::from_be_bytes(*len) as usize;
            if next > got {
                break;
            }
            end = next;
            count += 1;
        }
        Ok((end, count))
    }

    /// Fills `buf` from where message `first` begins, as far as there are bytes.
    fn bytes_from(&self, first: u64, buf: &mut [u8]) -> std::io::Result<usize> {
        let mut word = [0; 8];
        let place = first - 1;
        if place >= self.written_messages {
            let at = ((place - self.written_messages) * 8) as usize;
            word.copy_from_slice(&self.offsets[at..at + 8]);
        } else {
            self.index.read_exact_at(&mut word, place * 8)?;
        }
        let mut at = u64::from_le_bytes(word);
        let mut got = 0;
        if at < self.written {
            let len = buf.len().min((self.written - at) as usize);
            self.messages.read_exact_at(&mut buf[..len], at)?;
            got = len;
            at += len as u64;
        }
        let rest = &self.tail[(at - self.written.min(at)) as usize..];
        if at >= self.written {
            let len = rest.len().min(buf.len() - got);
            buf[got..got + len].copy_from_slice(&rest[..len]);
            got += len;
        }
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Message `n`, of a length that depends on it.
    fn message(n: u64) -> Vec<u8> {
        let len = 1 + (n * 7919 % 96) as usize;
        (0..len).map(|i| (n as usize + i) as u8).collect()
    }

    #[test]
    fn every_message_of_the_day_can_be_read_from_disk_and_memory() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::create(dir.path()).unwrap();
        let count = 20_000;
        for n in 1..=count {
            assert_eq!(store.next(), n);
            store.push(&message(n)).unwrap();
        }
        assert!(store.written_messages > 10_000 && !store.tail.is_empty());
        let mut buf = [0; 500];
        let edge = store.written_messages;
        for first in (1..=count).step_by(97).chain(edge - 20..edge + 20) {
            let (len, got) = store.read(first, 8, &mut buf).unwrap();
            let (mut at, mut want) = (0, 0);
            for n in (first..=count).take(8) {
                let m = message(n);
                if at + 2 + m.len() > buf.len() {
                    break;
                }
                assert_eq!(buf[at..at + 2], (m.len() as u16).to_be_bytes());
                assert_eq!(buf[at + 2..at + 2 + m.len()], m, "{first} {n}");
                at += 2 + m.len();
                want += 1;
            }
            assert_eq!((len, got), (at, want), "from {first}");
        }
        assert_eq!(store.read(0, 1, &mut buf).unwrap(), (0, 0));
        assert_eq!(store.read(count + 1, 1, &mut buf).unwrap(), (0, 0));
    }
}
