//! The part of DPDK's C interface that `hostd`'s NIC backend `dpdk` calls, generated from the headers of the
//! machine that builds it. Empty without the feature `link`. What is bound and how to use it: `README.md`.
//!
//! Names are DPDK's own; what starts with `shim_` is `csrc/shim.c`, which turns static inline functions into
//! plain ones. An mbuf is opaque here: its layout differs between releases, and only the shim looks into it.
#![cfg(feature = "link")]
#![allow(
    missing_docs,
    non_camel_case_types,
    non_upper_case_globals,
    rustdoc::all,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    reason = "generated"
)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
