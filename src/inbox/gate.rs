//! Who may come in, and how often. Addresses are looked at here and nowhere else; they are neither kept nor logged.

use std::net::{IpAddr, SocketAddr};

use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::Settings;

/// An address, or all that begin as it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// `127.0.0.1`, `10.0.0.0/8`, `fd00::/8`.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().ok()?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(all);
        if bits > all {
            return None;
        }
        // Peers are looked at as IPv4 where they are, so that a network of them is one.
        let canonical = address.to_canonical();
        let mapped = if canonical.is_ipv4() { all - 32 } else { 0 };
        Some(Self { address: canonical, bits: bits.checked_sub(mapped)? })
    }

    fn holds(&self, other: IpAddr) -> bool {
        match (self.address, other.to_canonical()) {
            (IpAddr::V4(mine), IpAddr::V4(other)) => self.bits == 0 || (mine.to_bits() ^ other.to_bits()) >> (32 - self.bits) == 0,
            (IpAddr::V6(mine), IpAddr::V6(other)) => self.bits == 0 || (mine.to_bits() ^ other.to_bits()) >> (128 - self.bits) == 0,
            _ => false,
        }
    }
}

/// Addresses that are remembered before the idle ones are forgotten.
const MANY: usize = 50_000;

/// The limits of one configuration.
pub(super) struct Gate {
    proxies: Vec<Network>,
    all: DefaultDirectRateLimiter,
    each: DefaultKeyedRateLimiter<u128>,
}

impl Gate {
    pub(super) fn new(settings: &Settings) -> Self {
        let number = |number: u32| std::num::NonZeroU32::new(number).unwrap_or(std::num::NonZeroU32::MIN);
        Self {
            proxies: settings.proxies.clone(),
            all: RateLimiter::direct(Quota::per_second(number(settings.per_second))),
            each: RateLimiter::hashmap(Quota::per_minute(number(settings.per_address))),
        }
    }

    /// Whether one more request may come from there. An address that asks too often does not use up what the others have.
    pub(super) fn admits<'a>(&self, peer: IpAddr, forwarded: impl DoubleEndedIterator<Item = &'a [u8]>) -> bool {
        if let Some(client) = client(peer, forwarded, &self.proxies) {
            if self.each.len() > MANY {
                self.tidy();
            }
            if self.each.check_key(&whose(client)).is_err() {
                return false;
            }
        }
        self.all.check().is_ok()
    }

    /// Forgets addresses that have not asked for a while.
    pub(super) fn tidy(&self) {
        self.each.retain_recent();
        self.each.shrink_to_fit();
    }
}

/// A household or a phone has a whole /64 to choose addresses from.
fn whose(client: IpAddr) -> u128 {
    match client {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits() >> 64 << 64,
    }
}

/// Where a request comes from: the last address of `X-Forwarded-For` that is no proxy of ours, where the peer is one; what stands
/// before it is the client's own word. `None`: the proxy does not say, and one address would stand for all.
fn client<'a>(peer: IpAddr, forwarded: impl DoubleEndedIterator<Item = &'a [u8]>, proxies: &[Network]) -> Option<IpAddr> {
    let ours = |address: IpAddr| proxies.iter().any(|proxy| proxy.holds(address));
    if !ours(peer) {
        return Some(peer.to_canonical());
    }
    for line in forwarded.rev() {
        // Bytes, because what the client wrote before may be no text.
        for word in line.rsplit(|byte| *byte == b',') {
            let address = address(std::str::from_utf8(word).ok()?.trim())?;
            if !ours(address) {
                return Some(address);
            }
        }
    }
    None
}

