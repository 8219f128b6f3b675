//! The NIC of each hot address: driver, queues, interrupts, and what it does with packets before we see them.

use super::ethtool::{Coalescing, Settings, interfaces};
use super::machine::{Machine, parse_list, show_list};
use super::netdev::{XdpFeatures, xdp_features};
use super::{Check, Finding, Subject};
use crate::config::Backend;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

const NIC: Check = Check::new(
    "nic",
    "a virtual interface adds a software switch on both ways; an address without interface cannot be bound",
);
const LINK: Check = Check::new("link", "without a carrier nothing arrives");
const QUEUES: Check = Check::new(
    "queues",
    "AF_XDP binds to one queue: with several, the flows must be steered to it",
);
const RING: Check = Check::new(
    "rx ring",
    "a burst that finds the ring full is dropped before anyone can count it",
);
const COALESCING: Check = Check::new(
    "coalescing",
    "the card holds interrupts back for this long, and the first packet after a pause waits with them",
);
const OFFLOADS: Check = Check::new(
    "offloads",
    "LRO merges packets in the card: it waits for more of them, and XDP refuses to run beside it",
);
const PAUSES: Check = Check::new(
    "flow control",
    "a pause frame from the switch stops all sending, feed and reports alike",
);
const IRQS: Check = Check::new(
    "nic interrupts",
    "each interrupt on a hot core takes microseconds from its tile",
);
const NODE: Check = Check::new(
    "nic numa node",
    "packets reach a core of another NUMA node over the socket link, some 100 ns each way",
);
const XDP: Check = Check::new(
    "xdp",
    "native mode and zero copy are what makes AF_XDP faster than sockets",
);
const STAMPS: Check = Check::new(
    "rx timestamps",
    "a stamp by the card shows what the kernel and we add; one by software starts after the interrupt",
);

const RING_GOOD: u32 = 512;

pub(super) fn findings(machine: &Machine, subject: &Subject) -> Vec<Finding> {
    let interfaces = interfaces();
    let mut names = BTreeSet::new();
    let mut all = Vec::new();
    for (name, _) in interfaces
        .iter()
        .filter(|(n, _)| subject.addresses.is_empty() && n != "lo")
    {
        names.insert(name.as_str());
    }
    for address in &subject.addresses {
        match interfaces
            .iter()
            .find(|(name, at)| is_at(name, *at, *address))
        {
            Some((name, _)) => drop(names.insert(name)),
            None => all.push(NIC.problem(
                format!("{address} is on no interface"),
                format!("sudo ip addr add {address}/24 dev INTERFACE, or correct [net] and [feed]"),
            )),
        }
    }
    for name in names {
        let index = machine.number(format!("/sys/class/net/{name}/ifindex"));
        let xdp = index.and_then(|i| xdp_features(u32::try_from(i).ok()?));
        all.extend(of(machine, name, &Settings::of(name), xdp, subject));
    }
    all
}

/// Whether an interface with address `at` takes what goes to `address`: loopback takes a whole network.
fn is_at(name: &str, at: Ipv4Addr, address: Ipv4Addr) -> bool {
    at == address || name == "lo" && address.is_loopback()
}

fn of(
    machine: &Machine,
    name: &str,
    settings: &Settings,
    xdp: Option<XdpFeatures>,
    subject: &Subject,
) -> Vec<Finding> {
    let hot = subject.hot_cores.as_slice();
    let dir = format!("/sys/class/net/{name}");
    if machine.number(format!("{dir}/type")) == Some(772) {
        return vec![NIC.ok(format!("{name}: loopback, for laboratories"))];
    }
    let mut all = vec![
        nic(machine, &dir, name, settings),
        link(machine, &dir, name),
    ];
    let both =
        |pair: Option<(u32, u32)>| pair.map(|(now, most)| format!("{name}: {now} of {most}"));
    all.extend(both(settings.queues).map(|found| QUEUES.ok(found)));
    all.extend(settings.rx_ring.map(|(now, most)| ring(name, now, most)));
    all.extend(settings.coalescing.map(|c| coalescing(name, c)));
    all.extend(offloads(name, settings));
    all.extend(settings.pauses.map(|on| match on {
        true => PAUSES.advice(
            format!("{name}: on"),
            format!("sudo ethtool -A {name} rx off tx off"),
        ),
        false => PAUSES.ok(format!("{name}: off")),
    }));
    all.extend(interrupts(machine, &dir, name, hot));
    all.extend(node(machine, &dir, name, hot));
    all.push(match xdp {
        None => XDP.unknown(format!("{name}: this kernel does not tell")),
        Some(x) if x.is_zero_copy() => XDP.ok(format!("{name}: native, zero copy")),
        Some(x) if x.is_native() => XDP.ok(format!("{name}: native, with a copy")),
        Some(_) if subject.backend == Backend::Xdp => XDP.advice(
            format!("{name}: generic only"),
            "use a card whose driver has native XDP; generic mode works, at the kernel's cost for each packet",
        ),
        Some(_) => XDP.ok(format!("{name}: generic only")),
    });
    all.extend(stamps(name, settings));
    all
}

