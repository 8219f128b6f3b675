//! With the feature `verilator`: makes a C++ model of the RTL and links it in.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "verilator")]
    model::build();
}

#[cfg(feature = "verilator")]
mod model {
    use std::path::{Path, PathBuf};
    use std::process::Command;

    pub(crate) fn build() {
        let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
        let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
        let (rtl, lint) = (here.join("../rtl"), here.join("../lint"));
        for watched in [&rtl, &lint, &here.join("csrc")] {
            println!("cargo::rerun-if-changed={}", watched.display());
        }
        let model = out.join("model");
        let _ = std::fs::remove_dir_all(&model);
        let list = std::fs::read_to_string(rtl.join("files.f")).expect("hw/rtl/files.f");
        let status = Command::new("verilator")
            .args(
                "--cc -O3 --x-assign fast --x-initial fast --noassert --top-module deltabox_nic"
                    .split(' '),
            )
            .args(["--prefix", "Vnic", "-Wall", "--Mdir"])
            .arg(&model)
            .arg(format!("-I{}", rtl.display()))
            .arg(lint.join("waivers.vlt"))
            .args(list.lines().map(|name| rtl.join(name)))
            .status()
            .expect("verilator does not run: the feature `verilator` needs it");
        assert!(status.success(), "verilator refuses the RTL");
        compile(&here, &model);
    }

    fn compile(here: &Path, model: &Path) {
        let root = Command::new("verilator")
            .args(["--getenv", "VERILATOR_ROOT"])
            .output()
            .expect("verilator ran before");
        let root = String::from_utf8(root.stdout).expect("a path in UTF-8");
        let include = PathBuf::from(root.trim()).join("include");
        let mut sources: Vec<PathBuf> = std::fs::read_dir(model)
            .expect("verilator made it")
            .map(|entry| entry.expect("readable").path())
            .filter(|path| path.extension().is_some_and(|e| e == "cpp"))
            .collect();
        sources.sort();
        sources.push(include.join("verilated.cpp"));
        sources.push(include.join("verilated_threads.cpp"));
        sources.push(here.join("csrc/model.cpp"));
        cc::Build::new()
            .cpp(true)
            .std("c++17")
            .opt_level(2)
            .debug(false)
            .warnings(false)
            .flag_if_supported("-faligned-new")
            .include(model)
            .include(&include)
            .include(include.join("vltstd"))
            .define("VM_TRACE", "0")
            .define("VM_COVERAGE", "0")
            .files(sources)
            .compile("nic_model");
        println!("cargo::rustc-link-lib=pthread");
        println!("cargo::rustc-link-lib=atomic");
    }
}
