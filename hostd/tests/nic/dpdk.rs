//! DPDK's drivers that need no card: over a cable between namespaces, and over a tap.

use crate::conformance::conformance;
use crate::far::Far;
use crate::veth::{self, BOX_INTERFACE, BOX_IP, NETWORK, Veth};
use hostd::config::DpdkSection;
use hostd::nic::Endpoint;
use hostd::nic::dpdk::DpdkNic;
use std::cell::RefCell;

/// One environment serves all tests of the process.
pub(crate) fn section(port: &str) -> DpdkSection {
    DpdkSection {
        eal: ["--no-huge", "--no-pci", "-m", "512"]
            .map(str::to_owned)
            .to_vec(),
        port: port.to_owned(),
        network: NETWORK.parse().unwrap(),
        gateway: None,
        vlan: None,
        neighbours: vec![],
    }
}

fn conforms_over_cables(what: &str, port: &str, longest: usize) {
    // One for each part: a driver may hold its interface as long as the process lives (af_xdp does).
    let Some(first) = Veth::new(what) else {
        return;
    };
    let (first, used) = (RefCell::new(Some(first)), RefCell::new(Vec::new()));
    conformance(|_| {
        let cable = first.take().or_else(|| Veth::new(what));
        let cable = cable.expect("a moment ago it could be made");
        let locals = [5000, 5001].map(|p| Endpoint::new(BOX_IP, p));
        let nic = cable.at_box(|| DpdkNic::open(&section(port), &locals).unwrap());
        used.borrow_mut().push(cable);
        (nic, locals, Far::open(longest))
    });
}

#[test]
fn dpdk_conforms_on_af_packet() {
    let port = format!("net_af_packet0,iface={BOX_INTERFACE},framecnt=2048");
    // It asks the kernel to put fragments together, and has room for two kilobytes.
    conforms_over_cables("af-packet", &port, 1900);
}

#[test]
fn dpdk_conforms_on_af_xdp() {
    let port = format!("net_af_xdp0,iface={BOX_INTERFACE},busy_budget=0");
    conforms_over_cables("af-xdp", &port, veth::DATAGRAM_MAX);
}
