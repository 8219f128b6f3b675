//! The RTL as a C++ model.
#![allow(
    unsafe_code,
    reason = "the model is C++; everything behind this module is safe"
)]

use std::ptr::NonNull;

/// What is put on the pins for a cycle.
#[derive(Clone, Copy, Default, Debug)]
#[repr(C)]
#[expect(missing_docs, reason = "the pins of deltabox_nic.sv by name")]
pub struct Pins {
    pub time_ns: u64,
    pub tdata: u64,
    pub wdata: u32,
    pub awaddr: u16,
    pub araddr: u16,
    pub rst: u8,
    pub tkeep: u8,
    pub tvalid: u8,
    pub tlast: u8,
    pub m_ready: u8,
    pub r_ready: u8,
    pub awvalid: u8,
    pub wvalid: u8,
    pub wstrb: u8,
    pub bready: u8,
    pub arvalid: u8,
    pub rready: u8,
}

/// What the pins show in that cycle, before its clock edge.
#[derive(Clone, Copy, Default, Debug)]
#[repr(C)]
#[expect(missing_docs, reason = "the pins of deltabox_nic.sv by name")]
pub struct Seen {
    pub m_tdata: u64,
    pub r_tdata: u64,
    pub rdata: u32,
    pub tready: u8,
    pub m_tvalid: u8,
    pub m_tlast: u8,
    pub r_tvalid: u8,
    pub r_tlast: u8,
    pub verdict_valid: u8,
    pub verdict: u8,
    pub reason: u8,
    pub awready: u8,
    pub bvalid: u8,
    pub bresp: u8,
    pub arready: u8,
    pub rvalid: u8,
    pub rresp: u8,
    pub pad: [u8; 2],
}

#[repr(C)]
struct Model {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    fn nic_new() -> *mut Model;
    fn nic_free(model: *mut Model);
    fn nic_cycle(model: *mut Model, pins: *const Pins, seen: *mut Seen);
}

/// One instance of the RTL.
#[derive(Debug)]
pub struct Dut(NonNull<Model>);

impl Dut {
    /// After a reset.
    ///
    /// # Panics
    /// If there is no memory.
    #[must_use]
    pub fn new() -> Self {
        // SAFETY: takes nothing; gives a new object or null.
        let model = unsafe { nic_new() };
        let mut dut = Self(NonNull::new(model).expect("memory for the model"));
        for _ in 0..4 {
            dut.cycle(&Pins {
                rst: 1,
                ..Pins::default()
            });
        }
        dut
    }

    /// One clock cycle.
    pub fn cycle(&mut self, pins: &Pins) -> Seen {
        let mut seen = Seen::default();
        // SAFETY: the model is ours alone and alive; both structs are laid out as in model.cpp and outlive the call.
        unsafe { nic_cycle(self.0.as_ptr(), pins, &mut seen) };
        seen
    }
}

impl Default for Dut {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Dut {
    fn drop(&mut self) {
        // SAFETY: made by nic_new, freed once.
        unsafe { nic_free(self.0.as_ptr()) };
    }
}