fn stamps(name: &str, settings: &Settings) -> Option<Finding> {
    Some(match (settings.stamps_rx?, settings.stamps_on) {
        (false, _) => STAMPS.ok(format!("{name}: software")),
        (true, Some(true)) => STAMPS.ok(format!("{name}: hardware")),
        // Its clock is to follow the time of day, without the leap seconds between that and atomic time.
        (true, _) => STAMPS.advice(
            format!("{name}: software, and the card could"),
            format!(
                "sudo hwstamp_ctl -i {name} -r 1 && sudo phc2sys -s CLOCK_REALTIME -c {name} -O 0"
            ),
        ),
    })
}

fn nic(machine: &Machine, dir: &str, name: &str, settings: &Settings) -> Finding {
    let driver = settings.driver.as_deref().unwrap_or("driver unknown");
    let speed = machine.number(format!("{dir}/speed")).filter(|s| *s > 0);
    let speed = speed.map_or(String::new(), |s| format!(", {s} Mbit/s"));
    let found = format!("{name}: {driver}{speed}");
    let is_virtual = !machine.has(format!("{dir}/device")) || driver == "virtio_net";
    match is_virtual {
        true => NIC.advice(
            format!("{found}, virtual"),
            "use a physical NIC, or a virtual function of one, for measured latency",
        ),
        false => NIC.ok(found),
    }
}

fn link(machine: &Machine, dir: &str, name: &str) -> Finding {
    match machine.read(format!("{dir}/operstate")).as_deref() {
        // Some virtual drivers never say.
        Some(state @ ("up" | "unknown")) => LINK.ok(format!("{name}: {state}")),
        Some(state) => LINK.problem(
            format!("{name}: {state}"),
            format!("sudo ip link set {name} up, and look at the cable"),
        ),
        None => LINK.unknown(format!("{name}: the system does not show it")),
    }
}

fn ring(name: &str, now: u32, most: u32) -> Finding {
    let found = format!("{name}: {now} of {most}");
    if now < RING_GOOD && now < most {
        RING.advice(
            found,
            format!("sudo ethtool -G {name} rx {}", most.min(2 * RING_GOOD)),
        )
    } else {
        RING.ok(found)
    }
}

fn coalescing(name: &str, c: Coalescing) -> Finding {
    let found = format!(
        "{name}: {} us{}",
        c.rx_us,
        if c.is_adaptive { ", adaptive" } else { "" }
    );
    if c.rx_us > 0 || c.is_adaptive {
        COALESCING.advice(
            found,
            format!("sudo ethtool -C {name} adaptive-rx off rx-usecs 0"),
        )
    } else {
        COALESCING.ok(found)
    }
}

fn offloads(name: &str, settings: &Settings) -> Option<Finding> {
    let (gro, lro) = (settings.gro?, settings.lro?);
    let word = |on| if on { "on" } else { "off" };
    let found = format!("{name}: GRO {}, LRO {}", word(gro), word(lro));
    Some(match lro {
        true => OFFLOADS.advice(found, format!("sudo ethtool -K {name} lro off")),
        false => OFFLOADS.ok(found),
    })
}

