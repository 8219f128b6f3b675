//! Writes a Solidity verifier from a verifying key file, or checks that the one written is fresh.
//!
//! `cargo run -p l1 --example render_verifier -- KEY.json OUT.sol [--check]`
//!
//! The contract is named after the output file. Run `node proof/l1/build.mjs` afterwards.

use std::path::Path;
use std::process::ExitCode;

use l1::{VerifyingKeyWords, render_verifier};

fn run(args: &[String]) -> Result<(), String> {
    let (key, out, check) = match args {
        [key, out] => (key, Path::new(out), false),
        [key, out, flag] if flag == "--check" => (key, Path::new(out), true),
        _ => return Err("usage: render_verifier KEY.json OUT.sol [--check]".to_owned()),
    };
    let key = VerifyingKeyWords::read(Path::new(key)).map_err(|e| e.to_string())?;
    let name = out
        .file_stem()
        .and_then(|s| s.to_str())
        .ok_or("the output has no name")?;
    let text = render_verifier(&key, name, "./IVerifier.sol").map_err(|e| e.to_string())?;
    let said = |e: std::io::Error| format!("{}: {e}", out.display());
    if !check {
        return std::fs::write(out, text).map_err(said);
    }
    if std::fs::read_to_string(out).map_err(said)? == text {
        return Ok(());
    }
    Err(format!(
        "{} is stale: run this without --check",
        out.display()
    ))
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}
