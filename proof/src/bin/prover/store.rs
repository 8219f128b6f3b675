//! Proofs on disk: one JSON file a batch, written whole or not at all, so that a prover that was killed goes on
//! where it was. The proof and its public signals are laid out as snarkjs lays them out.

use crate::out::hex;
use anyhow::{Context, anyhow, bail, ensure};
use l1::{Address, ProvenBatch, U256, Withdrawal};
use proof::{BatchProof, ChainContext, WORDS};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// First line of every file.
const FORMAT: &str = "deltabox proof 1";
/// What every mention of the key says.
pub(crate) const KEY_WARNING: &str =
    "INSECURE development key from a fixed seed: anyone can forge proofs for it";
/// Public words before the rows.
const HEAD: [&str; 11] = [
    "tier",
    "chain id",
    "contract",
    "batch number",
    "old root",
    "new root",
    "journal hash",
    "last record",
    "time",
    "number of deposits",
    "number of withdrawals",
];
/// Words of the rows of one kind: 8 rows of account, owner, amount.
const ROWS: usize = (WORDS - HEAD.len()) / 2;

const _: () = assert!(HEAD.len() + 2 * ROWS == WORDS && ROWS == 24);

/// A word as it stands in a message.
pub(crate) fn word_name(place: usize) -> String {
    if let Some(name) = HEAD.get(place) {
        return (*name).to_owned();
    }
    let place = place - HEAD.len();
    let (kind, place) = if place < ROWS {
        ("deposit", place)
    } else {
        ("withdrawal", place - ROWS)
    };
    let field = ["account", "owner", "amount"][place % 3];
    format!("{field} of {kind} row {}", place / 3)
}

/// Groth16 points in snarkjs's layout: decimal, affine with a third coordinate, c0 before c1.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Points {
    pi_a: [String; 3],
    pi_b: [[String; 2]; 3],
    pi_c: [String; 3],
    protocol: String,
    curve: String,
}

/// The transaction that brought a batch to L1.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OnChain {
    pub(crate) tx: String,
    pub(crate) block: u64,
    pub(crate) gas: u64,
}

/// A proof file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stored {
    format: String,
    key: String,
    pub(crate) batch_no: u64,
    pub(crate) prove_ms: u64,
    proof: Points,
    #[serde(rename = "publicSignals")]
    public_signals: [String; 3],
    words: Vec<String>,
    /// Nothing while L1 is not known to have it.
    pub(crate) committed: Option<OnChain>,
}

/// A word as a decimal number.
pub(crate) fn decimal(word: &[u8]) -> String {
    U256::from_be_slice(word).to_string()
}

fn number(text: &str) -> anyhow::Result<[u8; 32]> {
    let number = U256::from_str_radix(text, 10);
    let number = number.map_err(|e| anyhow!("'{text}' is no decimal number: {e}"))?;
    // One number, one text: otherwise a file could change and still say the same.
    ensure!(
        number.to_string() == text,
        "'{text}' is written otherwise than {number}"
    );
    Ok(number.to_be_bytes())
}

fn word(text: &str) -> anyhow::Result<[u8; 32]> {
    let digits = text.strip_prefix("0x").filter(|d| d.len() == 64);
    let number = digits.and_then(|d| U256::from_str_radix(d, 16).ok());
    let word = number.map(|n| n.to_be_bytes::<32>());
    word.filter(|w| hex(w) == text)
        .with_context(|| format!("'{text}' is not 0x and 64 lower-case hex digits"))
}

impl Points {
    fn of(proof: &[u8; 256]) -> Self {
        let at = |n: usize| decimal(&proof[32 * n..32 * (n + 1)]);
        let (zero, one) = ("0".to_owned(), "1".to_owned());
        Self {
            pi_a: [at(0), at(1), one.clone()],
            // The EVM wants c1 before c0.
            pi_b: [[at(3), at(2)], [at(5), at(4)], [one.clone(), zero]],
            pi_c: [at(6), at(7), one],
            protocol: "groth16".to_owned(),
            curve: "bn128".to_owned(),
        }
    }

