//! `[net.dpdk]` of the configuration.

use crate::machine::ipv4_net::Ipv4Net;
use firmware::wire::frame::{Mac, VLAN_MAX};
use serde::{Deserialize, Deserializer, de::Error as _};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// `[net.dpdk]`: the port, and what a kernel would know about its cable.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DpdkSection {
    /// Arguments of DPDK's environment. hostd adds its core, no telemetry, and that nothing is kept in files.
    #[serde(default)]
    pub eal: Vec<String>,
    /// The device, as DPDK's `--allow` and `--vdev` name it: `0000:3b:00.0`, or `net_af_packet0,iface=veth0`.
    pub port: String,
    /// The network on its cable.
    pub network: Ipv4Net,
    /// The neighbour behind which all others are; without one only neighbours are reached.
    pub gateway: Option<Ipv4Addr>,
    /// The VLAN that all frames carry.
    pub vlan: Option<u16>,
    /// Neighbours that are not asked where they live: `"10.1.0.7" = "02:00:00:00:00:07"`.
    #[serde(default, deserialize_with = "neighbours")]
    pub neighbours: Vec<(Ipv4Addr, Mac)>,
}

fn neighbours<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(Ipv4Addr, Mac)>, D::Error> {
    let table = BTreeMap::<Ipv4Addr, String>::deserialize(from)?;
    let parsed = table.into_iter().map(|(ip, text)| match text.parse() {
        Ok(mac) => Ok((ip, mac)),
        Err(e) => Err(D::Error::custom(format!("{ip}: '{text}' is {e}"))),
    });
    parsed.collect()
}

impl DpdkSection {
    /// Checks it beside the addresses of our sockets.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self, locals: &[Ipv4Addr]) -> Result<(), String> {
        if self.port.is_empty() {
            return Err("net.dpdk.port must name a device".into());
        }
        if let Some(vlan) = self.vlan.filter(|v| !(1..=VLAN_MAX).contains(v)) {
            return Err(format!(
                "net.dpdk.vlan must be in 1..={VLAN_MAX}, not {vlan}"
            ));
        }
        let near = |ip: Ipv4Addr| self.network.holds(ip) && !self.network.is_reserved(ip);
        if let Some(gateway) = self.gateway.filter(|&g| !near(g)) {
            return Err(format!(
                "net.dpdk.gateway {gateway} is no host of net.dpdk.network"
            ));
        }
        match locals.iter().find(|&&ip| !near(ip)) {
            Some(ip) => Err(format!(
                "{ip} is no host of net.dpdk.network: nobody there would ask for it"
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::DpdkSection;
    use firmware::wire::frame::Mac;
    use std::net::Ipv4Addr;

    const PORT: &str = "port = \"net_null0\"\nnetwork = \"10.1.0.0/24\"\n";
    const OURS: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);

    fn check(text: &str, locals: &[Ipv4Addr]) -> Result<DpdkSection, String> {
        let section: DpdkSection = toml::from_str(text).map_err(|e| e.message().to_owned())?;
        section.check(locals).map(|()| section)
    }

    #[test]
    fn a_whole_section_is_read() {
        let more = "eal = [\"--no-pci\"]\ngateway = \"10.1.0.254\"\nvlan = 7\n\
                    neighbours = { \"10.1.0.2\" = \"02:00:00:00:00:02\" }";
        let section = check(&format!("{PORT}{more}"), &[OURS]).unwrap();
        let [(ip, mac)] = section.neighbours[..] else {
            panic!("{section:?}")
        };
        assert_eq!(
            (ip, mac),
            (Ipv4Addr::new(10, 1, 0, 2), Mac([2, 0, 0, 0, 0, 2]))
        );
        assert_eq!((section.vlan, section.eal.len()), (Some(7), 1));
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        for (more, locals, want) in [
            (
                "vlan = 0",
                [OURS],
                "net.dpdk.vlan must be in 1..=4094, not 0",
            ),
            (
                "gateway = \"10.1.1.1\"",
                [OURS],
                "net.dpdk.gateway 10.1.1.1 is no host of net.dpdk.network",
            ),
            (
                "",
                [Ipv4Addr::new(10, 1, 0, 255)],
                "10.1.0.255 is no host of net.dpdk.network: nobody there would ask for it",
            ),
            (
                "neighbours = { \"10.1.0.2\" = \"2:0\" }",
                [OURS],
                "10.1.0.2: '2:0' is no Ethernet address such as 02:00:00:00:00:0a",
            ),
        ] {
            let error = check(&format!("{PORT}{more}"), &locals).unwrap_err();
            assert_eq!(error, want);
        }
        let error = check(&PORT.replace("net_null0", ""), &[OURS]).unwrap_err();
        assert_eq!(error, "net.dpdk.port must name a device");
    }
}
