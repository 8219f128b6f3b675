//! The machine under the image: start-up, traps, clock, console, and the pages that cards may read and write. All unsafe
//! code of the image is here and in [`cards`](crate::cards).

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::fmt::{self, Write};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};
use virtio_drivers::{BufferDirection, Hal, PhysAddr};

global_asm!(
    r#"
    .section .text.init
    .globl _start
_start:
    csrr t0, mhartid
    bnez t0, 2f
    .option push
    .option norelax
    la gp, __global_pointer$
    .option pop
    la t0, __bss_start
    la t1, __bss_end
1:  bgeu t0, t1, 3f
    sd zero, 0(t0)
    addi t0, t0, 8
    j 1b
    # The stack is painted, so that its deepest use can be read off.
3:  la t0, __stack_bottom
    la t1, __stack_top
    li t2, 0x5a5a5a5a5a5a5a5a
4:  bgeu t0, t1, 5f
    sd t2, 0(t0)
    addi t0, t0, 8
    j 4b
5:  la sp, __stack_top
    la t0, trap
    csrw mtvec, t0
    call nic_main
2:  wfi
    j 2b

    .balign 4
trap:
    csrr a0, mcause
    csrr a1, mepc
    csrr a2, mtval
    call nic_trap
"#
);

const PAINT: u64 = 0x5a5a_5a5a_5a5a_5a5a;
const UART: *mut u8 = 0x1000_0000 as *mut u8;
const TEST_DEVICE: *mut u32 = 0x10_0000 as *mut u32;
const MTIME: *const u64 = 0x0200_bff8 as *const u64;
/// A tick of the machine's timer, ns.
const TICK_NS: u64 = 100;

unsafe extern "C" {
    static __stack_bottom: u64;
    static __stack_top: u64;
}

/// Anything that should not happen, an access to nowhere among them: said on the console, and the machine stops.
#[unsafe(no_mangle)]
extern "C" fn nic_trap(cause: usize, at: usize, value: usize) -> ! {
    let _ = writeln!(Console, "nic: trap {cause} at {at:#x}, {value:#x}");
    stop(2)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let _ = writeln!(Console, "nic: {info}");
    stop(1)
}

/// Ends the machine with a code.
pub(crate) fn stop(code: u32) -> ! {
    // SAFETY: the address of the machine's own test device, which takes whole words.
    unsafe { TEST_DEVICE.write_volatile(code << 16 | 0x3333) };
    loop {
        core::hint::spin_loop();
    }
}

/// The machine's console.
pub(crate) struct Console;

impl Write for Console {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for byte in s.bytes() {
            // SAFETY: the address of the machine's serial port; a byte written there is sent.
            unsafe { UART.write_volatile(byte) };
        }
        Ok(())
    }
}

/// Time since power-on, ns.
pub(crate) fn uptime_ns() -> u64 {
    // SAFETY: the address of the machine's timer, which may always be read.
    unsafe { MTIME.read_volatile() }.wrapping_mul(TICK_NS)
}

/// Instructions so far, where the machine counts them exactly (`-icount shift=0`).
pub(crate) fn instructions() -> u64 {
    let count: u64;
    // SAFETY: reads a counter and nothing else.
    unsafe { asm!("csrr {}, minstret", out(reg) count) };
    count
}

/// The deepest that the stack was, bytes.
pub(crate) fn stack_bytes() -> u64 {
    let (bottom, top) = (&raw const __stack_bottom, &raw const __stack_top);
    let mut at = bottom;
    // SAFETY: the linker puts whole words between both, all of them written at start-up; below the stack pointer
    // nobody else writes.
    unsafe {
        while at < top && at.read_volatile() == PAINT {
            at = at.add(1);
        }
        top.byte_offset_from(at) as u64
    }
}

const PAGES: usize = 32;
const PAGE: usize = virtio_drivers::PAGE_SIZE;

#[repr(C, align(4096))]
struct Pool(UnsafeCell<[u8; PAGES * PAGE]>);

// SAFETY: there is one hart, and every page is given out once.
unsafe impl Sync for Pool {}

static POOL: Pool = Pool(UnsafeCell::new([0; PAGES * PAGE]));
static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// What the drivers ask of the machine: pages out of a pool that is never given back, at their own addresses.
pub(crate) struct Dma;

// SAFETY: pages come from the pool, each once, zeroed at start-up; addresses are those that cards see, since there is no
// translation.
unsafe impl Hal for Dma {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let first = TAKEN.fetch_add(pages, Ordering::Relaxed);
        assert!(
            first + pages <= PAGES,
            "the pool holds what both cards need"
        );
        // SAFETY: within the pool, as was just checked.
        let at = unsafe { POOL.0.get().cast::<u8>().add(first * PAGE) };
        let at = NonNull::new(at).expect("a static is somewhere");
        (at.as_ptr() as PhysAddr, at)
    }

    unsafe fn dma_dealloc(_: PhysAddr, _: NonNull<u8>, _: usize) -> i32 {
        // Drivers live as long as the image.
        -1
    }

    unsafe fn mmio_phys_to_virt(at: PhysAddr, _: usize) -> NonNull<u8> {
        NonNull::new(at as *mut u8).expect("no card is at zero")
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        buffer.cast::<u8>().as_ptr() as PhysAddr
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}