    fn bytes(&self) -> anyhow::Result<[u8; 256]> {
        let [[bx0, bx1], [by0, by1], [one, zero]] = &self.pi_b;
        let affine = [&self.pi_a[2], &self.pi_c[2], one]
            .iter()
            .all(|n| *n == "1")
            && zero == "0";
        ensure!(affine, "proof: a point is not affine");
        ensure!(
            self.protocol == "groth16" && self.curve == "bn128",
            "proof: {} over {}, not groth16 over bn128",
            self.protocol,
            self.curve
        );
        let ([ax, ay, _], [cx, cy, _]) = (&self.pi_a, &self.pi_c);
        let mut bytes = [0; 256];
        let coordinates = [ax, ay, bx1, bx0, by1, by0, cx, cy];
        for (place, text) in bytes.chunks_exact_mut(32).zip(coordinates) {
            place.copy_from_slice(&number(text).context("proof")?);
        }
        Ok(bytes)
    }
}

impl Stored {
    pub(crate) fn new(batch_no: u64, prove_ms: u64, proof: &BatchProof) -> Self {
        Self {
            format: FORMAT.to_owned(),
            key: KEY_WARNING.to_owned(),
            batch_no,
            prove_ms,
            proof: Points::of(&proof.proof_evm),
            public_signals: [&proof.c, &proof.z, &proof.y].map(|w| decimal(w)),
            words: proof.words.iter().map(|w| hex(w)).collect(),
            committed: None,
        }
    }

    /// Reads one file, whatever its name.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let name = || path.display().to_string();
        let text = fs::read(path).with_context(name)?;
        Self::parse(&text).with_context(name)
    }

    /// Reads the content of a file.
    pub(crate) fn parse(text: &[u8]) -> anyhow::Result<Self> {
        let stored: Self = serde_json::from_slice(text)?;
        ensure!(
            stored.format == FORMAT,
            "format '{}', this release reads '{FORMAT}'",
            stored.format
        );
        ensure!(
            stored.key == KEY_WARNING,
            "key '{}', all keys of this release are the {KEY_WARNING}",
            stored.key
        );
        ensure!(
            stored.words.len() == WORDS,
            "{} words, this tier has {WORDS}",
            stored.words.len()
        );
        let named = small(&word(&stored.words[3])?, 3)?;
        ensure!(
            named == stored.batch_no,
            "batch number {}, its words say {named}",
            stored.batch_no
        );
        Ok(stored)
    }

    /// The proof and its public signals as snarkjs takes them.
    pub(crate) fn as_snarkjs(&self) -> anyhow::Result<(Value, Value)> {
        Ok((
            serde_json::to_value(&self.proof)?,
            serde_json::to_value(&self.public_signals)?,
        ))
    }

    /// The proof with its words, not verified.
    pub(crate) fn batch_proof(&self) -> anyhow::Result<BatchProof> {
        let words: anyhow::Result<Vec<_>> = self.words.iter().map(|w| word(w)).collect();
        let [c, z, y] = &self.public_signals;
        let signal = |text: &String| number(text).context("public signal");
        Ok(BatchProof {
            proof_evm: self.proof.bytes()?,
            words: words.context("words")?,
            c: signal(c)?,
            z: signal(z)?,
            y: signal(y)?,
        })
    }
}

/// The public words of a proof, read.
pub(crate) struct Words<'a>(pub(crate) &'a [[u8; 32]]);

fn small(word: &[u8; 32], place: usize) -> anyhow::Result<u64> {
    let value = U256::from_be_bytes(*word);
    u64::try_from(value).map_err(|_| anyhow!("{} is beyond 64 bits", word_name(place)))
}

impl Words<'_> {
    pub(crate) fn batch_no(&self) -> anyhow::Result<u64> {
        small(&self.0[3], 3)
    }

    pub(crate) fn old_root(&self) -> U256 {
        U256::from_be_bytes(self.0[4])
    }

    pub(crate) fn new_root(&self) -> U256 {
        U256::from_be_bytes(self.0[5])
    }

    /// The contract that the proof is for, in words, if it is another than this one.
    pub(crate) fn other_contract(&self, chain: &ChainContext) -> Option<String> {
        let mut contract = [0; 32];
        contract[12..].copy_from_slice(&chain.contract);
        let chain_id = U256::from(chain.chain_id).to_be_bytes::<32>();
        (self.0[1] != chain_id || self.0[2] != contract).then(|| {
            format!(
                "contract {} on chain {}",
                hex(&self.0[2][12..]),
                U256::from_be_bytes(self.0[1])
            )
        })
    }
}

