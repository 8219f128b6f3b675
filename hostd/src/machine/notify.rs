//! What systemd is told (`sd_notify(3)`): that the box is ready, that it lives, that it stops. Without systemd nothing is
//! told.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Where systemd listens.
#[derive(Debug)]
pub struct Notifier {
    to: Option<(UnixDatagram, SocketAddr)>,
    /// How often it wants to hear that the box lives.
    watchdog: Option<Duration>,
}

impl Notifier {
    /// As the environment says.
    #[must_use]
    pub fn from_environment() -> Self {
        let variable = |name| std::env::var(name).ok();
        let is_ours =
            variable("WATCHDOG_PID").is_none_or(|pid| pid.parse() == Ok(std::process::id()));
        let micros = variable("WATCHDOG_USEC").and_then(|us| us.parse().ok());
        Self::new(
            variable("NOTIFY_SOCKET").as_deref(),
            micros
                .filter(|us| is_ours && *us > 0)
                .map(Duration::from_micros),
        )
    }

    /// A socket's path, or `@` and an abstract name, and the watchdog's time.
    #[must_use]
    pub fn new(socket: Option<&str>, watchdog: Option<Duration>) -> Self {
        let address = socket.and_then(|name| match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name).ok(),
            None => SocketAddr::from_pathname(name).ok(),
        });
        let to = address.and_then(|to| Some((UnixDatagram::unbound().ok()?, to)));
        Self { to, watchdog }
    }

    /// How often to say that the box lives: twice as often as systemd wants it.
    #[must_use]
    pub fn interval(&self) -> Option<Duration> {
        self.to.as_ref().and(self.watchdog).map(|w| w / 2)
    }

    /// The box takes orders, or will when prices come.
    pub fn ready(&self, status: &str) {
        self.say(&format!("READY=1\nSTATUS={status}\n"));
    }

    /// The box lives.
    pub fn lives(&self) {
        self.say("WATCHDOG=1\n");
    }

    /// The box stops.
    pub fn stops(&self) {
        self.say("STOPPING=1\n");
    }

    fn say(&self, text: &str) {
        if let Some((socket, to)) = &self.to {
            // systemd finds out by its own means when it cannot hear us.
            let _ = socket.send_to_addr(text.as_bytes(), to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_arrives_by_path_and_by_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("@deltabox-notify-{}", std::process::id());
        let by_path = UnixDatagram::bind(&path).unwrap();
        let address = SocketAddr::from_abstract_name(&name[1..]).unwrap();
        let by_name = UnixDatagram::bind_addr(&address).unwrap();
        for (socket, at) in [(by_path, path.to_str().unwrap()), (by_name, &name)] {
            let notifier = Notifier::new(Some(at), Some(Duration::from_secs(10)));
            assert_eq!(notifier.interval(), Some(Duration::from_secs(5)));
            notifier.ready("open");
            notifier.lives();
            notifier.stops();
            let mut heard = String::new();
            for _ in 0..3 {
                let mut buffer = [0; 256];
                let len = socket.recv(&mut buffer).unwrap();
                heard.push_str(std::str::from_utf8(&buffer[..len]).unwrap());
            }
            assert_eq!(heard, "READY=1\nSTATUS=open\nWATCHDOG=1\nSTOPPING=1\n");
        }
    }

    #[test]
    fn nobody_is_told_where_nobody_listens() {
        let nobody = Notifier::new(None, Some(Duration::from_secs(1)));
        assert_eq!(nobody.interval(), None);
        nobody.ready("open");
        let gone = Notifier::new(Some("/nowhere/notify"), None);
        gone.lives();
        assert_eq!(gone.interval(), None);
    }
}
