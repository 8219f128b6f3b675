//! The two ports: virtio-net cards on the machine's memory bus.

use crate::machine::Dma;
use core::ptr::NonNull;
use virtio_drivers::device::net::VirtIONetRaw;
use virtio_drivers::transport::mmio::{MmioTransport, VirtIOHeader};
use virtio_drivers::transport::{DeviceType, Transport};

/// Descriptors of a queue; as many frames can wait.
const QUEUE: usize = 64;
/// Bytes of a buffer: the largest frame and the card's own header.
const BUFFER: usize = 2048;
/// Places on the bus.
const PLACES: usize = 8;
const FIRST: usize = 0x1000_1000;
const SPAN: usize = 0x1000;

type Driver = VirtIONetRaw<Dma, MmioTransport<'static>, QUEUE>;
type Buffers = [[u8; BUFFER]; QUEUE];

/// A port, with its receive buffers.
pub(crate) struct Card {
    driver: Driver,
    buffers: &'static mut Buffers,
    /// Which buffer each token of the queue stands for.
    buffer_of: [u16; QUEUE],
    /// Frames that could not be sent or given back.
    pub(crate) lost: u64,
}

/// The cards on the bus, from its first place on: the machine lists them last to first, so the first that was asked for
/// is the last here.
pub(crate) fn find(buffers: [&'static mut Buffers; 2]) -> [Option<Card>; 2] {
    let mut found = [const { None }; 2];
    let mut buffers = buffers.into_iter();
    let mut at = 0;
    for place in 0..PLACES {
        let Some(header) = NonNull::new((FIRST + place * SPAN) as *mut VirtIOHeader) else {
            continue;
        };
        // SAFETY: the addresses of the machine's eight virtio places; an empty one says so itself.
        let Ok(transport) = (unsafe { MmioTransport::new(header, SPAN) }) else {
            continue;
        };
        if transport.device_type() != DeviceType::Network {
            continue;
        }
        let (Ok(driver), Some(buffers)) = (Driver::new(transport), buffers.next()) else {
            continue;
        };
        let mut card = Card {
            driver,
            buffers,
            buffer_of: [0; QUEUE],
            lost: 0,
        };
        for i in 0..QUEUE as u16 {
            card.give(i);
        }
        if let Some(place) = found.get_mut(at) {
            *place = Some(card);
            at += 1;
        }
    }
    found
}

impl Card {
    /// Gives a buffer to the card, to be filled.
    fn give(&mut self, i: u16) {
        let Some(buffer) = self.buffers.get_mut(usize::from(i)) else {
            return;
        };
        // SAFETY: the buffer is not touched until its token comes back; it lives for ever.
        match unsafe { self.driver.receive_begin(buffer) } {
            Ok(token) => {
                if let Some(place) = self.buffer_of.get_mut(usize::from(token)) {
                    *place = i;
                }
            }
            Err(_) => self.lost += 1,
        }
    }

    /// Hands the next frame that has arrived to `take`; whether there was one.
    pub(crate) fn receive(&mut self, take: impl FnOnce(&mut [u8])) -> bool {
        let Some(token) = self.driver.poll_receive() else {
            return false;
        };
        let i = self.buffer_of.get(usize::from(token)).copied().unwrap_or(0);
        let Some(buffer) = self.buffers.get_mut(usize::from(i)) else {
            return false;
        };
        // SAFETY: the buffer that was given for this token.
        match unsafe { self.driver.receive_complete(token, buffer) } {
            Ok((head, len)) => {
                if let Some(frame) = buffer.get_mut(head..head + len) {
                    take(frame);
                }
            }
            Err(_) => self.lost += 1,
        }
        self.give(i);
        true
    }

    /// Sends a frame; when it returns the card has taken it.
    pub(crate) fn send(&mut self, frame: &[u8]) {
        if self.driver.send(frame).is_err() {
            self.lost += 1;
        }
    }
}

/// Room for the receive buffers of both cards.
pub(crate) fn buffers() -> [&'static mut Buffers; 2] {
    static mut ROOM: [Buffers; 2] = [[[0; BUFFER]; QUEUE]; 2];
    // SAFETY: called once, from the only hart, before anything else runs.
    let room = unsafe { (&raw mut ROOM).as_mut() };
    let [a, b] = room.expect("a static is somewhere");
    [a, b]
}
