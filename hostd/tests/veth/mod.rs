//! A cable between two network namespaces: at one end the box, at the other a kernel with its sockets. Needs root and
//! iproute2; everything goes when it is dropped, and what a killed run left behind goes with the next.

// Each test binary uses a part of it.
#![allow(dead_code)]

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

/// Set where these tests must run: then a machine that cannot run them fails them.
const MUST_RUN: &str = "DELTABOX_VETH_REQUIRED";
const PREFIX: &str = "deltabox-";

/// Interfaces of the two ends, each in its own namespace.
pub(crate) const BOX_INTERFACE: &str = "box0";
pub(crate) const PEER_INTERFACE: &str = "peer0";
pub(crate) const BOX_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x0a];
pub(crate) const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x0b];
/// The box's end has this address only if a test gives it to the kernel there.
pub(crate) const BOX_IP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
pub(crate) const PEER_IP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
pub(crate) const NETWORK: &str = "10.77.0.0/24";
/// The longest datagram that crosses in one frame.
pub(crate) const DATAGRAM_MAX: usize = 1500 - 28;

/// The two namespaces and their cable.
pub(crate) struct Veth {
    pub(crate) box_end: Namespace,
    pub(crate) peer_end: Namespace,
}

/// A namespace with a name; `ip netns exec NAME` runs in it.
pub(crate) struct Namespace {
    pub(crate) name: String,
    file: File,
}

impl Veth {
    /// A cable that is up, the peer's kernel with its address; the calling thread is at the peer's end from then on.
    /// None, and a line that says so, on a machine where this cannot be done.
    pub(crate) fn new(what: &str) -> Option<Self> {
        let made = Self::make(what);
        match made {
            Ok(veth) => Some(veth),
            Err(why) if std::env::var_os(MUST_RUN).is_none() => {
                eprintln!("NOT RUN: {what}: {why}");
                None
            }
            Err(why) => panic!("{what} must run here: {why}"),
        }
    }

    fn make(what: &str) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("namespaces need root".into());
        }
        sweep();
        let veth = Self {
            box_end: Namespace::new(what)?,
            peer_end: Namespace::new(what)?,
        };
        let (b, p) = (&veth.box_end.name, &veth.peer_end.name);
        let one_queue = "numrxqueues 1 numtxqueues 1";
        ip(&format!(
            "link add {BOX_INTERFACE} address {} netns {b} {one_queue} type veth \
             peer name {PEER_INTERFACE} address {} netns {p} {one_queue}",
            colons(BOX_MAC),
            colons(PEER_MAC)
        ))?;
        ip(&format!(
            "-n {p} addr add {PEER_IP}/24 dev {PEER_INTERFACE}"
        ))?;
        veth.peer_end.enter();
        whole_checksums(PEER_INTERFACE).map_err(|e| format!("ethtool: {e}"))?;
        for (end, interface) in [(b, BOX_INTERFACE), (p, PEER_INTERFACE)] {
            ip(&format!("-n {end} link set lo up"))?;
            ip(&format!("-n {end} link set {interface} up"))?;
        }
        ip(&format!(
            "-n {p} route add 224.0.0.0/4 dev {PEER_INTERFACE}"
        ))?;
        Ok(veth)
    }

    /// Lets the kernel at the box's end have its address too.
    pub(crate) fn give_box_its_address(&self) {
        let name = &self.box_end.name;
        ip(&format!(
            "-n {name} addr add {BOX_IP}/24 dev {BOX_INTERFACE}"
        ))
        .unwrap();
    }

    /// Runs `open` at the box's end; the calling thread is at the peer's again when it returns.
    pub(crate) fn at_box<T>(&self, open: impl FnOnce() -> T) -> T {
        self.box_end.enter();
        let opened = open();
        self.peer_end.enter();
        opened
    }
}

impl Namespace {
    fn new(what: &str) -> Result<Self, String> {
        static NEXT: Mutex<u32> = Mutex::new(0);
        let n = {
            let mut next = NEXT.lock().unwrap();
            *next += 1;
            *next
        };
        let name = format!("{PREFIX}{what}-{}-{n}", std::process::id());
        ip(&format!("netns add {name}"))?;
        let file = File::open(Path::new("/var/run/netns").join(&name));
        let namespace = Self {
            file: file.map_err(|e| format!("{name}: {e}"))?,
            name,
        };
        // Nobody speaks version 6 here: its announcements would only be in the way.
        let file = namespace.file.try_clone().map_err(|e| e.to_string())?;
        let quiet = std::thread::spawn(move || {
            enter(&file);
            let _ = std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
        });
        quiet
            .join()
            .map_err(|_| "a thread cannot enter its namespace")?;
        Ok(namespace)
    }

