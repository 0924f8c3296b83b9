//! Chance with a seed that is printed, so that a failed run can be had again. SplitMix64.

use std::time::{SystemTime, UNIX_EPOCH};

/// A stream of numbers.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 .. `end`, `end` excluded.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True in `percent` of 100 cases.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// POSTBACKD_TEST_SEED, or one from the clock; printed with the name of who uses it.
pub fn seed(who: &str) -> u64 {
    let seed = std::env::var("POSTBACKD_TEST_SEED").ok().map(|text| text.parse().expect("POSTBACKD_TEST_SEED is a number")).unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        now.as_nanos() as u64 ^ u64::from(std::process::id()) << 32
    });
    println!("{who}: POSTBACKD_TEST_SEED={seed}");
    seed
}
