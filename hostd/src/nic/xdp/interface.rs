//! What the kernel knows of the interface: its addresses, its queues, its routes.

use super::XdpError;
use super::netlink::Netlink;
use crate::config::XdpSection;
use crate::machine::ipv4_net::Ipv4Net;
use crate::nic::Endpoint;
use crate::nic::raw::{Route, Routes, TooManyRoutes, Way};
use firmware::limits::DATAGRAM_MAX;
use firmware::wire::frame::Mac;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, route::RouteHeader};
use std::io;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;

/// IPv4 header, UDP header and the longest payload.
const MTU_MIN: i32 = 28 + DATAGRAM_MAX as i32;
const ETHTOOL_GET_FLAGS: u32 = 0x25;
const ETHTOOL_GET_CHANNELS: u32 = 0x3c;
/// Of the flags: the card takes the tag off a frame and tells it apart from it.
const FLAG_RX_VLAN: u32 = 1 << 8;

/// An interface as it was when it was looked at.
#[derive(Clone, Debug)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) index: u32,
    pub(super) mac: Mac,
    /// Queues that frames can arrive in.
    pub(super) queues: u32,
    /// The interface that has our addresses: this one, or a VLAN's on top of it.
    pub(super) home: u32,
}

impl Interface {
    /// Looks at the interface of `section`, which must have the addresses of `sockets`.
    pub(super) fn find(section: &XdpSection, sockets: &[Endpoint]) -> Result<Self, XdpError> {
        let name = &section.interface;
        let io = |op| {
            let interface = name.clone();
            move |source| XdpError::Interface {
                interface,
                op,
                source,
            }
        };
        let wrong = |what: String| Err(XdpError::Unfit(format!("{name}: {what}")));
        let any = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(io("make a socket"))?;
        let index = rustix::net::netdevice::name_to_index(&any, name)
            .map_err(|e| io("find it")(e.into()))?;
        let ask = Ask { socket: &any, name };
        let mtu = ask.mtu().map_err(io("read the MTU"))?;
        if mtu < MTU_MIN {
            return wrong(format!(
                "its MTU is {mtu}, and datagrams of ours need {MTU_MIN}: ip link set {name} mtu {MTU_MIN}"
            ));
        }
        if !ask.is_up().map_err(io("read its flags"))? {
            return wrong(format!("it is down: ip link set {name} up"));
        }
        if section.vlan.is_some() && ask.hides_tags().map_err(io("read its features"))? {
            return wrong(format!(
                "it hides VLAN tags from the program: ethtool -K {name} rxvlan off"
            ));
        }
        let mut netlink = Netlink::open(0).map_err(io("ask the kernel"))?;
        let homes = homes(&mut netlink).map_err(io("read its addresses"))?;
        let mut home = None;
        for socket in sockets {
            let found = homes.iter().find(|(_, ip)| ip == socket.ip());
            let Some((found, ip)) = found else {
                return wrong(format!("no interface has the address {}", socket.ip()));
            };
            if *found != index && section.vlan.is_none() {
                return wrong(format!(
                    "the address {ip} is on another interface; on a VLAN of this one, net.xdp.vlan says which"
                ));
            }
            if home.is_some_and(|h| h != *found) {
                return wrong(format!(
                    "the address {ip} is on another interface than the others"
                ));
            }
            home = Some(*found);
        }
        Ok(Self {
            name: name.clone(),
            index,
            mac: ask.mac().map_err(io("read its address"))?,
            queues: ask.queues().map_err(io("count its queues"))?,
            home: home.unwrap_or(index),
        })
    }
}

/// Every IPv4 address with the index of its interface.
fn homes(netlink: &mut Netlink) -> io::Result<Vec<(u32, Ipv4Addr)>> {
    let mut request = AddressMessage::default();
    request.header.family = AddressFamily::Inet;
    let mut homes = Vec::new();
    netlink.dump(RouteNetlinkMessage::GetAddress(request), |answer| {
        if let RouteNetlinkMessage::NewAddress(address) = answer {
            // `Local` is ours; `Address` is the peer's where the two differ.
            let ours = address.attributes.iter().find_map(|a| match a {
                AddressAttribute::Local(IpAddr::V4(ip)) => Some(*ip),
                _ => None,
            });
            homes.extend(ours.map(|ip| (address.header.index, ip)));
        }
    })?;
    Ok(homes)
}

