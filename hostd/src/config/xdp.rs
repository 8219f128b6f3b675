//! `[net.xdp]` of the configuration.

use firmware::wire::frame::VLAN_MAX;
use serde::Deserialize;

/// Queues that can be served.
pub const XDP_QUEUES_MAX: usize = 32;

/// `[net.xdp]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct XdpSection {
    /// The card's interface. It, or the interface of its VLAN, has the addresses of all sockets.
    pub interface: String,
    /// Queues to be served; all when absent.
    pub queues: Option<Vec<u32>>,
    /// Our datagrams arrive in no other queue than those, because rules of the card say so: without this, queues that
    /// nobody serves are refused.
    #[serde(default)]
    pub steered: bool,
    /// Where in the kernel the filter runs.
    #[serde(default)]
    pub mode: Mode,
    /// How frames get into our memory.
    #[serde(default)]
    pub copy: CopyMode,
    /// VLAN that all our frames carry.
    pub vlan: Option<u16>,
    /// Has the kernel poll the card on our calls instead of waiting for interrupts, for at most so long; of use where
    /// the driver has `napi_defer_hard_irqs`. Zero is off.
    #[serde(default)]
    pub busy_poll_us: u32,
}

/// Where the filter runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// In the driver, or else behind it.
    #[default]
    Auto,
    /// In the driver.
    Native,
    /// Behind the driver: works with any. The faster of the two on a veth.
    Generic,
}

/// How frames get into our memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CopyMode {
    /// Without a copy, or else with.
    #[default]
    Auto,
    /// By the card.
    ZeroCopy,
    /// By the kernel.
    Copy,
}

impl XdpSection {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// What is wrong with which key.
    pub fn check(&self) -> Result<(), String> {
        if let Some(vlan) = self.vlan
            && !(1..=VLAN_MAX).contains(&vlan)
        {
            return Err(format!("net.xdp.vlan must be in 1..={VLAN_MAX}"));
        }
        if let Some(queues) = &self.queues {
            let twice = (queues.iter().enumerate()).any(|(i, q)| queues[..i].contains(q));
            if queues.is_empty() || queues.len() > XDP_QUEUES_MAX || twice {
                return Err(format!(
                    "net.xdp.queues must name 1 to {XDP_QUEUES_MAX} queues, each once"
                ));
            }
        }
        if self.mode == Mode::Generic && self.copy == CopyMode::ZeroCopy {
            return Err("net.xdp: without a copy only in native mode".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::XdpSection;

    #[test]
    fn what_cannot_work_is_refused() {
        let check = |text: &str| {
            let section: XdpSection =
                toml::from_str(&format!("interface = \"eth1\"\n{text}")).unwrap();
            section.check()
        };
        for good in [
            "",
            "queues = [0, 3]\nvlan = 7\nmode = \"generic\"\ncopy = \"copy\"",
        ] {
            assert_eq!(check(good), Ok(()));
        }
        for (bad, key) in [
            ("vlan = 0", "net.xdp.vlan"),
            ("vlan = 4095", "net.xdp.vlan"),
            ("queues = []", "net.xdp.queues"),
            ("queues = [1, 2, 1]", "net.xdp.queues"),
            ("mode = \"generic\"\ncopy = \"zero-copy\"", "net.xdp"),
        ] {
            let error = check(bad).unwrap_err();
            assert!(error.starts_with(key), "{error}");
        }
    }
}
