//! Addresses that are not of the public internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where an address leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    Public,
    /// This machine, or a network that only some machines are in.
    Private,
    /// Neighbours on the wire, among them the metadata services of clouds.
    LinkLocal,
}

/// The reach of an address; one that carries an IPv4 address within it has that one's.
pub fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => match embedded(address) {
            Some(v4) => reach_v4(v4),
            None => reach_v6(address),
        },
    }
}

/// IANA's special-purpose registry for IPv4.
fn reach_v4(address: Ipv4Addr) -> Reach {
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        (169, 254, _) => Reach::LinkLocal,
        (0 | 10 | 127, _, _)
        | (100, 64..=127, _)
        | (172, 16..=31, _)
        | (192, 0, 0 | 2)
        | (192, 88, 99)
        | (192, 168, _)
        | (198, 18 | 19, _)
        | (198, 51, 100)
        | (203, 0, 113)
        | (224..=255, _, _) => Reach::Private,
        _ => Reach::Public,
    }
}

/// Outside 2000::/3 nothing is public; the metadata service of AWS has a unique-local address.
fn reach_v6(address: Ipv6Addr) -> Reach {
    let [first, second, ..] = address.segments();
    match (first, second) {
        (0xfe80..=0xfebf, _) | (0xfd00, 0x0ec2) => Reach::LinkLocal,
        // Documentation, Teredo and ORCHID.
        (0x2001, 0x0db8 | 0x0000 | 0x0010..=0x002f) => Reach::Private,
        (0x2000..=0x3fff, _) => Reach::Public,
        _ => Reach::Private,
    }
}

/// The IPv4 address of a mapped, compatible, translated (NAT64) or 6to4 address.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let last = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => Some(last(high, low)),
        _ => None,
    }
}

/// A network in CIDR notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Net {
    address: IpAddr,
    prefix: u8,
}

impl Net {
    /// Reads `ADDRESS` or `ADDRESS/BITS`.
    pub fn parse(text: &str) -> Option<Net> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(longest);
        (prefix <= longest).then_some(Net { address, prefix })
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        let address = match address {
            IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
            IpAddr::V4(_) => address,
        };
        let (ours, theirs, bits) = match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
            _ => return false,
        };
        let shift = bits - u32::from(self.prefix);
        ours.checked_shr(shift) == theirs.checked_shr(shift)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_way_to_write_a_private_address_is_seen_through() {
        let reach = |text: &str| super::reach(text.parse().unwrap());
        for private in [
            "127.0.0.1",
            "127.9.9.9",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "240.0.0.1",
            "198.18.0.1",
            "::",
            "::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "2002:c0a8:101::1",
            "2001:db8::1",
            "2001::1",
            "::ffff:0:127.0.0.1",
            "100::1",
        ] {
            assert_eq!(reach(private), Reach::Private, "{private}");
        }
        for link_local in [
            "169.254.169.254",
            "fe80::1",
            "::ffff:169.254.169.254",
            "fd00:ec2::254",
            "64:ff9b::a9fe:a9fe",
        ] {
            assert_eq!(reach(link_local), Reach::LinkLocal, "{link_local}");
        }
        for public in [
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
            "2001:4860:4860::8888",
        ] {
            assert_eq!(reach(public), Reach::Public, "{public}");
        }
    }

    #[test]
    fn networks_hold_their_addresses() {
        let holds = |net: &str, address: &str| Net::parse(net).unwrap().contains(address.parse().unwrap());
        assert!(holds("10.0.0.0/8", "10.255.0.1") && holds("10.0.0.0/8", "::ffff:10.0.0.1"));
        assert!(!holds("10.0.0.0/8", "11.0.0.1") && !holds("10.0.0.0/8", "::1"));
        assert!(holds("127.0.0.1", "127.0.0.1") && !holds("127.0.0.1", "127.0.0.2"));
        assert!(holds("0.0.0.0/0", "9.9.9.9") && holds("::/0", "fd00::1") && holds("fd00::/8", "fd12::1"));
        assert_eq!(
            [
                Net::parse("10.0.0.0/33"),
                Net::parse("x"),
                Net::parse("1.2.3.4/-1")
            ],
            [None; 3]
        );
    }
}