/// Interrupts of a device that run on hot cores.
fn interrupts(machine: &Machine, dir: &str, name: &str, hot: &[usize]) -> Option<Finding> {
    // A virtio device has them one level up, where the PCI device is.
    let lists =
        ["device/msi_irqs", "device/../msi_irqs"].map(|d| machine.list(format!("{dir}/{d}")));
    let irqs = lists.into_iter().find(|l| !l.is_empty())?;
    let cores_of = |irq: &String| {
        let at = format!("/proc/irq/{irq}");
        let text = machine.read(format!("{at}/effective_affinity_list"));
        let text = text.filter(|t| !t.is_empty());
        parse_list(
            &text
                .or_else(|| machine.read(format!("{at}/smp_affinity_list")))
                .unwrap_or_default(),
        )
    };
    let on: BTreeSet<usize> = irqs.iter().flat_map(cores_of).collect();
    let found = format!("{name}: on {}", show_list(&on));
    let is_hot = |cores: &BTreeSet<usize>| cores.iter().any(|c| hot.contains(c));
    if !is_hot(&on) {
        return Some(IRQS.ok(found));
    }
    let others = machine
        .online()
        .into_iter()
        .filter(|c| !hot.contains(c))
        .collect::<BTreeSet<_>>();
    let hot_irqs: Vec<_> = irqs
        .iter()
        .filter(|i| is_hot(&cores_of(i)))
        .cloned()
        .collect();
    Some(IRQS.advice(
        format!("{found}, of which {} is hot", show_list(on.iter().filter(|c| hot.contains(c)))),
        format!(
            "for irq in {}; do echo {} | sudo tee /proc/irq/$irq/smp_affinity_list; done; sudo systemctl disable --now irqbalance",
            hot_irqs.join(" "),
            show_list(&others)
        ),
    ))
}

