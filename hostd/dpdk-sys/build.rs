//! Finds the system's DPDK by pkg-config, compiles the shim and generates the bindings. Without the feature `link` it does nothing.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "link")]
    link::run();
}

#[cfg(feature = "link")]
mod link {
    use std::path::PathBuf;
    use std::process::Command;

    /// The first release whose ABI is 23, and the first that is too new: the releases between keep what we call.
    const VERSIONS: (&str, &str) = ("22.11", "23.11.99");

    /// All that is bound. Static inline functions and macros come through the shim.
    const FUNCTIONS: &str = "rte_eal_init|rte_dev_(probe|remove)|rte_strerror\
        |rte_thread_(register|unregister)|rte_epoll_(ctl|wait)\
        |rte_eth_dev_(get_port_by_name|info_get|configure|adjust_nb_rx_tx_desc|start|stop|close|socket_id)\
        |rte_eth_(rx|tx)_queue_setup|rte_eth_promiscuous_disable|rte_eth_macaddr_get\
        |rte_eth_(link_get_nowait|stats_get)|rte_eth_dev_rx_intr_(enable|disable|ctl_q)\
        |rte_pktmbuf_pool_create|rte_mempool_free|rte_mbuf_dyn_rx_timestamp_register\
        |shim_.*";
    const CONSTANTS: &str = "SHIM_.*";
    /// Only ever behind a pointer here: their layout is the library's affair.
    const OPAQUE: [&str; 3] = ["rte_mbuf", "rte_mempool", "rte_device"];
    /// Libraries of which something is called; the drivers are plug-ins that DPDK loads by itself.
    const LIBRARIES: [&str; 4] = ["rte_eal", "rte_ethdev", "rte_mbuf", "rte_mempool"];

    pub(super) fn run() {
        let library = pkg_config::Config::new()
            .range_version(VERSIONS.0..VERSIONS.1)
            .cargo_metadata(false)
            .probe("libdpdk")
            .unwrap_or_else(|e| {
                panic!(
                    "dpdk-sys needs DPDK {} to 23.11 with its headers (Debian: libdpdk-dev, pkg-config): {e}",
                    VERSIONS.0
                )
            });
        for path in &library.link_paths {
            println!("cargo::rustc-link-search=native={}", path.display());
        }
        let flags = flags();
        println!("cargo::rerun-if-changed=csrc");
        let mut shim = cc::Build::new();
        shim.file("csrc/shim.c").warnings_into_errors(true);
        for flag in &flags {
            shim.flag(flag);
        }
        // Before the libraries: it is the shim that calls them.
        shim.compile("dpdk_shim");
        for name in LIBRARIES {
            println!("cargo::rustc-link-lib={name}");
        }

        let out: PathBuf = std::env::var_os("OUT_DIR").expect("set by cargo").into();
        let opaque = |builder: bindgen::Builder, name: &&str| {
            let line = format!("#[repr(C)] pub struct {name} {{ _opaque: [u8; 0] }}");
            builder
                .opaque_type(format!("{name}.*"))
                .blocklist_type(format!("{name}(__.*)?"))
                .raw_line(line)
        };
        OPAQUE
            .iter()
            .fold(bindgen::Builder::default(), opaque)
            .header("csrc/shim.h")
            .clang_args(&flags)
            .allowlist_function(FUNCTIONS)
            .allowlist_var(CONSTANTS)
            .layout_tests(false)
            .generate_comments(false)
            .derive_default(true)
            .use_core()
            .generate()
            .expect("bindgen reads DPDK's headers")
            .write_to_file(out.join("bindings.rs"))
            .expect("the bindings can be written");
    }

    /// The compiler's arguments as pkg-config has them: its crate keeps only paths and defines, and DPDK also
    /// wants its instruction set and an included file.
    fn flags() -> Vec<String> {
        let program = std::env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".into());
        let output = Command::new(program)
            .args(["--cflags", "libdpdk"])
            .output()
            .expect("pkg-config ran a moment ago");
        assert!(output.status.success(), "pkg-config --cflags libdpdk");
        let text = String::from_utf8(output.stdout).expect("flags are text");
        text.split_whitespace().map(str::to_owned).collect()
    }
}