/// The proof as the contract takes it.
pub(crate) fn proven_batch(proof: &BatchProof) -> anyhow::Result<ProvenBatch> {
    let words = &proof.words;
    ensure!(words.len() == WORDS, "{} words", words.len());
    let at = |place: usize| small(&words[place], place);
    let used = at(10)?;
    ensure!(
        used <= ROWS as u64 / 3,
        "{used} withdrawals are more than the tier holds"
    );
    let first = HEAD.len() + ROWS;
    let mut withdrawals = Vec::new();
    for row in 0..used as usize {
        let place = first + 3 * row;
        withdrawals.push(Withdrawal {
            account: u32::try_from(at(place)?).with_context(|| word_name(place))?,
            owner: Address::from_slice(&words[place + 1][12..]),
            amount_micro: at(place + 2)?,
        });
    }
    let mut points = [U256::ZERO; 8];
    for (point, bytes) in points.iter_mut().zip(proof.proof_evm.chunks_exact(32)) {
        *point = U256::from_be_slice(bytes);
    }
    Ok(ProvenBatch {
        batch_no: at(3)?,
        new_root: U256::from_be_bytes(words[5]),
        journal_hash: U256::from_be_bytes(words[6]),
        last_seq: at(7)?,
        time_ns: at(8)?,
        deposit_count: at(9)?,
        withdrawals,
        commitment: U256::from_be_bytes(proof.c),
        proof: points,
    })
}

/// The folder of a venue's proofs.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    dir: PathBuf,
}

impl Store {
    /// The proofs of the venue in `data`.
    pub(crate) fn new(data: &Path) -> Self {
        Self {
            dir: data.join("proofs"),
        }
    }

    /// Makes the folder and keeps other provers out of it for as long as the file lives.
    pub(crate) fn lock(&self) -> anyhow::Result<File> {
        let dir = self.dir.display();
        fs::create_dir_all(&self.dir).with_context(|| dir.to_string())?;
        let path = self.dir.join("lock");
        let file = File::create(&path).with_context(|| path.display().to_string())?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => bail!("another prover works in {dir}"),
            Err(TryLockError::Error(e)) => Err(e).with_context(|| path.display().to_string()),
        }
    }

    /// Where the proof of a batch is, or would be.
    pub(crate) fn path(&self, batch_no: u64) -> PathBuf {
        self.dir.join(format!("proof-{batch_no:08}.json"))
    }

    /// The stored proof of a batch.
    pub(crate) fn load(&self, batch_no: u64) -> anyhow::Result<Option<Stored>> {
        let path = self.path(batch_no);
        if !path
            .try_exists()
            .with_context(|| path.display().to_string())?
        {
            return Ok(None);
        }
        let stored = Stored::read(&path)?;
        if stored.batch_no != batch_no {
            bail!(
                "{}: it is the proof of batch {}",
                path.display(),
                stored.batch_no
            );
        }
        Ok(Some(stored))
    }

    /// Writes a proof so that it is there whole, or not at all, whenever this process ends.
    pub(crate) fn save(&self, stored: &Stored) -> anyhow::Result<()> {
        let path = self.path(stored.batch_no);
        let mut text = serde_json::to_vec_pretty(stored).context("proof")?;
        text.push(b'\n');
        let beside = path.with_extension("json.new");
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&beside)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&beside, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        write().with_context(|| path.display().to_string())
    }

    /// Numbers of all batches that have a proof here, rising.
    pub(crate) fn list(&self) -> anyhow::Result<Vec<u64>> {
        let mut found = Vec::new();
        let entries = match fs::read_dir(&self.dir) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(found),
            entries => entries.with_context(|| self.dir.display().to_string())?,
        };
        for entry in entries {
            let name = entry.context("proofs")?.file_name();
            let number: Option<u64> = name.to_str().and_then(|n| {
                n.strip_prefix("proof-")?
                    .strip_suffix(".json")?
                    .parse()
                    .ok()
            });
            found.extend(number);
        }
        found.sort_unstable();
        Ok(found)
    }
}
