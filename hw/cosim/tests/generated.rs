//! What is generated from the constants is as they are.

use std::path::{Path, PathBuf};

use cosim::map;

const BEGIN: &str = "<!-- generated: registers -->\n";
const END: &str = "<!-- end: registers -->";

fn hold(path: &Path, want: &str) {
    let is = std::fs::read_to_string(path).unwrap_or_default();
    if is == want {
        return;
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, want).expect("can be written");
        return;
    }
    panic!(
        "{} is stale: UPDATE=1 cargo test -p cosim --test generated",
        path.display()
    );
}

fn hw() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn the_constants_of_the_rtl_are_those_of_the_firmware() {
    hold(&hw().join("rtl/deltabox.svh"), &map::header());
}

#[test]
fn the_readme_shows_the_register_map() {
    let path = hw().join("README.md");
    let text = std::fs::read_to_string(&path).expect("hw/README.md");
    let begin = text.find(BEGIN).expect("begin mark") + BEGIN.len();
    let end = text.find(END).expect("end mark");
    let want = format!("{}{}{}", &text[..begin], map::tables(), &text[end..]);
    hold(&path, &want);
}
