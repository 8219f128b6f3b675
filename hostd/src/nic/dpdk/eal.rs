//! DPDK's environment: begun once in a process, and kept from what is ours: signals, standard output, cores.

use super::DpdkError;
use crate::machine::log;
use rustix::process::getpid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::ffi::{CStr, CString, c_char, c_int};
use std::mem::MaybeUninit;
use std::sync::Mutex;

/// Arguments that the environment was begun with; it cannot be begun again with others, nor ended.
static STARTED: Mutex<Option<Vec<String>>> = Mutex::new(None);
/// The end of DPDK's log since [`listen`]: why something failed is said only there, a few lines before the end.
static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// Lines of it that are kept.
const LOG_LINES: usize = 6;

/// Begins the environment for a tile that runs where the calling thread may run.
///
/// # Errors
/// If DPDK refuses, or runs already with other arguments.
pub(super) fn start(arguments: &[String]) -> Result<(), DpdkError> {
    let mut started = STARTED.lock().expect("nobody panics with it");
    match started.as_deref() {
        Some(earlier) if earlier == arguments => return Ok(()),
        Some(_) => return Err(DpdkError::StartedOtherwise),
        None => {}
    }
    listen();
    let refused = |op: &'static str| {
        move |e: rustix::io::Errno| DpdkError::Refused {
            op,
            reason: e.to_string(),
        }
    };
    let tile = sched_getaffinity(None).map_err(refused("sched_getaffinity"))?;
    let words = complete(arguments, &tile)
        .into_iter()
        .map(|word| CString::new(word).map_err(|_| DpdkError::refused("eal", "a zero byte")))
        .collect::<Result<Vec<_>, _>>()?;
    log::event("dpdk_start", &[("arguments", &show(&words))]);
    aside("dpdk-start", move || init(words))
        .map_err(|e| DpdkError::refused("thread", &e.to_string()))?
        .join()
        .expect("it does not panic")?;
    *started = Some(arguments.to_vec());
    Ok(())
}

/// What hostd adds: one core, so that DPDK starts no workers; no socket and no file of its own, so that nothing is
/// left behind by a process that was killed.
fn complete(arguments: &[String], tile: &CpuSet) -> Vec<String> {
    let has = |options: &[&str]| {
        arguments.iter().any(|a| {
            let name = a.split('=').next().unwrap_or_default();
            options.contains(&name)
        })
    };
    let mut words = vec!["hostd".to_owned()];
    words.extend_from_slice(arguments);
    if !has(&["-l", "-c", "--lcores"]) {
        let cores: Vec<String> = (0..CpuSet::MAX_CPU)
            .filter(|&core| tile.is_set(core))
            .map(|core| core.to_string())
            .collect();
        words.push(format!("--lcores=0@({})", cores.join(",")));
    }
    words.push("--no-telemetry".into());
    words.push(
        if has(&["--no-huge"]) {
            "--no-shconf"
        } else {
            "--in-memory"
        }
        .into(),
    );
    words
}

fn show(words: &[CString]) -> String {
    let words: Vec<_> = words[1..].iter().map(|w| w.to_string_lossy()).collect();
    words.join(" ")
}

/// A thread beside the tiles: it may run wherever the process may, goes before nobody, and takes no signals; and so
/// do the threads that it starts.
pub(super) fn aside<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<std::thread::JoinHandle<T>> {
    std::thread::Builder::new().name(name.into()).spawn(|| {
        // The first thread has what the process was given. A refusal leaves what the tile has: no less correct.
        if let Ok(all) = sched_getaffinity(Some(getpid())) {
            let _ = sched_setaffinity(None, &all);
        }
        let _ = rustix::process::setpriority_process(None, 0);
        let mut every = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: the set is filled before it is read, and only this thread's mask changes.
        unsafe {
            libc::sigfillset(every.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_BLOCK, every.as_ptr(), std::ptr::null_mut());
        }
        body()
    })
}

