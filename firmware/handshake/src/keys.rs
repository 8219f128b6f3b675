//! Long-term Ed25519 keys and the files that hold them.

use core::fmt;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Longest key file that is read: 64 hex digits and a line end.
const FILE_MAX: u64 = 66;

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be opened, read or written.
    #[error("key file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others than the owner may use the file.
    #[error("key file {path} has mode {mode:04o}: only its owner may have access (chmod 600)")]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The path is a folder or a device.
    #[error("key file {path} is not a regular file")]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file does not hold 64 hex digits.
    #[error("key file {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with the text.
        source: Box<KeyError>,
    },
    /// Not 64 characters.
    #[error("a key has 64 hex digits, here are {got} characters")]
    Length {
        /// Characters found.
        got: usize,
    },
    /// Not a hex digit.
    #[error("character {at} of the key is not a hex digit")]
    Digit {
        /// Place, from 1.
        at: usize,
    },
    /// The bytes are no point of the curve, or one of the few that sign anything.
    #[error("the 32 bytes are not a usable Ed25519 public key")]
    NotAKey,
}

/// A long-term signing key. Wiped when dropped; never printed.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

/// Its public half.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl SecretKey {
    /// A new key from the system's random source.
    ///
    /// # Panics
    /// When the system has no random source.
    #[must_use]
    pub fn generate() -> Self {
        Self(SigningKey::from_bytes(&crate::random::<32>()))
    }

    /// The key of a 32-byte seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Generates a key and writes its seed to a new file with mode 0600.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn generate_file(path: &Path) -> Result<Self, KeyError> {
        let io = |source| KeyError::Io {
            path: path.to_owned(),
            source,
        };
        let key = Self::generate();
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(io)?;
        let mut text = Zeroizing::new(String::with_capacity(FILE_MAX as usize));
        push_hex(&mut text, key.0.as_bytes());
        text.push('\n');
        file.write_all(text.as_bytes()).map_err(io)?;
        file.sync_all().map_err(io)?;
        Ok(key)
    }

    /// Reads a key file: 64 hex digits and at most one line end, accessible by its owner only.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let io = |source| KeyError::Io {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(io)?;
        // Of the open file, so that it cannot be swapped between check and read.
        let meta = file.metadata().map_err(io)?;
        if !meta.is_file() {
            return Err(KeyError::NotAFile {
                path: path.to_owned(),
            });
        }
        let mode = meta.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Mode {
                path: path.to_owned(),
                mode,
            });
        }
        let mut text = Zeroizing::new(Vec::with_capacity(FILE_MAX as usize + 1));
        (file.take(FILE_MAX + 1).read_to_end(&mut text)).map_err(io)?;
        let line = text.strip_suffix(b"\n").unwrap_or(&text);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match parse_hex(line) {
            Ok(seed) => Ok(Self::from_seed(&seed)),
            Err(source) => Err(KeyError::File {
                path: path.to_owned(),
                source: Box::new(source),
            }),
        }
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs `domain` followed by `parts`.
    pub(crate) fn sign(&self, domain: &[u8], parts: &[u8]) -> [u8; 64] {
        self.0.sign(&[domain, parts].concat()).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public())
    }
}

impl PublicKey {
    /// From its 32 bytes.
    ///
    /// # Errors
    /// [`KeyError::NotAKey`].
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        match VerifyingKey::from_bytes(bytes) {
            Ok(key) if !key.is_weak() => Ok(Self(key)),
            _ => Err(KeyError::NotAKey),
        }
    }

    /// From 64 hex digits.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        Self::from_bytes(&*parse_hex(text.as_bytes())?)
    }

    /// Its 32 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// `Negotiate::venue_key_hash`: BLAKE3 of the 32 bytes.
    #[must_use]
    pub fn pin(&self) -> [u8; 32] {
        *blake3::hash(self.0.as_bytes()).as_bytes()
    }

    /// Whether the key signed `domain` followed by `parts` (strict: no malleable signature, no weak key).
    pub(crate) fn verify(&self, domain: &[u8], parts: &[u8], signature: &[u8; 64]) -> bool {
        let message = [domain, parts].concat();
        self.0
            .verify_strict(&message, &Signature::from_bytes(signature))
            .is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(64);
        push_hex(&mut text, self.0.as_bytes());
        f.write_str(&text)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl core::str::FromStr for PublicKey {
    type Err = KeyError;
    fn from_str(s: &str) -> Result<Self, KeyError> {
        Self::from_hex(s)
    }
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for b in bytes {
        for nibble in [b >> 4, b & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).expect("a nibble is a digit"));
        }
    }
}

fn parse_hex(text: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    if text.len() != 64 {
        return Err(KeyError::Length { got: text.len() });
    }
    let mut bytes = Zeroizing::new([0; 32]);
    for (i, c) in text.iter().enumerate() {
        let digit = char::from(*c)
            .to_digit(16)
            .ok_or(KeyError::Digit { at: i + 1 })?;
        bytes[i / 2] = bytes[i / 2] << 4 | digit as u8;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_private_reads_back_and_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("member.key");
        let key = SecretKey::generate_file(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(SecretKey::load(&path).unwrap().public(), key.public());
        let again = SecretKey::generate_file(&path).unwrap_err();
        assert!(matches!(again, KeyError::Io { .. }), "{again}");
    }

    #[test]
    fn a_bad_key_file_is_refused_with_its_reason() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        let load = |text: &str, mode: u32| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            SecretKey::load(&path).map_err(|e| e.to_string())
        };
        let hex = "0f".repeat(32);
        assert!(load(&hex, 0o600).is_ok() && load(&format!("{hex}\r\n"), 0o400).is_ok());
        let told = |text: &str, mode, words: &str| {
            let e = load(text, mode).unwrap_err();
            assert!(e.contains(words), "{e}");
        };
        told(&hex, 0o640, "mode 0640");
        told(&hex, 0o604, "chmod 600");
        told("", 0o600, "0 characters");
        told(&format!("{hex}0"), 0o600, "65 characters");
        told(&hex.repeat(9), 0o600, "67 characters");
        told(&hex.replacen("0f", "0g", 1), 0o600, "character 2");
        let folder = SecretKey::load(dir.path()).unwrap_err();
        assert!(matches!(folder, KeyError::NotAFile { .. }), "{folder}");
        let missing = SecretKey::load(&dir.path().join("none")).unwrap_err();
        assert!(missing.to_string().contains("none: No such file"));
    }

    #[test]
    fn weak_and_impossible_public_keys_are_refused() {
        // The neutral element, and a y that is no point of the curve.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut off_curve = [0; 32];
        off_curve[0] = 2;
        for bytes in [neutral, off_curve, [0; 32]] {
            assert!(matches!(
                PublicKey::from_bytes(&bytes),
                Err(KeyError::NotAKey)
            ));
        }
        let key = SecretKey::from_seed(&[7; 32]).public();
        assert_eq!(key.to_string().parse::<PublicKey>().unwrap(), key);
    }

    #[test]
    fn a_secret_key_does_not_print_its_seed() {
        let shown = format!("{:?}", SecretKey::from_seed(&[0xab; 32]));
        assert!(!shown.contains("abab") && !shown.contains("171"));
    }
}
