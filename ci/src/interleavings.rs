//! The lane under loom: every interleaving of short runs, and every stale read that the memory model allows.

use anyhow::{Result, ensure};

use crate::step::Step;

/// Switches of threads in the middle of their work, in one run of a model. Seconds for this bound; the next
/// takes about ten times as long.
const PREEMPTIONS_MAX: &str = "3";

const MODELS: &str = "test --locked --package lane --test loom";

pub(crate) fn check(step: &mut Step<'_>) -> Result<String> {
    let bound = std::env::var("LOOM_MAX_PREEMPTIONS").unwrap_or_else(|_| PREEMPTIONS_MAX.into());
    let mut command = step.place.cargo();
    command
        .args(MODELS.split(' '))
        // A folder of its own: the flag would build everything in the shared one anew.
        .env("CARGO_TARGET_DIR", step.place.target.join("loom"))
        .env("RUSTFLAGS", "--cfg loom")
        .env("LOOM_MAX_PREEMPTIONS", &bound);
    step.run(&mut command)?;
    let models = step.tests.passed;
    ensure!(models > 0, "no model ran");
    Ok(format!("{models} models, up to {bound} preemptions each"))
}