fn init(words: Vec<CString>) -> Result<(), DpdkError> {
    // DPDK keeps pointers to its arguments, and may put them in another order.
    let mut pointers: Vec<*mut c_char> = words.into_iter().map(CString::into_raw).collect();
    let count = pointers.len() as c_int;
    pointers.push(std::ptr::null_mut());
    let arguments = Box::leak(pointers.into_boxed_slice());
    // SAFETY: the sink takes any bytes, and lives as long as the program.
    if unsafe { dpdk_sys::shim_log_to(Some(on_log)) } != 0 {
        return Err(DpdkError::refused("log", "no stream"));
    }
    // SAFETY: a list of C strings with a null behind it, none of which is ever freed; called once in the process, as
    // `STARTED` sees to.
    if unsafe { dpdk_sys::rte_eal_init(count, arguments.as_mut_ptr()) } < 0 {
        return Err(DpdkError::told("eal", -errno()));
    }
    Ok(())
}

/// One line of DPDK's log.
extern "C" fn on_log(line: *const c_char, len: usize) {
    // SAFETY: DPDK's stream hands over `len` bytes that it holds until this returns.
    let bytes = unsafe { std::slice::from_raw_parts(line.cast::<u8>(), len) };
    let text = String::from_utf8_lossy(bytes);
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
        log::event("dpdk", &[("line", &line)]);
        if let Ok(mut log) = LOG.lock() {
            if log.len() == LOG_LINES {
                log.remove(0);
            }
            log.push(line.to_owned());
        }
    }
}

/// The calling thread's last error inside DPDK.
pub(super) fn errno() -> c_int {
    // SAFETY: reads a variable of this thread.
    unsafe { dpdk_sys::shim_errno() }
}

/// Forgets what DPDK said so far.
pub(super) fn listen() {
    if let Ok(mut log) = LOG.lock() {
        log.clear();
    }
}

/// What DPDK calls the failure `code` (negative, as it returns them), and what it said before.
pub(super) fn reason(code: c_int) -> String {
    // SAFETY: a C string that lives until this thread asks again.
    let text = unsafe { CStr::from_ptr(dpdk_sys::rte_strerror(-code)) };
    let text = text.to_string_lossy().into_owned();
    match LOG.lock() {
        Ok(log) if !log.is_empty() => format!("{text}; it said: {}", log.join(" | ")),
        _ => text,
    }
}

struct Lcore;

impl Drop for Lcore {
    fn drop(&mut self) {
        // SAFETY: this thread was registered.
        unsafe { dpdk_sys::rte_thread_unregister() }
    }
}

thread_local! {
    static LCORE: Option<Lcore> = {
        // SAFETY: the environment runs: only its ports ask for this.
        let registered = unsafe { dpdk_sys::rte_thread_register() } == 0;
        registered.then_some(Lcore)
    };
}

/// Makes the calling thread one of DPDK's, which gives it a cache of frames. Without it, it takes them one by one.
pub(super) fn enter_thread() {
    if LCORE.with(Option::is_none) {
        log::event("dpdk_thread", &[("reason", &reason(-errno()))]);
    }
}

#[cfg(test)]
mod tests {
    use super::complete;
    use rustix::thread::CpuSet;

    fn words(arguments: &[&str]) -> Vec<String> {
        let mut tile = CpuSet::new();
        tile.set(1);
        tile.set(3);
        let arguments: Vec<String> = arguments.iter().map(|&a| a.to_owned()).collect();
        complete(&arguments, &tile)
    }

    #[test]
    fn the_tiles_cores_become_dpdks_one_core() {
        assert_eq!(
            words(&["--no-pci"]),
            [
                "hostd",
                "--no-pci",
                "--lcores=0@(1,3)",
                "--no-telemetry",
                "--in-memory"
            ]
        );
    }

    #[test]
    fn what_the_operator_says_of_cores_and_pages_stands() {
        assert_eq!(
            words(&["--no-huge", "-m", "64", "--lcores=0@2"]),
            [
                "hostd",
                "--no-huge",
                "-m",
                "64",
                "--lcores=0@2",
                "--no-telemetry",
                "--no-shconf"
            ]
        );
        assert_eq!(words(&["-l", "2"]).len(), 5);
    }
}
