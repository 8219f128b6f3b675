//! A tile sits on one core.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Why a thread could not be pinned.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The process may not run on this core, or the machine has none of that number.
    #[error("core {core} is not among the cores this process may use ({usable:?})")]
    NotUsable {
        /// The core asked for.
        core: usize,
        /// The cores that can be had.
        usable: Vec<usize>,
    },
    /// The kernel refused.
    #[error("pinning to core {core}: {source}")]
    Refused {
        /// The core asked for.
        core: usize,
        /// Its answer.
        source: rustix::io::Errno,
    },
}

/// Keeps the calling thread on core `core` from now on.
///
/// # Errors
/// If this process may not use the core, or the kernel refuses.
pub fn pin_to_core(core: usize) -> Result<(), PinError> {
    let refused = |source| PinError::Refused { core, source };
    let allowed = sched_getaffinity(None).map_err(refused)?;
    if core >= CpuSet::MAX_CPU || !allowed.is_set(core) {
        let usable = (0..CpuSet::MAX_CPU)
            .filter(|&c| allowed.is_set(c))
            .collect();
        return Err(PinError::NotUsable { core, usable });
    }
    let mut only = CpuSet::new();
    only.set(core);
    sched_setaffinity(None, &only).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::{PinError, pin_to_core};

    #[test]
    fn a_thread_pins_to_a_core_it_has_and_no_other() {
        // On a thread of its own: pinning outlives the call.
        std::thread::spawn(|| {
            let Err(PinError::NotUsable { usable, .. }) = pin_to_core(usize::MAX) else {
                panic!("core usize::MAX exists");
            };
            pin_to_core(usable[0]).unwrap();
            assert_eq!(rustix::thread::sched_getcpu(), usable[0]);
            if let Some(&other) = usable.get(1) {
                assert!(matches!(
                    pin_to_core(other),
                    Err(PinError::NotUsable { .. })
                ));
            }
        })
        .join()
        .unwrap();
    }
}
