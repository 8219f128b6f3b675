//! Which way a datagram leaves: to a neighbour, by a gateway, to a group, or not from here.

use crate::machine::ipv4_net::Ipv4Net;
use firmware::wire::frame::is_host;
use std::net::Ipv4Addr;

/// Routes that can be held.
pub const ROUTES_MAX: usize = 32;

/// Where a network is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// On this cable: its hosts are neighbours.
    Neighbours,
    /// Behind this neighbour.
    Gateway(Ipv4Addr),
    /// Reached by another interface, or not at all: never from here.
    Elsewhere,
}

/// One line of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// For these addresses.
    pub net: Ipv4Net,
    /// This way.
    pub way: Way,
}

/// Where the next station on the way to an address is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hop {
    /// All that joined the group.
    Group,
    /// This neighbour.
    Neighbour(Ipv4Addr),
    /// There is none.
    Nowhere,
}

/// More routes than [`ROUTES_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("more than {ROUTES_MAX} routes concern this interface")]
pub struct TooManyRoutes;

/// The routes of one interface, the narrowest network first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Routes {
    list: [Route; ROUTES_MAX],
    len: usize,
}

impl Routes {
    /// A table of these. Of two for the same network the first counts.
    ///
    /// # Errors
    /// If there are too many.
    pub fn new(routes: &[Route]) -> Result<Self, TooManyRoutes> {
        let nowhere = Route {
            net: Ipv4Net::ALL,
            way: Way::Elsewhere,
        };
        let mut table = Self {
            list: [nowhere; ROUTES_MAX],
            len: routes.len(),
        };
        (table.list.get_mut(..routes.len()))
            .ok_or(TooManyRoutes)?
            .copy_from_slice(routes);
        table.list[..routes.len()].sort_by_key(|r| std::cmp::Reverse(r.net.bits()));
        Ok(table)
    }

    /// The next hop to an address.
    #[inline]
    #[must_use]
    pub fn hop(&self, to: Ipv4Addr) -> Hop {
        if to.is_multicast() {
            return Hop::Group;
        }
        let found = self.list[..self.len].iter().find(|r| r.net.holds(to));
        match found {
            Some(r) if r.way == Way::Neighbours && is_host(to) && !r.net.is_reserved(to) => {
                Hop::Neighbour(to)
            }
            Some(Route {
                way: Way::Gateway(gateway),
                ..
            }) if is_host(to) => Hop::Neighbour(*gateway),
            _ => Hop::Nowhere,
        }
    }

    /// Whether an address is a neighbour's.
    #[must_use]
    pub fn is_neighbour(&self, address: Ipv4Addr) -> bool {
        self.hop(address) == Hop::Neighbour(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_network_decides() {
        let route = |net: &str, way| Route {
            net: net.parse().unwrap(),
            way,
        };
        let gateway = Ipv4Addr::new(10, 1, 0, 1);
        let table = Routes::new(&[
            route("0.0.0.0/0", Way::Gateway(gateway)),
            route("10.1.0.0/16", Way::Neighbours),
            route("10.1.9.0/24", Way::Elsewhere),
            route("10.1.9.9", Way::Neighbours),
        ])
        .unwrap();
        for (to, want) in [
            ([10, 1, 2, 3], Hop::Neighbour([10, 1, 2, 3].into())),
            ([10, 1, 9, 3], Hop::Nowhere),
            ([10, 1, 9, 9], Hop::Neighbour([10, 1, 9, 9].into())),
            ([8, 8, 8, 8], Hop::Neighbour(gateway)),
            ([10, 1, 255, 255], Hop::Nowhere),
            ([10, 1, 0, 0], Hop::Nowhere),
            ([127, 0, 0, 1], Hop::Nowhere),
            ([240, 0, 0, 1], Hop::Nowhere),
            ([255, 255, 255, 255], Hop::Nowhere),
            ([0, 0, 0, 0], Hop::Nowhere),
            ([239, 1, 2, 3], Hop::Group),
        ] {
            assert_eq!(table.hop(to.into()), want, "{to:?}");
        }
        assert_eq!(Routes::new(&[]).unwrap().hop(gateway), Hop::Nowhere);
        let many = [route("10.1.9.9", Way::Neighbours); ROUTES_MAX + 1];
        assert_eq!(Routes::new(&many), Err(TooManyRoutes));
    }
}
