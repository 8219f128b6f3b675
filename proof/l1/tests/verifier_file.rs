//! The generated verifiers are what the keys say.

#[path = "common/tiny.rs"]
#[allow(dead_code)]
mod tiny;

#[test]
fn the_test_verifier_is_the_one_made_from_the_test_key() {
    let text =
        l1::render_verifier(&tiny::verifying_key(), "TinyVerifier", "../IVerifier.sol").unwrap();
    if std::env::var_os("WRITE_TINY_VERIFIER").is_some() {
        std::fs::write(tiny::contract_path(), &text).unwrap();
    }
    let kept = std::fs::read_to_string(tiny::contract_path()).unwrap_or_default();
    assert!(
        kept == text,
        "{} is stale: run this test with WRITE_TINY_VERIFIER=1, then node proof/l1/build.mjs",
        tiny::contract_path().display()
    );
}
