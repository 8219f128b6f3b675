//! The daemon as a service of systemd: what it tells, and the units that the package brings.

mod world;

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use world::World;

fn hear(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 512];
    let len = socket.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..len].to_vec()).unwrap()
}

#[test]
fn systemd_hears_that_the_box_is_ready_lives_and_stops() {
    let mut w = World::new();
    let path = w.dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    w.environment = vec![
        ("NOTIFY_SOCKET", path.to_str().unwrap().into()),
        ("WATCHDOG_USEC", "400000".into()),
    ];
    for topology in ["name = \"shared\"", "name = \"pinned\""] {
        w.set_topology(topology);
        w.start();
        assert!(hear(&socket).starts_with("READY=1\nSTATUS="), "{topology}");
        let begun = Instant::now();
        for _ in 0..3 {
            assert_eq!(hear(&socket), "WATCHDOG=1\n", "{topology}");
        }
        assert!(begun.elapsed() >= Duration::from_millis(500), "{topology}");
        w.shutdown();
        let last = std::iter::from_fn(|| Some(hear(&socket))).find(|m| !m.starts_with("WATCHDOG"));
        assert_eq!(last.as_deref(), Some("STOPPING=1\n"), "{topology}");
    }
}

#[test]
fn the_units_are_sound_and_narrow() {
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    let Ok(version) = Command::new("systemd-analyze").arg("--version").output() else {
        eprintln!("not run: no systemd-analyze on this machine");
        return;
    };
    assert!(version.status.success());
    // The units name /usr/bin/hostd, which need not be there: a copy of them names ours.
    let dir = tempfile::tempdir().unwrap();
    for name in ["hostd.service", "hostd-standby.service"] {
        let text = std::fs::read_to_string(units.join(name)).unwrap();
        let ours = text.replace("/usr/bin/hostd", env!("CARGO_BIN_EXE_hostd"));
        assert_ne!(ours, text, "{name}");
        let path = dir.path().join(name);
        std::fs::write(&path, ours).unwrap();
        let verify = Command::new("systemd-analyze")
            .args(["verify", "--man=no"])
            .arg(&path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&verify.stderr).into_owned();
        // Of other units of the machine it may say what it likes.
        let ours: Vec<_> = said.lines().filter(|l| l.contains(name)).collect();
        assert!(ours.is_empty(), "{ours:?}");
        let security = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--threshold=35"])
            .arg(&path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&security.stdout).into_owned();
        assert!(security.status.success(), "{name}: {said}");
    }
}
