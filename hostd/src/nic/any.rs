//! The backend that the configuration names.

use super::xdp::{self, XdpNic};
use super::{Endpoint, Nic, NicCounters, RxBurst, TxFull, UringNic};
use crate::config::{Backend, Net, Polling};
use crate::machine::log;
use lane::Parker;
use std::io;
use std::time::Duration;

/// One of the backends. Which one is asked anew in every call, and every time the answer is the same: cheaper than a
/// call that the compiler cannot see through.
#[allow(clippy::large_enum_variant, reason = "there is one in a process")]
pub enum AnyNic {
    /// Kernel sockets.
    Uring(UringNic),
    /// A port of DPDK.
    #[cfg(feature = "dpdk")]
    Dpdk(super::dpdk::DpdkNic),
    /// A kernel driver's queues.
    Xdp(Box<XdpNic>),
}

impl AnyNic {
    /// Opens the backend of `[net]` with these sockets.
    ///
    /// # Errors
    /// What the backend says.
    pub fn open(net: &Net, sockets: &[Endpoint]) -> anyhow::Result<Self> {
        Ok(match net.backend {
            Backend::Uring => {
                let mut nic = UringNic::open(sockets)?;
                if let Polling::Adaptive { linger_ns } = net.polling() {
                    // Without it the device's interrupts wake the tile.
                    nic.busy_poll(Duration::from_nanos(linger_ns));
                }
                Self::Uring(nic)
            }
            #[cfg(feature = "dpdk")]
            Backend::Dpdk => {
                let section = net.dpdk.as_ref().expect("checked with the configuration");
                Self::Dpdk(super::dpdk::DpdkNic::open(section, sockets)?)
            }
            #[cfg(not(feature = "dpdk"))]
            Backend::Dpdk => anyhow::bail!("this hostd was built without the feature dpdk"),
            Backend::Xdp => {
                let section = net.xdp.as_ref().expect("checked with the configuration");
                let nic = xdp::open(section, sockets)?;
                log::event("nic", &[("backend", &"xdp"), ("got", &nic.port().got())]);
                Self::Xdp(Box::new(nic))
            }
        })
    }
}

/// The same call on whichever it is.
macro_rules! each {
    ($self:expr, $nic:ident => $call:expr) => {
        match $self {
            AnyNic::Uring($nic) => $call,
            #[cfg(feature = "dpdk")]
            AnyNic::Dpdk($nic) => $call,
            AnyNic::Xdp($nic) => $call,
        }
    };
}

impl Nic for AnyNic {
    #[inline]
    fn poll(&mut self, rx: &mut RxBurst) -> io::Result<usize> {
        each!(self, nic => nic.poll(rx))
    }

    #[inline]
    fn send(&mut self, socket: usize, to: Endpoint, payload: &[u8]) -> Result<(), TxFull> {
        each!(self, nic => nic.send(socket, to, payload))
    }

    #[inline]
    fn flush(&mut self) {
        each!(self, nic => nic.flush());
    }

    fn wait(&mut self, tile: &Parker, timeout: Duration) -> io::Result<()> {
        each!(self, nic => nic.wait(tile, timeout))
    }

    fn counters(&self) -> &NicCounters {
        each!(self, nic => nic.counters())
    }
}

#[cfg(all(test, not(feature = "dpdk")))]
mod tests {
    use super::AnyNic;
    use crate::config::Net;

    #[test]
    fn a_backend_that_was_not_built_is_named() {
        let text = "backend = \"dpdk\"\norder_entry = \"127.0.0.1:4000\"";
        let net: Net = toml::from_str(text).unwrap();
        let Err(error) = AnyNic::open(&net, &[]) else {
            panic!("it opened")
        };
        assert_eq!(
            error.to_string(),
            "this hostd was built without the feature dpdk"
        );
    }
}
