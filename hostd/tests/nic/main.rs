//! What every NIC backend must do, run against each. The other end is a plain UDP socket; for the network in memory,
//! one of its own.

mod conformance;
#[cfg(feature = "dpdk")]
mod dpdk;
mod far;
mod malformed;
#[path = "../veth/mod.rs"]
mod veth;
mod xdp;

use conformance::{FEED, ORDERS, Peer, conformance, peer};
use hostd::nic::sim::{SimNet, SimNic, SimPeer};
use hostd::nic::{Endpoint, Nic, NicError, RxBurst, UringNic};
use std::net::Ipv4Addr;

/// A peer in the network in memory, whose time it keeps to the wall clock.
struct Simulated(SimNet, SimPeer);

impl Peer for Simulated {
    fn address(&self) -> Endpoint {
        self.1.local(0)
    }

    fn tell(&self, to: Endpoint, payload: &[u8]) {
        self.0.advance_to(hostd::machine::clock::wall_clock());
        self.1.send(0, to, payload);
    }

    fn hear(&self, buffer: &mut [u8]) -> (usize, Endpoint) {
        let got = self.1.receive(buffer).expect("what was flushed is there");
        (got.len, got.from)
    }

    fn share(&self) -> Self {
        Self(self.0.clone(), self.1.clone())
    }

    fn another(&self) -> Self {
        let any = Endpoint::new(Ipv4Addr::LOCALHOST, 0);
        Self(self.0.clone(), SimPeer::open(&self.0, &[any]).unwrap())
    }
}

fn open_uring(locals: &[Endpoint]) -> (UringNic, [Endpoint; 2]) {
    let nic = UringNic::open(locals).unwrap();
    let locals = [nic.local(ORDERS), nic.local(FEED)];
    (nic, locals)
}

#[test]
fn the_io_uring_backend_conforms() {
    conformance(|locals| {
        let (nic, locals) = open_uring(locals);
        (nic, locals, peer())
    });
}

#[test]
fn io_uring_conforms_on_a_cable() {
    let Some(veth) = veth::Veth::new("uring") else {
        return;
    };
    veth.give_box_its_address();
    conformance(|_| {
        let any = Endpoint::new(veth::BOX_IP, 0);
        let (nic, locals) = veth.at_box(|| open_uring(&[any; 2]));
        (nic, locals, far::Far::open(65_507))
    });
    // The kernel drops what is broken, and says so in counters of its own.
    let any = Endpoint::new(veth::BOX_IP, 0);
    let (mut nic, locals) = veth.at_box(|| open_uring(&[any; 2]));
    malformed::every_fault_is_counted(&mut nic, locals[ORDERS], malformed::Judge::Kernel);
}

#[test]
fn the_network_in_memory_conforms() {
    conformance(|locals| {
        let net = SimNet::new(1, hostd::machine::clock::wall_clock());
        let nic = SimNic::open(&net, locals).unwrap();
        let other = SimPeer::open(&net, &locals[..1]).unwrap();
        let locals = [nic.local(ORDERS), nic.local(FEED)];
        (nic, locals, Simulated(net, other))
    });
}

#[test]
fn a_backend_opened_on_one_thread_runs_on_another() {
    let (mut nic, locals) = open_uring(&[Endpoint::new(Ipv4Addr::LOCALHOST, 0); 2]);
    let peer = peer();
    // Sent before anybody receives: the socket keeps it.
    peer.send_to(b"early", locals[ORDERS]).unwrap();
    std::thread::spawn(move || {
        let mut rx = RxBurst::new();
        while nic.poll(&mut rx).unwrap() == 0 {
            std::hint::spin_loop();
        }
        assert_eq!(rx.get(0).payload, b"early");
    })
    .join()
    .unwrap();
}

#[test]
fn a_port_in_use_is_named() {
    let (_first, locals) = open_uring(&[Endpoint::new(Ipv4Addr::LOCALHOST, 0); 2]);
    let Err(error) = UringNic::open(&locals[..1]) else {
        panic!("two owners of a port")
    };
    assert!(matches!(error, NicError::Busy(at) if at == locals[0]));
    let port = locals[0].port();
    assert_eq!(
        error.to_string(),
        format!("UDP 127.0.0.1:{port} is in use by another process")
    );
}

#[test]
fn an_address_of_another_machine_is_named() {
    let Err(error) = UringNic::open(&[Endpoint::new(Ipv4Addr::new(192, 0, 2, 1), 0)]) else {
        panic!("not our address")
    };
    assert!(
        error.to_string().starts_with("UDP 192.0.2.1:0: bind: "),
        "{error}"
    );
}

#[test]
#[should_panic(expected = "0 bytes")]
fn sending_nothing_is_a_mistake() {
    let (mut nic, locals) = open_uring(&[Endpoint::new(Ipv4Addr::LOCALHOST, 0); 2]);
    let _ = nic.send(ORDERS, locals[FEED], b"");
}
