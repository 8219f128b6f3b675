//! The re-request server: any part of the day again, one packet an answer, within limits.

use super::store::Store;
use super::{FeedCounters, PacketBuilder};
use crate::machine::ipv4_net::Ipv4Net;
use crate::nic::Endpoint;
use firmware::limits::FEED_PAYLOAD_MAX;
use firmware::rate::TokenBucket;
use firmware::units::TimeNs;
use firmware::wire::mold::{END_OF_SESSION, HEADER_LEN, MoldHeader};
use handshake::SourceLimiter;
use std::net::IpAddr;

/// Requesters that are told apart; those beyond share a bucket with another one.
const REQUESTERS: usize = 1 << 12;

/// Who may ask for how much.
pub(crate) struct Requests {
    all: TokenBucket,
    each: SourceLimiter,
    allowed: Vec<Ipv4Net>,
}

impl Requests {
    pub(crate) fn new(per_second: u32, per_requester: u32, allowed: Vec<Ipv4Net>) -> Self {
        Self {
            all: TokenBucket::new(per_second),
            each: SourceLimiter::new(REQUESTERS, per_requester),
            allowed,
        }
    }

    /// The answer to a request, an ordinary packet. Nothing answers what is no request, too much, or for
    /// messages that were not sent yet: MoldUDP64 knows no refusal.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) fn answer<'p>(
        &mut self,
        store: &Store,
        packet: &'p mut PacketBuilder,
        from: Endpoint,
        payload: &[u8],
        now: TimeNs,
        counters: &mut FeedCounters,
    ) -> anyhow::Result<Option<&'p [u8]>> {
        let ip = *from.ip();
        if !self.allowed.is_empty() && !self.allowed.iter().any(|net| net.holds(ip)) {
            counters.requests_not_allowed += 1;
            return Ok(None);
        }
        let request = match MoldHeader::decode(payload) {
            Some((h, [])) if h.session == packet.session() && h.sequence > 0 && h.count > 0 => h,
            _ => {
                counters.requests_malformed += 1;
                return Ok(None);
            }
        };
        if request.sequence >= store.next() || request.count == END_OF_SESSION {
            counters.requests_too_high += 1;
            return Ok(None);
        }
        // The requester's own bucket first: a loud one is not to empty that of all.
        if !self.each.allow(IpAddr::V4(ip), now) || !self.all.take(now) {
            counters.requests_throttled += 1;
            return Ok(None);
        }
        let mut framed = [0; FEED_PAYLOAD_MAX - HEADER_LEN];
        let (len, count) = store.read(request.sequence, request.count, &mut framed)?;
        packet.clear();
        packet.push_framed(&framed[..len], count);
        counters.requests_served += 1;
        Ok(Some(packet.finish(request.sequence)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firmware::wire::mold::blocks;

    const SESSION: [u8; 10] = *b"20261120A1";

    fn ask(sequence: u64, count: u16) -> [u8; HEADER_LEN] {
        let header = MoldHeader {
            session: SESSION,
            sequence,
            count,
        };
        header.encode()
    }

    #[test]
    fn the_whole_day_is_answered_within_the_limits_of_each_and_of_all() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::rewrite(dir.path()).unwrap();
        for n in 0..50_000u32 {
            store.push(&[n as u8; 40]).unwrap();
        }
        let allowed = vec!["10.0.0.0/8".parse().unwrap()];
        let mut requests = Requests::new(8, 4, allowed);
        let (mut packet, mut counters) = (PacketBuilder::new(SESSION), FeedCounters::default());
        let now = TimeNs(5_000_000_000);
        let mut send = |host: [u8; 4], bytes: &[u8]| {
            let from = Endpoint::new(host.into(), 9);
            let answer = requests.answer(&store, &mut packet, from, bytes, now, &mut counters);
            answer.unwrap().map(|p| {
                let (header, rest) = MoldHeader::decode(p).unwrap();
                assert_eq!(blocks(rest).count(), usize::from(header.count));
                (header.sequence, header.count)
            })
        };
        let a = [10, 0, 0, 1];
        assert_eq!(send(a, &ask(1, 5)), Some((1, 5)));
        assert_eq!(
            send(a, &ask(40_000, 1_000)),
            Some((40_000, 32)),
            "what fits"
        );
        assert_eq!(send(a, &ask(50_000, 1_000)), Some((50_000, 1)));
        let mut other = ask(1, 1);
        other[3] ^= 1;
        for bad in [&ask(0, 1)[..], &ask(1, 0), &ask(1, 1)[..19], &other, b"x"] {
            assert_eq!(send(a, bad), None);
        }
        assert_eq!(send(a, &ask(50_001, 1)), None);
        assert_eq!(send([11, 0, 0, 1], &ask(1, 1)), None);
        // Four of this requester, eight of all.
        let served = (0..9).filter(|_| send(a, &ask(1, 1)).is_some()).count();
        assert_eq!(served, 1);
        let b = (0..9u8).filter(|n| send([10, 0, 1, *n], &ask(1, 1)).is_some());
        assert_eq!(b.count(), 4);
        assert_eq!(
            (
                counters.requests_served,
                counters.requests_malformed,
                counters.requests_too_high,
                counters.requests_not_allowed,
                counters.requests_throttled
            ),
            (8, 5, 1, 1, 8 + 5)
        );
    }
}