/// With or without a port.
fn address(word: &str) -> Option<IpAddr> {
    let bare = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')).unwrap_or(word);
    let found = bare.parse().ok().or_else(|| word.parse::<SocketAddr>().ok().map(|address| address.ip()))?;
    Some(found.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| Network::parse(text).unwrap_or_else(|| panic!("{text}"))).collect()
    }

    #[test]
    fn networks_hold_what_begins_alike() {
        let holds = |network: &str, other: &str| Network::parse(network).is_some_and(|network| network.holds(other.parse().expect("an address")));
        assert!(holds("10.0.0.0/8", "10.200.3.4") && !holds("10.0.0.0/8", "11.0.0.1") && holds("0.0.0.0/0", "1.2.3.4"));
        assert!(holds("127.0.0.1", "127.0.0.1") && !holds("127.0.0.1", "127.0.0.2") && holds("127.0.0.1", "::ffff:127.0.0.1"));
        assert!(
            holds("fd00::/8", "fdab::1")
                && !holds("fd00::/8", "fe00::1")
                && holds("::1/128", "::1")
                && holds("::/0", "::2")
                && !holds("::/0", "1.2.3.4")
        );
        assert!(holds("::ffff:10.0.0.0/104", "10.9.9.9") && !holds("::ffff:10.0.0.0/104", "11.0.0.1") && holds("::ffff:127.0.0.1", "127.0.0.1"));
        for wrong in ["", "::ffff:10.0.0.0/90", "10.0.0.0/33", "::1/129", "10.0.0/8", "a/8", "10.0.0.0/", "10.0.0.0/-1"] {
            assert_eq!(Network::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_proxies_say_who_asks_and_only_of_what_they_saw() {
        let proxies = networks(&["127.0.0.1", "10.0.0.0/8"]);
        let of = |peer: &str, lines: &[&str]| {
            client(peer.parse().expect("an address"), lines.iter().map(|line| line.as_bytes()), &proxies).map(|found| found.to_string())
        };
        assert_eq!(of("203.0.113.9", &["198.51.100.1"]).as_deref(), Some("203.0.113.9"), "a stranger's own word");
        assert_eq!(of("127.0.0.1", &["198.51.100.1"]).as_deref(), Some("198.51.100.1"));
        assert_eq!(of("127.0.0.1", &["1.1.1.1, 198.51.100.1, 10.1.2.3"]).as_deref(), Some("198.51.100.1"), "before it the client may write anything");
        assert_eq!(of("127.0.0.1", &["1.1.1.1", "198.51.100.1:4711"]).as_deref(), Some("198.51.100.1"));
        assert_eq!(of("::ffff:127.0.0.1", &["[2001:db8::1]:443"]).as_deref(), Some("2001:db8::1"));
        assert_eq!(of("127.0.0.1", &["[2001:db8::1]"]).as_deref(), Some("2001:db8::1"));
        let hostile = [&b"\xff\xfe, 198.51.100.1"[..]];
        let found = client("127.0.0.1".parse().expect("an address"), hostile.into_iter(), &proxies);
        assert_eq!(found.map(|found| found.to_string()).as_deref(), Some("198.51.100.1"), "no text, and not the proxy's");
        for nobody in [&[][..], &["10.0.0.1"], &[""], &["1.1.1.1, unknown"]] {
            assert_eq!(of("127.0.0.1", nobody), None, "{nobody:?}");
        }
    }

    #[test]
    fn one_address_is_held_back_and_the_others_are_not() {
        let settings = Settings {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            apps: Default::default(),
            development: false,
            forward: false,
            proxies: networks(&["127.0.0.1"]),
            per_address: 3,
            per_second: 20,
            connections: 1,
            keep_unverified: 0,
        };
        let gate = Gate::new(&settings);
        let peer: IpAddr = "127.0.0.1".parse().expect("an address");
        let from = |who: &'static str| gate.admits(peer, [who.as_bytes()].into_iter());
        assert_eq!([0; 5].map(|_| from("2001:db8::1")), [true, true, true, false, false]);
        assert!(!from("2001:db8::ffff"), "the same /64");
        assert!(from("2001:db8:0:1::1") && from("198.51.100.7"));
        let rest = (0..100u8).filter(|n| gate.admits([198, 51, 100, 100 + n % 100].into(), [].into_iter())).count();
        assert!((10..40).contains(&rest), "all together {rest} more than 5");
        gate.tidy();
    }
}
