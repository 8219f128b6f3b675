//! The day's messages on disk, by number. It is a copy of what the journal says: a start from the first record
//! makes it anew, and a start from a snapshot goes on behind the part that the snapshot made durable. Whoever
//! replays the journal writes the same bytes to the same places; see [`crate::tiles::spool`].

use anyhow::{Context, ensure};
use handshake::FeedHash;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

const MESSAGES: &str = "messages";
const INDEX: &str = "index";
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
    /// An empty store that writes over what is in `dir`, where another process may read.
    ///
    /// # Errors
    /// When the files cannot be made.
    pub(crate) fn rewrite(dir: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let open = |name: &str| {
            let path = dir.join(name);
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            options
                .open(&path)
                .with_context(|| format!("cannot make {}", path.display()))
        };
        Ok(Self {
            messages: open(MESSAGES)?,
            index: open(INDEX)?,
            written: 0,
            written_messages: 0,
            tail: Vec::with_capacity(TAIL_BYTES + 2 * 1024),
            offsets: Vec::new(),
        })
    }

    /// The store in `dir` behind its first `messages`, which are `bytes` long; all of them are looked at, and
    /// their hash comes back.
    ///
    /// # Errors
    /// When a file is cut short, or does not hold so many messages.
    pub(crate) fn resume(
        dir: &Path,
        messages: u64,
        bytes: u64,
    ) -> anyhow::Result<(Self, FeedHash)> {
        let hash = check(dir, messages, bytes)?;
        let mut store = Self::rewrite(dir)?;
        (store.written_messages, store.written) = (messages, bytes);
        Ok((store, hash))
    }

    /// Bytes of all messages so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.written + self.tail.len() as u64
    }

    /// Writes what is still in memory.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        self.write_out().context("the feed's store")
    }

    /// Makes all messages so far durable.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn sync(&mut self, dir: &Path) -> anyhow::Result<()> {
        self.flush()?;
        let synced = self.messages.sync_all();
        let synced = synced.and_then(|()| self.index.sync_all());
        let synced = synced.and_then(|()| File::open(dir)?.sync_all());
        synced.context("the feed's store")
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

/// Hash of the first `messages` in `dir`, which are `bytes` long, if the index leads to each of them.
///
/// # Errors
/// When it does not, or a file is cut short.
pub(crate) fn check(dir: &Path, messages: u64, bytes: u64) -> anyhow::Result<FeedHash> {
    let open = |name: &str, len: u64| {
        let path = dir.join(name);
        let file = File::open(&path).with_context(|| path.display().to_string())?;
        let held = file.metadata()?.len();
        ensure!(
            held >= len,
            "{}: {held} bytes, {len} needed",
            path.display()
        );
        Ok(BufReader::with_capacity(TAIL_BYTES, file))
    };
    let mut stored = open(MESSAGES, bytes)?;
    let mut index = open(INDEX, messages * 8)?;
    let (mut hash, mut at) = (FeedHash::new(), 0);
    let mut frame = [0; 2 + u16::MAX as usize];
    for number in 1..=messages {
        let mut place = [0; 8];
        index.read_exact(&mut place)?;
        ensure!(
            u64::from_le_bytes(place) == at,
            "{}: the place of message {number} is wrong",
            dir.join(INDEX).display()
        );
        stored.read_exact(&mut frame[..2])?;
        let end = 2 + usize::from(u16::from_be_bytes([frame[0], frame[1]]));
        at += end as u64;
        ensure!(
            at <= bytes,
            "{}: message {number} goes too far",
            dir.join(MESSAGES).display()
        );
        stored.read_exact(&mut frame[2..end])?;
        hash.push_framed(&frame[..end]);
    }
    ensure!(
        at == bytes,
        "{}: {messages} messages end at {at}, not at {bytes}",
        dir.join(MESSAGES).display()
    );
    Ok(hash)
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
        let mut store = Store::rewrite(dir.path()).unwrap();
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

    #[test]
    fn a_store_goes_on_behind_any_message_and_damage_before_it_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::rewrite(dir.path()).unwrap();
        let mut hash = FeedHash::new();
        for n in 1..=300 {
            store.push(&message(n)).unwrap();
            hash.push(&message(n));
        }
        let bytes = store.bytes();
        store.sync(dir.path()).unwrap();
        // What comes later is not durable, and is another thing after a restart.
        for n in 301..400 {
            store.push(&message(2 * n)).unwrap();
        }
        store.flush().unwrap();
        let (mut store, held) = Store::resume(dir.path(), 300, bytes).unwrap();
        assert_eq!((store.next(), held.value()), (301, hash.value()));
        for n in 301..=303 {
            store.push(&message(n)).unwrap();
        }
        let mut buf = [0; 500];
        for first in 295..=303 {
            let (_, count) = store.read(first, 1, &mut buf).unwrap();
            assert_eq!((count, &buf[2..4]), (1, &message(first)[..2]), "{first}");
        }
        drop(store);
        for name in [MESSAGES, INDEX] {
            let path = dir.path().join(name);
            let sound = std::fs::read(&path).unwrap();
            for at in (0..2_000).step_by(7) {
                let mut flipped = sound.clone();
                flipped[at] ^= 1;
                std::fs::write(&path, flipped).unwrap();
                let found = check(dir.path(), 300, bytes);
                assert!(found.is_err() || found.unwrap().value() != hash.value());
            }
            std::fs::write(&path, &sound[..2_000]).unwrap();
            let error = check(dir.path(), 300, bytes).unwrap_err().to_string();
            assert!(error.contains("2000 bytes"), "{error}");
            std::fs::write(&path, sound).unwrap();
        }
        let error = check(dir.path(), 299, bytes).unwrap_err().to_string();
        assert!(error.contains("299 messages end at"), "{error}");
    }
}
