//! Any network card that DPDK has a driver for, polled from user space.
//!
//! DPDK is begun once in a process, with the arguments of `[net.dpdk]`; the rest is one port with one queue each
//! way and one pool of frames, taken at start.

mod eal;
mod port;
mod watch;

use super::Endpoint;
use super::raw::{Finder, Host, NoRoom, RawNic, Route, Routes, TooManyRoutes, Way};
use crate::config::DpdkSection;
use crate::machine::ipv4_net::Ipv4Net;
use firmware::wire::frame::Station;

pub use port::Port;

/// A NIC over a port of DPDK. It answers ARP for the addresses of its sockets, which no kernel has.
pub type DpdkNic = RawNic<Port>;

impl DpdkNic {
    /// Opens the port of `section` with a socket at each of `locals`.
    ///
    /// # Errors
    /// What DPDK or the configuration makes impossible.
    pub fn open(section: &DpdkSection, locals: &[Endpoint]) -> Result<Self, DpdkError> {
        let routes = routes(section)?;
        let port = Port::open(section)?;
        let host = Host {
            station: Station {
                mac: port.mac(),
                vlan: section.vlan,
            },
            locals: locals.to_vec(),
            routes,
            neighbours: section.neighbours.clone(),
        };
        Ok(Self::new(port, host, Finder::Arp)?)
    }
}

/// Why DPDK or its port could not be had.
#[derive(Debug, thiserror::Error)]
pub enum DpdkError {
    /// More than there is room for.
    #[error(transparent)]
    Routes(#[from] TooManyRoutes),
    /// More than there is room for.
    #[error(transparent)]
    Neighbours(#[from] NoRoom),
    /// It cannot be begun twice in a process.
    #[error("DPDK runs in this process already, with other arguments")]
    StartedOtherwise,
    /// One owner has a port.
    #[error("DPDK: this process has {0} open already")]
    Taken(String),
    /// It refused.
    #[error("DPDK: {op}: {reason}")]
    Refused {
        /// What was being done.
        op: &'static str,
        /// Its answer, with the end of its log.
        reason: String,
    },
}

impl DpdkError {
    fn refused(op: &'static str, reason: &str) -> Self {
        let reason = reason.to_owned();
        Self::Refused { op, reason }
    }

    /// The failure `code`, as DPDK returns it: negative.
    fn told(op: &'static str, code: i32) -> Self {
        let reason = eal::reason(code);
        Self::Refused { op, reason }
    }
}

/// Its own network, and the gateway for all else.
fn routes(section: &DpdkSection) -> Result<Routes, TooManyRoutes> {
    let near = Route {
        net: section.network,
        way: Way::Neighbours,
    };
    let far = section.gateway.map(|gateway| Route {
        net: Ipv4Net::ALL,
        way: Way::Gateway(gateway),
    });
    let all: Vec<Route> = std::iter::once(near).chain(far).collect();
    Routes::new(&all)
}
