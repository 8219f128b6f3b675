//! Development keys on disk. They come from a fixed seed, so their names say INSECURE; keys for real
//! money come from a ceremony and never from here.
//!
//! ```text
//! <dir>/small-<first 16 hex digits of the circuit digest>-INSECURE-dev.pk           uncompressed
//! <dir>/small-<first 16 hex digits of the circuit digest>-INSECURE-dev.pk.blake3    64 hex digits
//! ```
//!
//! Loading checks the hash and then skips the curve checks, which would take a hundred times longer.
//! So the folder must be the user's own: the hash guards against rot, not against its owner.

use crate::gadget::system::{Row, Shape};
use crate::groth16::{Key, Progress, ProofError, check_key, insecure_setup};
use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The disk refused.
    #[error("{path}: {source}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The key has no hash beside it.
    #[error("{path}: no hash beside it ({path}.blake3); remove the key or have it remade")]
    NoHash {
        /// The key.
        path: PathBuf,
    },
    /// The key is not what was written.
    #[error("{path}: blake3 is {got}, the file beside it says {expected}; have the key remade")]
    Hash {
        /// The key.
        path: PathBuf,
        /// Hash of the file.
        got: String,
        /// Hash in the file beside it.
        expected: String,
    },
    /// The hash is right and the content is no key.
    #[error("{path}: not a proving key: {why}; have the key remade")]
    Format {
        /// The key.
        path: PathBuf,
        /// What the decoder said.
        why: String,
    },
    /// The key is for another circuit, or unfit.
    #[error("{path}: {source}; have the key remade")]
    Unfit {
        /// The key.
        path: PathBuf,
        /// What is wrong with it.
        source: ProofError,
    },
    /// The setup failed.
    #[error(transparent)]
    Setup(ProofError),
}

/// `$DELTABOX_CACHE/keys`, else `$XDG_CACHE_HOME/deltabox/keys`, else `$HOME/.cache/deltabox/keys`.
#[must_use]
pub fn default_dir() -> Option<PathBuf> {
    let from = |name| std::env::var_os(name).filter(|v: &OsString| !v.is_empty());
    if let Some(cache) = from("DELTABOX_CACHE") {
        return Some(PathBuf::from(cache).join("keys"));
    }
    let cache = from("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(from("HOME")?).join(".cache")))?;
    Some(cache.join("deltabox").join("keys"))
}

/// Hash of the circuit's rows: names the key that fits it.
pub(crate) fn circuit_digest(shape: &Shape) -> blake3::Hash {
    let mut hash = blake3::Hasher::new();
    for size in [shape.publics, shape.columns, shape.constraints()] {
        hash.update(&(size as u64).to_le_bytes());
    }
    let mut buffer = Vec::new();
    for matrix in &shape.matrices {
        for row in matrix {
            digest_row(row, &mut buffer);
            hash.update(&buffer);
        }
    }
    hash.finalize()
}

fn digest_row(row: &Row, buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.extend_from_slice(&(row.len() as u64).to_le_bytes());
    for (coefficient, column) in row {
        buffer.extend_from_slice(&(*column as u64).to_le_bytes());
        // The limbs as held, in Montgomery form: one-to-one, and nothing to convert.
        for limb in coefficient.0.0 {
            buffer.extend_from_slice(&limb.to_le_bytes());
        }
    }
}

/// Where the key of a circuit lies, and its hash.
struct Place {
    key: PathBuf,
    hash: PathBuf,
}

impl Place {
    fn new(dir: &Path, shape: &Shape) -> Self {
        let digest = circuit_digest(shape).to_hex();
        let key = dir.join(format!("small-{}-INSECURE-dev.pk", &digest[..16]));
        let mut hash = key.clone().into_os_string();
        hash.push(".blake3");
        Self {
            key,
            hash: hash.into(),
        }
    }

    /// `None` if there is no key yet.
    fn load(&self, shape: &Shape) -> Result<Option<Key>, KeyError> {
        let path = || self.key.clone();
        let bytes = match fs::read(&self.key) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|error| io(&self.key, error))?,
        };
        let expected = match fs::read_to_string(&self.hash) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(KeyError::NoHash { path: path() });
            }
            read => read.map_err(|error| io(&self.hash, error))?,
        };
        let expected = expected.trim().to_owned();
        let got = blake3::hash(&bytes).to_hex().to_string();
        if got != expected {
            let path = path();
            return Err(KeyError::Hash {
                path,
                got,
                expected,
            });
        }
        let key = Key::deserialize_uncompressed_unchecked(&bytes[..]).map_err(|error| {
            KeyError::Format {
                path: path(),
                why: error.to_string(),
            }
        })?;
        check_key(&key, shape).map_err(|source| KeyError::Unfit {
            path: path(),
            source,
        })?;
        Ok(Some(key))
    }

    fn store(&self, key: &Key) -> Result<(), KeyError> {
        let mut bytes = Vec::with_capacity(key.uncompressed_size());
        key.serialize_uncompressed(&mut bytes)
            .map_err(|error| KeyError::Format {
                path: self.key.clone(),
                why: error.to_string(),
            })?;
        let hash = blake3::hash(&bytes).to_hex();
        // The hash first: cut off in between, there is no key, and it is made again.
        write_whole(&self.hash, hash.as_bytes())?;
        write_whole(&self.key, &bytes)
    }
}

