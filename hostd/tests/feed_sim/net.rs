//! A network of datagrams that loses, repeats and delays by seed, and whose links can be cut.

use client::{Source, Wire};
use firmware::units::TimeNs;
use hostd::nic::{Endpoint, Nic, NicCounters, RxBurst, TxFull};
use lane::Parker;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// Splitmix64.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    pub(crate) fn percent(&mut self, p: u64) -> bool {
        self.below(100) < p
    }
}

/// One way from the venue to a client, or back.
#[derive(Clone, Copy, Default)]
pub(crate) struct Link {
    /// Percent.
    pub(crate) loss: u64,
    /// Percent.
    pub(crate) repeat: u64,
    /// What reorders, ms.
    pub(crate) delay_max_ms: u64,
    /// Cut until then.
    pub(crate) cut_until: TimeNs,
}

/// Names of the ways of a client; the last one is that of its requests.
pub(crate) const SOURCES: [Source; 5] = [
    Source::LineA,
    Source::LineB,
    Source::Peer,
    Source::Snapshots,
    Source::Checkpoints,
];
pub(crate) const REQUESTS: usize = SOURCES.len();

type Queue = BTreeMap<(u64, u64), (Source, Vec<u8>)>;

/// One client's ways.
pub(crate) struct Ways {
    pub(crate) links: [Link; REQUESTS + 1],
    to_client: Queue,
    to_venue: Queue,
    pub(crate) is_there: bool,
}

pub(crate) struct Net {
    pub(crate) rng: Rng,
    pub(crate) now: TimeNs,
    sent: u64,
    /// Percent of sends for which the venue's NIC has no room.
    pub(crate) full: u64,
    pub(crate) clients: Vec<Ways>,
}

impl Net {
    pub(crate) fn new(seed: u64, now: TimeNs) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            rng: Rng(seed),
            now,
            sent: 0,
            full: 0,
            clients: Vec::new(),
        }))
    }

    pub(crate) fn add(&mut self, links: [Link; REQUESTS + 1]) -> usize {
        self.clients.push(Ways {
            links,
            to_client: BTreeMap::new(),
            to_venue: BTreeMap::new(),
            is_there: false,
        });
        self.clients.len() - 1
    }

    fn carry(&mut self, client: usize, way: usize, bytes: &[u8]) {
        let link = self.clients[client].links[way];
        if !self.clients[client].is_there || self.now < link.cut_until {
            return;
        }
        let copies = 1 + u64::from(self.rng.percent(link.repeat));
        for _ in 0..copies {
            if self.rng.percent(link.loss) {
                continue;
            }
            let at = self.now.0 + self.rng.below(link.delay_max_ms * 1_000_000 + 1);
            self.sent += 1;
            let (key, bytes) = ((at, self.sent), bytes.to_vec());
            let ways = &mut self.clients[client];
            if way == REQUESTS {
                ways.to_venue.insert(key, (Source::Peer, bytes));
            } else {
                ways.to_client.insert(key, (SOURCES[way], bytes));
            }
        }
    }

    /// The next request that has arrived, and from which client.
    pub(crate) fn request(&mut self) -> Option<(usize, Vec<u8>)> {
        let now = self.now.0;
        for (client, ways) in self.clients.iter_mut().enumerate() {
            if let Some(entry) = ways.to_venue.first_entry()
                && entry.key().0 <= now
            {
                return Some((client, entry.remove().1));
            }
        }
        None
    }
}

/// Where a client's unicast answers go; multicast goes by group.
pub(crate) fn address(client: usize) -> Endpoint {
    Endpoint::new([10, 0, 0, client as u8 + 1].into(), 9)
}

/// The venue's NIC: ports 4002, 4003, 4005 and 4006 are groups, as in the example's configuration.
pub(crate) struct SimNic(pub(crate) Rc<RefCell<Net>>, NicCounters);

impl SimNic {
    pub(crate) fn new(net: &Rc<RefCell<Net>>) -> Self {
        Self(Rc::clone(net), NicCounters::default())
    }
}

impl Nic for SimNic {
    fn poll(&mut self, _: &mut RxBurst) -> io::Result<usize> {
        Ok(0)
    }

    fn send(&mut self, _: usize, to: Endpoint, payload: &[u8]) -> Result<(), TxFull> {
        let mut net = self.0.borrow_mut();
        let full = net.full;
        if net.rng.percent(full) {
            return Err(TxFull);
        }
        let way = match to.port() {
            4002 => 0,
            4003 => 1,
            4005 => 3,
            4006 => 4,
            _ => {
                let client = usize::from(to.ip().octets()[3]) - 1;
                net.carry(client, 2, payload);
                return Ok(());
            }
        };
        for client in 0..net.clients.len() {
            net.carry(client, way, payload);
        }
        Ok(())
    }

    fn flush(&mut self) {}

    fn wait(&mut self, _: &Parker, _: Duration) -> io::Result<()> {
        Ok(())
    }

    fn counters(&self) -> &NicCounters {
        &self.1
    }
}

/// A client's sockets: those that it listens to.
pub(crate) struct SimWire {
    pub(crate) net: Rc<RefCell<Net>>,
    pub(crate) client: usize,
    pub(crate) has_server: bool,
}

impl Wire for SimWire {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        if self.has_server {
            let mut net = self.net.borrow_mut();
            net.carry(self.client, REQUESTS, datagram);
        }
        Ok(())
    }

    fn receive(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        Ok(self.receive_from(buf)?.map(|(len, _)| len))
    }

    fn receive_from(&mut self, buf: &mut [u8]) -> io::Result<Option<(usize, Source)>> {
        let mut net = self.net.borrow_mut();
        let now = net.now.0;
        let Some(entry) = net.clients[self.client].to_client.first_entry() else {
            return Ok(None);
        };
        if entry.key().0 > now {
            return Ok(None);
        }
        let (source, bytes) = entry.remove();
        buf[..bytes.len()].copy_from_slice(&bytes);
        Ok(Some((bytes.len(), source)))
    }
}
