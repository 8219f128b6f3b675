//! The receive path of the RTL: the firmware crate's own.

use std::net::Ipv4Addr;

use firmware::gate::{Gate, GateInstrument};
use firmware::nic_gate::{NicGate, OpenSession};
use firmware::units::TimeNs;
use firmware::wire::frame::Station;

use crate::rows::SessionRow;

pub use firmware::nic_gate::{COUNTERS, Outcome};

/// Base-2 logarithm of the places for sessions.
pub const SESSIONS_LG: u32 = 10;

/// What the RTL should be.
#[derive(Clone, Debug)]
pub struct Twin(Box<NicGate<{ 1 << SESSIONS_LG }>>);

impl Twin {
    /// Knows nobody, as after a reset.
    #[must_use]
    pub fn new() -> Self {
        Self(Box::new(NicGate::new()))
    }

    /// Says who we are on the cable.
    pub fn place(&mut self, station: Station, ip: Ipv4Addr, port: u16) {
        (self.0.station, self.0.ip, self.0.port) = (station, ip, port);
    }

    /// Frames by verdict and reason: place `verdict * 64 + reason`.
    #[must_use]
    pub fn counters(&self) -> &[u32; COUNTERS] {
        self.0.counters()
    }

    /// The gate, to be told what it should know.
    pub fn gate(&mut self) -> &mut Gate {
        self.0.gate()
    }

    /// Lists an instrument.
    ///
    /// # Panics
    /// If the id is out of range.
    pub fn list(&mut self, id: u16, instrument: GateInstrument) {
        assert!(self.0.list(id, instrument));
    }

    /// Lets a member trade for an account.
    ///
    /// # Panics
    /// If the account is out of range.
    pub fn bind(&mut self, account: u32, member: u32) {
        assert!(self.0.bind(account, member));
    }

    /// A session in the place that its connection names, instead of whatever was there.
    ///
    /// # Panics
    /// If the member is out of range.
    pub fn open(&mut self, row: SessionRow) {
        assert!(self.0.open(OpenSession::from(row)));
    }

    /// Lets a held connection go, with what the host made of its datagrams.
    ///
    /// # Panics
    /// If there is no such session.
    pub fn resume(&mut self, place: u32, expected: u64, last_cl_ord_id: u64) {
        assert!(self.0.resume(place, expected, last_cl_ord_id));
    }

    /// Whether the connection waits for the host; the next request number, and the highest id.
    ///
    /// # Panics
    /// If there is no such session.
    #[must_use]
    pub fn flow(&self, place: u32) -> (bool, u64, u64) {
        self.0.flow(place).expect("a session")
    }

    /// Judges a frame that was received at `time`.
    pub fn judge(&mut self, bytes: &[u8], time: TimeNs) -> Outcome {
        self.0.judge(bytes, time)
    }
}

impl Default for Twin {
    fn default() -> Self {
        Self::new()
    }
}

impl From<SessionRow> for OpenSession {
    fn from(row: SessionRow) -> Self {
        let SessionRow {
            conn_id,
            member,
            suite,
            key,
            rates,
            is_read_only,
            expected,
            last_cl_ord_id,
        } = row;
        Self {
            conn_id,
            member,
            suite,
            key,
            rates,
            is_read_only,
            expected,
            last_cl_ord_id,
        }
    }
}