    /// Moves the calling thread, and threads that it starts, into it.
    pub(crate) fn enter(&self) {
        enter(&self.file);
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = ip(&format!("netns del {}", self.name));
    }
}

fn enter(namespace: &File) {
    let kind = rustix::thread::LinkNameSpaceType::Network;
    rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(kind)).unwrap();
}

/// Removes what processes left behind that are gone.
fn sweep() {
    let Ok(entries) = std::fs::read_dir("/var/run/netns") else {
        return;
    };
    for name in entries.filter_map(|e| e.ok()?.file_name().into_string().ok()) {
        let mut parts = name.rsplit('-').skip(1);
        let owner = parts.next().filter(|_| name.starts_with(PREFIX));
        if let Some(pid) = owner.and_then(|pid| pid.parse::<u32>().ok())
            && !Path::new(&format!("/proc/{pid}")).exists()
        {
            let _ = ip(&format!("netns del {name}"));
        }
    }
}

/// Runs `ip` with these words; what it printed.
pub(crate) fn ip(words: &str) -> Result<String, String> {
    let output = Command::new("ip").args(words.split_whitespace()).output();
    let output = output.map_err(|e| format!("ip (Debian: iproute2): {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("ip {words}: {}", said.trim()))
    }
}

pub(crate) fn colons(mac: [u8; 6]) -> String {
    mac.map(|b| format!("{b:02x}")).join(":")
}

/// Makes the kernel write whole checksums: on a cable that is none it leaves them to a device that never comes. The
/// calling thread must be at the interface's end.
pub(crate) fn whole_checksums(interface: &str) -> io::Result<()> {
    const ETHTOOL_STXCSUM: u32 = 0x17;
    ethtool(interface, &mut [ETHTOOL_STXCSUM, 0])
}

/// Makes the kernel write VLAN tags into frames, and leave them there, instead of handing them on beside them. The
/// calling thread must be at the interface's end.
pub(crate) fn tags_stay_in_frames(interface: &str) -> io::Result<()> {
    const ETHTOOL_GFLAGS: u32 = 0x25;
    const ETHTOOL_SFLAGS: u32 = 0x26;
    const TX_AND_RX: u32 = 3 << 7;
    let mut flags = [ETHTOOL_GFLAGS, 0];
    ethtool(interface, &mut flags)?;
    ethtool(interface, &mut [ETHTOOL_SFLAGS, flags[1] & !TX_AND_RX])
}

fn ethtool(interface: &str, command: &mut [u32; 2]) -> io::Result<()> {
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_data: command.as_mut_ptr().cast(),
        },
    };
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // SAFETY: the request names an interface and a command of two words, both of which outlive the call.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// A kernel's socket at the peer's end; the calling thread must be there.
pub(crate) fn peer_socket() -> UdpSocket {
    let socket = UdpSocket::bind((PEER_IP, 0)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    socket
}

/// Sends frames as they are from the peer's end.
pub(crate) struct FrameSocket(OwnedFd);

impl FrameSocket {
    /// The calling thread must be at the peer's end.
    pub(crate) fn open() -> Self {
        // SAFETY: no memory is handed over; the descriptor is new and ours.
        let socket = unsafe {
            let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
            assert!(fd >= 0, "{}", io::Error::last_os_error());
            OwnedFd::from_raw_fd(fd)
        };
        Self(socket)
    }

    pub(crate) fn send(&self, frame: &[u8]) {
        let name = std::ffi::CString::new(PEER_INTERFACE).unwrap();
        // SAFETY: a C string; an address of plain integers; both outlive the calls.
        let sent = unsafe {
            let mut to: libc::sockaddr_ll = std::mem::zeroed();
            to.sll_family = libc::AF_PACKET as u16;
            to.sll_ifindex = libc::if_nametoindex(name.as_ptr()) as i32;
            libc::sendto(
                self.0.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const to).cast(),
                size_of_val(&to) as libc::socklen_t,
            )
        };
        assert_eq!(sent, frame.len() as isize, "{}", io::Error::last_os_error());
    }
}