/// The routes of the main table as they look from interface `home`: those of others count only where they take
/// something from its own.
pub(super) fn routes(
    netlink: &mut Netlink,
    home: u32,
) -> io::Result<Result<Routes, TooManyRoutes>> {
    let mut request = RouteMessage::default();
    request.header.address_family = AddressFamily::Inet;
    let mut found: Vec<(u32, Route)> = Vec::new();
    netlink.dump(RouteNetlinkMessage::GetRoute(request), |answer| {
        if let RouteNetlinkMessage::NewRoute(message) = answer {
            found.extend(route(message, home));
        }
    })?;
    // Of two to the same network the kernel takes the one of less cost.
    found.sort_by_key(|(cost, _)| *cost);
    let all: Vec<Route> = found.into_iter().map(|(_, route)| route).collect();
    let ours: Vec<Ipv4Net> = (all.iter())
        .filter(|r| r.way != Way::Elsewhere)
        .map(|r| r.net)
        .collect();
    let matters = |r: &Route| ours.iter().any(|net| net.meets(r.net));
    let kept: Vec<Route> = all.into_iter().filter(matters).collect();
    Ok(Routes::new(&kept))
}

fn route(message: &RouteMessage, home: u32) -> Option<(u32, Route)> {
    let (mut base, mut gateway, mut interface, mut cost) = (Ipv4Addr::UNSPECIFIED, None, None, 0);
    let mut table = u32::from(message.header.table);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(ip)) => base = *ip,
            RouteAttribute::Gateway(RouteAddress::Inet(ip)) => gateway = Some(*ip),
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::Priority(n) => cost = *n,
            RouteAttribute::Table(n) => table = *n,
            _ => {}
        }
    }
    if table != u32::from(RouteHeader::RT_TABLE_MAIN) {
        return None;
    }
    let is_ours = message.header.kind == RouteType::Unicast && interface == Some(home);
    let way = match gateway {
        _ if !is_ours => Way::Elsewhere,
        Some(gateway) => Way::Gateway(gateway),
        None => Way::Neighbours,
    };
    let bits = u32::from(message.header.destination_prefix_length);
    let net = Ipv4Net::around(base, bits);
    Some((cost, Route { net, way }))
}

/// Questions by ioctl(2).
struct Ask<'a> {
    socket: &'a UdpSocket,
    name: &'a str,
}

impl Ask<'_> {
    fn request(&self) -> libc::ifreq {
        // SAFETY: a struct of numbers, for which zeros are fine.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        // The kernel found an interface of this name, so it fits; what does not is cut off.
        let room = request.ifr_name.len() - 1;
        for (to, from) in request.ifr_name[..room].iter_mut().zip(self.name.bytes()) {
            *to = from as libc::c_char;
        }
        request
    }

    /// # Safety
    /// `request` must hold what `call` wants there.
    unsafe fn call(&self, call: libc::c_ulong, request: &mut libc::ifreq) -> io::Result<()> {
        // SAFETY: the call reads and writes the request; the rest is our caller's promise.
        let done = unsafe {
            libc::ioctl(
                self.socket.as_raw_fd(),
                call as _,
                std::ptr::from_mut(request),
            )
        };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    fn mtu(&self) -> io::Result<i32> {
        let mut request = self.request();
        // SAFETY: the call needs only the name, and fills the number that is read.
        unsafe {
            self.call(libc::SIOCGIFMTU, &mut request)?;
            Ok(request.ifr_ifru.ifru_mtu)
        }
    }

    fn is_up(&self) -> io::Result<bool> {
        let mut request = self.request();
        // SAFETY: as for the MTU.
        let flags = unsafe {
            self.call(libc::SIOCGIFFLAGS, &mut request)?;
            request.ifr_ifru.ifru_flags
        };
        Ok(libc::c_int::from(flags) & libc::IFF_UP != 0)
    }

    fn mac(&self) -> io::Result<Mac> {
        let mut request = self.request();
        // SAFETY: as for the MTU.
        let address = unsafe {
            self.call(libc::SIOCGIFHWADDR, &mut request)?;
            request.ifr_ifru.ifru_hwaddr
        };
        if address.sa_family != libc::ARPHRD_ETHER {
            return Err(io::Error::other("it is no Ethernet"));
        }
        let mut mac = [0; 6];
        for (to, from) in mac.iter_mut().zip(address.sa_data) {
            *to = from as u8;
        }
        Ok(Mac(mac))
    }

    /// Has ethtool fill `words`, whose first is the question; false if the driver does not know it.
    fn ethtool(&self, words: &mut [u32]) -> io::Result<bool> {
        let mut request = self.request();
        request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
        // SAFETY: the address leads to as many words as the question's answer has.
        match unsafe { self.call(libc::SIOCETHTOOL as libc::c_ulong, &mut request) } {
            Ok(()) => Ok(true),
            Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn queues(&self) -> io::Result<u32> {
        // The question; the most there can be of rx, tx, other, combined; the same as they are.
        let mut words = [0; 9];
        words[0] = ETHTOOL_GET_CHANNELS;
        let known = self.ethtool(&mut words)?;
        Ok(if known {
            (words[5] + words[8]).max(1)
        } else {
            1
        })
    }

    fn hides_tags(&self) -> io::Result<bool> {
        let mut words = [ETHTOOL_GET_FLAGS, 0];
        let known = self.ethtool(&mut words)?;
        Ok(known && words[1] & FLAG_RX_VLAN != 0)
    }
}
