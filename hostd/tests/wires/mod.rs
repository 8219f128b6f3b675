//! Clients' ways into the network in memory.

// Each test binary uses a part of it.
#![allow(dead_code)]

use client::{Source, Wire};
use hostd::nic::Endpoint;
use hostd::nic::sim::{SimNet, SimPeer};
use std::io;

/// To the order ports: to one, or to both, each from an address of its own.
pub(crate) struct OrderWire {
    pub(crate) own: [SimPeer; 2],
    /// Order ports A and B.
    pub(crate) venue: [Endpoint; 2],
    pub(crate) both: bool,
}

impl Wire for OrderWire {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        self.own[0].send(0, self.venue[0], datagram);
        if self.both {
            self.own[1].send(0, self.venue[1], datagram);
        }
        Ok(())
    }

    fn receive(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        let received = self.own.iter().find_map(|own| own.receive(buf));
        Ok(received.map(|r| r.len))
    }
}

/// Where the venue's feed goes and is asked for.
#[derive(Clone, Copy)]
pub(crate) struct FeedPlaces {
    /// Groups: lines A and B, snapshots, checkpoints.
    pub(crate) groups: [Endpoint; 4],
    /// The re-request server.
    pub(crate) server: Endpoint,
}

/// Ways of a feed client: five to it, and the one of its requests.
pub(crate) const WAYS: usize = 6;

impl FeedPlaces {
    /// Sender, or group, and receiver of each way of a client.
    pub(crate) fn ways(&self, client: Endpoint) -> [(Endpoint, Endpoint); WAYS] {
        let [a, b, snapshots, checkpoints] = self.groups;
        [
            (a, client),
            (b, client),
            (self.server, client),
            (snapshots, client),
            (checkpoints, client),
            (client, self.server),
        ]
    }
}

/// To the feed: one socket that has joined the groups.
pub(crate) struct FeedWire {
    peer: SimPeer,
    places: FeedPlaces,
    has_server: bool,
}

impl FeedWire {
    /// Listens at `own`; hears the groups once that has [joined](join) them.
    pub(crate) fn open(net: &SimNet, own: Endpoint, places: FeedPlaces, has_server: bool) -> Self {
        Self {
            peer: SimPeer::open(net, &[own]).unwrap(),
            places,
            has_server,
        }
    }
}

/// From now on a client hears all groups.
pub(crate) fn join(net: &SimNet, client: Endpoint, places: FeedPlaces) {
    places.groups.iter().for_each(|g| net.join(*g, client));
}

impl Wire for FeedWire {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        if self.has_server {
            self.peer.send(0, self.places.server, datagram);
        }
        Ok(())
    }

    fn receive(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        Ok(self.receive_from(buf)?.map(|(len, _)| len))
    }

    fn receive_from(&mut self, buf: &mut [u8]) -> io::Result<Option<(usize, Source)>> {
        let Some(received) = self.peer.receive(buf) else {
            return Ok(None);
        };
        let sources = [
            Source::LineA,
            Source::LineB,
            Source::Snapshots,
            Source::Checkpoints,
        ];
        let group = self.places.groups.iter().position(|g| *g == received.to);
        Ok(Some((
            received.len,
            group.map_or(Source::Peer, |g| sources[g]),
        )))
    }
}