fn io(path: &Path, source: std::io::Error) -> KeyError {
    KeyError::Io {
        path: path.to_owned(),
        source,
    }
}

/// All of the file or nothing of it is there under its name.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|error| {
        // Best effort: the error that matters is the first.
        let _ = fs::remove_file(&temporary);
        io(path, error)
    })
}

/// Loads the circuit's key; makes it only if there is none. A key that is there and wrong is an
/// error.
pub(crate) fn load_or_create(
    dir: &Path,
    shape: &Shape,
    progress: Progress<'_>,
) -> Result<Key, KeyError> {
    let place = Place::new(dir, shape);
    progress("loading the key", 0.1);
    match place.load(shape)? {
        Some(key) => Ok(key),
        None => create(dir, &place, shape, progress),
    }
}

/// Makes the circuit's key, whatever is there.
pub(crate) fn remake(dir: &Path, shape: &Shape, progress: Progress<'_>) -> Result<Key, KeyError> {
    create(dir, &Place::new(dir, shape), shape, progress)
}

fn create(
    dir: &Path,
    place: &Place,
    shape: &Shape,
    progress: Progress<'_>,
) -> Result<Key, KeyError> {
    fs::create_dir_all(dir).map_err(|error| io(dir, error))?;
    progress("making an INSECURE development key", 0.15);
    let key = insecure_setup(shape).map_err(KeyError::Setup)?;
    check_key(&key, shape).map_err(KeyError::Setup)?;
    progress("storing the key", 0.95);
    place.store(&key)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::Fr;
    use crate::gadget::system::System;

    /// A circuit of three public inputs that takes no time to set up.
    fn small_shape(rows: u64) -> Shape {
        let mut cs = System::with_shape();
        let [a, b, c] = [2u64, 3, 6].map(|v| cs.public(Fr::from(v)));
        let product = cs.product(&a, &b);
        for _ in 0..rows {
            cs.enforce_equal(&product, &c);
        }
        cs.into_parts().1.expect("built with the shape")
    }

    fn stages(shape: &Shape, dir: &Path) -> (Result<Key, KeyError>, Vec<&'static str>) {
        let mut stages = Vec::new();
        let key = load_or_create(dir, shape, &mut |stage, _| stages.push(stage));
        (key, stages)
    }

    #[test]
    fn a_key_is_made_once_and_then_loaded() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let dir = dir.path().join("made").join("on the way");
        let shape = small_shape(1);
        let (made, first) = stages(&shape, &dir);
        let (loaded, second) = stages(&shape, &dir);
        assert_eq!(made.expect("made"), loaded.expect("loaded"));
        assert!(first.contains(&"making an INSECURE development key"));
        assert_eq!(second, ["loading the key"]);
        let mut names: Vec<String> = fs::read_dir(&dir)
            .expect("the folder")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        assert_eq!(names.len(), 2, "nothing temporary stays: {names:?}");
        assert!(names[0].ends_with("-INSECURE-dev.pk"), "{names:?}");
    }

    #[test]
    fn another_circuit_has_another_key() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let place = |rows| Place::new(dir.path(), &small_shape(rows)).key;
        assert_ne!(place(1), place(2));
        assert_eq!(place(1), place(1));
    }

    /// A change to the two files of a key.
    type Harm = fn(&Place);

    fn rewrite(place: &Place, bytes: &[u8]) {
        fs::write(&place.key, bytes).expect("writable");
        let hash = blake3::hash(bytes).to_hex();
        fs::write(&place.hash, hash.as_bytes()).expect("writable");
    }

    #[test]
    fn a_key_that_is_there_and_wrong_is_refused_until_it_is_remade() {
        let cases: [(&str, Harm); 5] = [
            ("blake3 is", |place| {
                let mut bytes = fs::read(&place.key).expect("there");
                bytes[100] ^= 1;
                fs::write(&place.key, bytes).expect("writable");
            }),
            ("no hash beside it", |place| {
                fs::remove_file(&place.hash).expect("there");
            }),
            ("not a proving key", |place| {
                let bytes = fs::read(&place.key).expect("there");
                rewrite(place, &bytes[..bytes.len() / 2]);
            }),
            ("it is of another circuit", |place| {
                let other = insecure_setup(&small_shape(9)).expect("set up");
                place.store(&other).expect("stored");
            }),
            ("gamma equals delta", |place| {
                let mut key = insecure_setup(&small_shape(1)).expect("set up");
                key.vk.gamma_g2 = key.vk.delta_g2;
                place.store(&key).expect("stored");
            }),
        ];
        let dir = tempfile::tempdir().expect("a temporary folder");
        let shape = small_shape(1);
        let honest = stages(&shape, dir.path()).0.expect("made");
        for (expected, harm) in cases {
            harm(&Place::new(dir.path(), &shape));
            let (refused, stages_of_refusal) = stages(&shape, dir.path());
            let error = refused.expect_err(expected).to_string();
            assert!(error.contains(expected), "{expected}: {error}");
            assert_eq!(stages_of_refusal, ["loading the key"], "nothing was made");
            let remade = remake(dir.path(), &shape, &mut |_, _| ()).expect(expected);
            assert_eq!(remade, honest, "the seed is fixed");
            assert_eq!(stages(&shape, dir.path()).0.expect(expected), honest);
        }
    }
}
