//! Networks of IPv4 addresses.

use serde::Deserialize;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// Addresses with a prefix in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Ipv4Net {
    base: u32,
    mask: u32,
}

impl Ipv4Net {
    /// All addresses.
    pub const ALL: Self = Self { base: 0, mask: 0 };

    /// The network of an address, given how many bits of it are the network's.
    ///
    /// # Panics
    /// If `bits` is more than 32.
    #[must_use]
    pub fn around(address: Ipv4Addr, bits: u32) -> Self {
        assert!(bits <= 32, "{bits} bits");
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        Self {
            base: address.to_bits() & mask,
            mask,
        }
    }

    /// How many bits its addresses have in common.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.mask.leading_ones()
    }

    /// Whether the two have an address in common.
    #[must_use]
    pub fn meets(self, other: Self) -> bool {
        (self.base ^ other.base) & self.mask & other.mask == 0
    }

    /// Whether an address means the network itself, or every host in it. Networks of two addresses or one have
    /// neither.
    #[must_use]
    pub const fn is_reserved(self, address: Ipv4Addr) -> bool {
        let host = address.to_bits() & !self.mask;
        self.bits() < 31 && (host == 0 || host == !self.mask)
    }

    /// Whether an address is one of them.
    #[must_use]
    pub fn holds(self, address: Ipv4Addr) -> bool {
        address.to_bits() & self.mask == self.base
    }
}

impl FromStr for Ipv4Net {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fail = || format!("'{text}' is no network such as 10.1.0.0/16");
        let (address, bits) = text.split_once('/').unwrap_or((text, "32"));
        let address: Ipv4Addr = address.parse().map_err(|_| fail())?;
        let bits: u32 = bits.parse().map_err(|_| fail())?;
        if bits > 32 {
            return Err(fail());
        }
        let net = Self::around(address, bits);
        if net.base != address.to_bits() {
            return Err(fail());
        }
        Ok(net)
    }
}

impl TryFrom<String> for Ipv4Net {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        let table = [
            ("10.1.0.0/16", [10, 1, 255, 9], [10, 2, 0, 0]),
            ("10.1.2.3", [10, 1, 2, 3], [10, 1, 2, 4]),
            ("10.1.2.2/31", [10, 1, 2, 3], [10, 1, 2, 4]),
        ];
        for (net, inside, outside) in table {
            let net: Ipv4Net = net.parse().unwrap();
            assert!(net.holds(inside.into()) && !net.holds(outside.into()));
        }
        let all: Ipv4Net = "0.0.0.0/0".parse().unwrap();
        assert!(all.holds([255; 4].into()) && all.holds([0; 4].into()));
        let net = |text: &str| text.parse::<Ipv4Net>().unwrap();
        assert!(net("10.0.0.0/8").meets(net("10.1.0.0/16")) && all.meets(net("10.1.2.3")));
        assert!(!net("10.1.0.0/16").meets(net("10.2.0.0/16")));
        assert_eq!(
            (net("10.1.2.0/23").bits(), net("10.1.2.3").bits()),
            (23, 32)
        );
        assert!(net("10.1.2.0/23").is_reserved([10, 1, 3, 255].into()));
        assert!(!net("10.1.2.0/23").is_reserved([10, 1, 2, 255].into()));
        assert!(!net("10.1.2.2/31").is_reserved([10, 1, 2, 2].into()));
        for bad in [
            "",
            "10.1.0.0/33",
            "10.1.0.1/16",
            "10.1/16",
            "a/8",
            "10.0.0.0/",
        ] {
            assert!(bad.parse::<Ipv4Net>().is_err(), "{bad}");
        }
    }
}
