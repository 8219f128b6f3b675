//! A tile sits on one core.

use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_setaffinity};

/// Why a thread could not be pinned.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// The machine has no core of that number, or the process may not run there.
    #[error("core {0} does not exist, or this process may not use it")]
    NotUsable(usize),
    /// The kernel refused for another reason.
    #[error("pinning to core {core}: {source}")]
    Refused {
        /// The core asked for.
        core: usize,
        /// Its answer.
        source: Errno,
    },
}

/// Keeps the calling thread on core `core` from now on. Threads that it starts later begin there too.
///
/// # Errors
/// If there is no such core for this process, or the kernel refuses.
pub fn pin_to_core(core: usize) -> Result<(), PinError> {
    if core >= CpuSet::MAX_CPU {
        return Err(PinError::NotUsable(core));
    }
    let mut only = CpuSet::new();
    only.set(core);
    sched_setaffinity(None, &only).map_err(|source| match source {
        Errno::INVAL => PinError::NotUsable(core),
        source => PinError::Refused { core, source },
    })
}

#[cfg(test)]
mod tests {
    use super::{PinError, pin_to_core};
    use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu};

    #[test]
    fn a_thread_pins_to_a_core_it_has_and_stays() {
        // On a thread of its own: pinning outlives the call.
        std::thread::spawn(|| {
            let usable = sched_getaffinity(None).unwrap();
            for core in (0..CpuSet::MAX_CPU).filter(|&c| usable.is_set(c)) {
                pin_to_core(core).unwrap();
                assert_eq!(sched_getcpu(), core);
            }
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_core_that_does_not_exist_is_named() {
        for core in [CpuSet::MAX_CPU - 1, usize::MAX] {
            assert_eq!(pin_to_core(core), Err(PinError::NotUsable(core)));
        }
    }
}