fn node(machine: &Machine, dir: &str, name: &str, hot: &[usize]) -> Option<Finding> {
    let node = machine
        .number(format!("{dir}/device/numa_node"))
        .filter(|n| *n >= 0)?;
    let near = machine.read(format!("/sys/devices/system/node/node{node}/cpulist"));
    let near = parse_list(&near?);
    let far: Vec<_> = hot.iter().filter(|c| !near.contains(c)).collect();
    let found = format!("{name}: node {node}, cores {}", show_list(&near));
    Some(if far.is_empty() {
        NODE.ok(found)
    } else {
        NODE.advice(
            format!("{found}; hot cores elsewhere: {}", show_list(far)),
            format!("choose hot cores among {} in [topology]", show_list(&near)),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::ethtool::{Coalescing, Settings};
    use super::super::machine::tests::fake;
    use super::super::netdev::XdpFeatures;
    use super::super::{Finding, Level, Subject};
    use super::{findings, is_at, of};
    use crate::config::Backend;
    use std::net::Ipv4Addr;

    fn server(hot: &[usize], settings: &Settings) -> Vec<Finding> {
        let (_dir, machine) = fake(&[
            ("/sys/devices/system/cpu/online", "0-7\n"),
            ("/sys/devices/system/node/node0/cpulist", "0-3\n"),
            ("/sys/devices/system/node/node1/cpulist", "4-7\n"),
            ("/sys/class/net/ens1/type", "1\n"),
            ("/sys/class/net/ens1/operstate", "up\n"),
            ("/sys/class/net/ens1/speed", "25000\n"),
            ("/sys/class/net/ens1/device/numa_node", "1\n"),
            ("/sys/class/net/ens1/device/msi_irqs/91", "msix\n"),
            ("/sys/class/net/ens1/device/msi_irqs/92", "msix\n"),
            ("/proc/irq/91/smp_affinity_list", "0-7\n"),
            ("/proc/irq/91/effective_affinity_list", "5\n"),
            ("/proc/irq/92/smp_affinity_list", "2\n"),
            ("/proc/irq/92/effective_affinity_list", "\n"),
        ]);
        let subject = Subject {
            hot_cores: hot.to_vec(),
            ..Subject::any()
        };
        of(
            &machine,
            "ens1",
            settings,
            Some(XdpFeatures(0b1111)),
            &subject,
        )
    }

    #[test]
    fn a_card_as_it_comes_is_told_what_to_do() {
        let settings = Settings {
            driver: Some("mlx5_core".into()),
            queues: Some((8, 63)),
            rx_ring: Some((256, 8192)),
            coalescing: Some(Coalescing {
                rx_us: 8,
                is_adaptive: true,
            }),
            pauses: Some(true),
            gro: Some(true),
            lro: Some(true),
            stamps_rx: Some(true),
            stamps_on: Some(false),
        };
        let all = server(&[2, 5], &settings);
        let lines: Vec<_> = all
            .iter()
            .map(|f| (f.name, f.level, f.found.as_str()))
            .collect();
        let want = [
            ("nic", Level::Ok, "ens1: mlx5_core, 25000 Mbit/s"),
            ("link", Level::Ok, "ens1: up"),
            ("queues", Level::Ok, "ens1: 8 of 63"),
            ("rx ring", Level::Advice, "ens1: 256 of 8192"),
            ("coalescing", Level::Advice, "ens1: 8 us, adaptive"),
            ("offloads", Level::Advice, "ens1: GRO on, LRO on"),
            ("flow control", Level::Advice, "ens1: on"),
            (
                "nic interrupts",
                Level::Advice,
                "ens1: on 2,5, of which 2,5 is hot",
            ),
            (
                "nic numa node",
                Level::Advice,
                "ens1: node 1, cores 4-7; hot cores elsewhere: 2",
            ),
            ("xdp", Level::Ok, "ens1: native, zero copy"),
            (
                "rx timestamps",
                Level::Advice,
                "ens1: software, and the card could",
            ),
        ];
        assert_eq!(lines, want);
        assert_eq!(all[3].mend.as_deref(), Some("sudo ethtool -G ens1 rx 1024"));
        let irqs = all[7].mend.as_ref().unwrap();
        assert!(
            irqs.starts_with("for irq in 91 92; do echo 0-1,3-4,6-7 |"),
            "{irqs}"
        );
    }

    #[test]
    fn a_tuned_card_passes_and_a_silent_driver_is_not_judged() {
        let tuned = Settings {
            driver: Some("ice".into()),
            rx_ring: Some((1024, 8160)),
            coalescing: Some(Coalescing {
                rx_us: 0,
                is_adaptive: false,
            }),
            pauses: Some(false),
            gro: Some(true),
            lro: Some(false),
            stamps_rx: Some(true),
            stamps_on: Some(true),
            ..Settings::default()
        };
        for f in server(&[6], &tuned) {
            assert_eq!(f.level, Level::Ok, "{f:?}");
        }
        let silent = server(&[6], &Settings::default());
        assert!(
            !silent
                .iter()
                .any(|f| f.name == "coalescing" || f.name == "offloads")
        );
    }

    #[test]
    fn generic_xdp_is_worth_a_word_only_to_who_uses_it() {
        let level = |backend| {
            let (_dir, machine) = fake(&[("/sys/class/net/tap0/type", "1\n")]);
            let subject = Subject {
                backend,
                ..Subject::any()
            };
            let all = of(
                &machine,
                "tap0",
                &Settings::default(),
                Some(XdpFeatures(0)),
                &subject,
            );
            all.iter().find(|f| f.name == "xdp").unwrap().level
        };
        assert_eq!(level(Backend::Xdp), Level::Advice);
        assert_eq!(level(Backend::Uring), Level::Ok);
    }

    #[test]
    fn an_address_of_another_machine_is_a_problem_and_loopback_needs_no_tuning() {
        let at = |address| Subject {
            addresses: vec![address],
            ..Subject::any()
        };
        let machine = super::Machine::real();
        let all = findings(&machine, &at(Ipv4Addr::new(192, 0, 2, 1)));
        assert_eq!(all.len(), 1);
        assert_eq!(
            (all[0].level, all[0].found.as_str()),
            (Level::Problem, "192.0.2.1 is on no interface")
        );
        let all = findings(&machine, &at(Ipv4Addr::new(127, 0, 0, 2)));
        assert_eq!(all[0].found, "lo: loopback, for laboratories");
        assert_eq!(all.len(), 1);
        assert!(!is_at(
            "eth0",
            Ipv4Addr::new(10, 0, 0, 1),
            Ipv4Addr::new(10, 0, 0, 2)
        ));
    }
}
