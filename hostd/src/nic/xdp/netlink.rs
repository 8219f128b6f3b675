//! Questions to the kernel about addresses, routes and neighbours.

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rustix::net::sockopt::{self, Timeout};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// More than the kernel puts into one piece.
const PIECE: usize = 1 << 16;
/// An answer that takes longer than this does not come: the kernel answers at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// A socket to the kernel's routing tables.
pub(super) struct Netlink {
    socket: Socket,
    buffer: Vec<u8>,
    /// Of the question that is under way; none for who only listens.
    sequence: Option<u32>,
}

impl Netlink {
    /// Opens one that hears of changes to `groups`, a mask of `RTMGRP_` bits, and does not wait for them; one for
    /// questions if there are none.
    pub(super) fn open(groups: u32) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, groups))?;
        if groups == 0 {
            socket.connect(&SocketAddr::new(0, 0))?;
            sockopt::set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        } else {
            socket.set_non_blocking(true)?;
        }
        Ok(Self {
            socket,
            buffer: vec![0; PIECE],
            sequence: (groups == 0).then_some(0),
        })
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        let number = self.sequence.map_or(0, |n| n.wrapping_add(1));
        self.sequence = Some(number);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = number;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        Ok(())
    }

    /// Receives one piece and shows each message of it that is not `Done` or an acknowledgement. True at the end of
    /// an answer.
    fn receive(&mut self, mut on: impl FnMut(&RouteNetlinkMessage)) -> io::Result<bool> {
        let size = self.socket.recv(&mut &mut self.buffer[..], 0)?;
        let mut rest = &self.buffer[..size];
        let mut is_end = false;
        while !rest.is_empty() {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                .map_err(io::Error::other)?;
            let is_part = message.header.flags & netlink_packet_core::NLM_F_MULTIPART != 0;
            // An answer to a question that was given up is not one to this.
            let is_late = (self.sequence).is_some_and(|n| n != message.header.sequence_number);
            match &message.payload {
                _ if is_late => {}
                NetlinkPayload::Done(_) => is_end = true,
                NetlinkPayload::Error(error) => match error.code {
                    Some(_) => return Err(error.to_io()),
                    None => is_end = true,
                },
                NetlinkPayload::InnerMessage(inner) => {
                    on(inner);
                    is_end = is_end || !is_part;
                }
                _ => {}
            }
            // Messages begin at multiples of four.
            let len = (message.header.length as usize).next_multiple_of(4);
            if len == 0 {
                break;
            }
            rest = rest.get(len..).unwrap_or(&[]);
        }
        Ok(is_end)
    }

    /// Asks for a whole table.
    pub(super) fn dump(
        &mut self,
        request: RouteNetlinkMessage,
        mut on: impl FnMut(&RouteNetlinkMessage),
    ) -> io::Result<()> {
        self.send(request, NLM_F_DUMP)?;
        while !self.receive(&mut on)? {}
        Ok(())
    }

    /// What the kernel knows of one neighbour.
    pub(super) fn neighbour(
        &mut self,
        ifindex: u32,
        ip: Ipv4Addr,
    ) -> io::Result<Option<NeighbourMessage>> {
        let mut found = None;
        self.send(RouteNetlinkMessage::GetNeighbour(about(ifindex, ip)), 0)?;
        let answer = self.receive(|message| {
            if let RouteNetlinkMessage::NewNeighbour(n) = message {
                found = Some(n.clone());
            }
        });
        match answer {
            Ok(_) => Ok(found),
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Has the kernel find a neighbour, or make sure that it is still there, as if it had something to send to it.
    pub(super) fn probe(&mut self, ifindex: u32, ip: Ipv4Addr) -> io::Result<()> {
        let mut request = about(ifindex, ip);
        request.header.flags = NeighbourFlags::Use;
        self.send(
            RouteNetlinkMessage::NewNeighbour(request),
            NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK,
        )?;
        while !self.receive(|_| {})? {}
        Ok(())
    }

    /// Shows every change that is there; false if some were lost.
    pub(super) fn changes(&mut self, mut on: impl FnMut(&RouteNetlinkMessage)) -> io::Result<bool> {
        loop {
            match self.receive(&mut on) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => return Ok(false),
                // Of a kind that we do not know.
                Err(e) if e.raw_os_error().is_none() => {}
                Err(e) => return Err(e),
            }
        }
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn about(ifindex: u32, ip: Ipv4Addr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.ifindex = ifindex;
    message.attributes = vec![NeighbourAttribute::Destination(NeighbourAddress::Inet(ip))];
    message
}
