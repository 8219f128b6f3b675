//! A bare echo over the configured NIC backend: each datagram goes back to where it came from, and nothing else is
//! done with it. Sockets, burst, spinning and sleeping are those of the gateway, so that the round trip through
//! this is what the network and the backend cost, and the rest of the box's round trip is the box.

use crate::config::Config;
use crate::machine::clock::{Clock, RealClock};
use crate::nic::{AnyNic, Nic, RxBurst};
use crate::tiles::boot::settle;
use crate::tiles::tile::{PARK, Wait};
use crate::tiles::topology::{Stage, plan};
use anyhow::Context as _;
use firmware::units::TimeNs;
use lane::Parker;

/// Echoes on the sockets of `[net]`, on the gateway's core and with its priority, until the process is killed.
///
/// # Errors
/// If the sockets cannot be opened, or the backend cannot go on.
pub fn run(config: &Config) -> anyhow::Result<()> {
    let tiles = plan(&config.topology, config.net.polling()).map_err(anyhow::Error::msg)?;
    let gateway = tiles
        .iter()
        .find(|p| p.tile.stages.contains(&Stage::Gateway))
        .expect("every stage has a tile");
    settle(gateway)?;
    let mut sockets = vec![config.net.order_entry];
    sockets.extend(config.net.order_entry_b);
    let nic = AnyNic::open(&config.net, &sockets).context("net")?;
    println!("hostd: ready");
    Echo::new(nic)?.run(gateway.wait)
}

/// The echo's only loop.
struct Echo<N> {
    nic: N,
    parker: Parker,
    burst: RxBurst,
}

impl<N: Nic> Echo<N> {
    fn new(nic: N) -> anyhow::Result<Self> {
        Ok(Self {
            nic,
            parker: Parker::new()?,
            burst: RxBurst::new(),
        })
    }

    fn run(&mut self, wait: Wait) -> anyhow::Result<()> {
        let mut clock = RealClock::starting_after(TimeNs(0));
        let mut worked = TimeNs(0);
        loop {
            let now = clock.now();
            if self.turn()? > 0 {
                worked = now;
            }
            if let Wait::Park { linger_ns } = wait
                && now.0 - worked.0 > linger_ns
            {
                self.parker.announce();
                self.nic.wait(&self.parker, PARK)?;
                self.parker.resume();
            }
        }
    }

    /// Takes a burst and sends it back; what the NIC has no room for is dropped, as a full wire would do.
    fn turn(&mut self) -> anyhow::Result<usize> {
        let count = self.nic.poll(&mut self.burst)?;
        for frame in self.burst.iter() {
            // The counters of the NIC say how often.
            let _ = self.nic.send(frame.socket, frame.from, frame.payload);
        }
        self.nic.flush();
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::Echo;
    use crate::nic::{Endpoint, UringNic};
    use std::net::{Ipv4Addr, UdpSocket};

    #[test]
    fn every_datagram_comes_back_as_it_was_and_in_order() {
        let nic = UringNic::open(&[Endpoint::new(Ipv4Addr::LOCALHOST, 0)]).unwrap();
        let at = nic.local(0);
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(at).unwrap();
        client.set_nonblocking(true).unwrap();
        let mut echo = Echo::new(nic).unwrap();
        // The ring belongs to the thread that polls it first, so both ends take turns here.
        let (mut sent, mut back) = (0u32, 0u32);
        let mut buf = [0; 2048];
        while back < 500 {
            if sent < 500 && sent < back + 50 {
                let payload = vec![sent as u8; 1 + sent as usize * 2];
                client.send(&payload).unwrap();
                sent += 1;
            }
            echo.turn().unwrap();
            while let Ok(len) = client.recv(&mut buf) {
                assert_eq!(buf[..len], vec![back as u8; 1 + back as usize * 2]);
                back += 1;
            }
        }
        assert_eq!(echo.turn().unwrap(), 0);
    }
}
