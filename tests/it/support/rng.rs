//! Random numbers that replay: every test that uses them prints its seed first.

use std::time::UNIX_EPOCH;

/// SplitMix64 (Steele, Lea, Flood, 2014).
#[derive(Debug)]
pub struct Rng(u64);

impl Rng {
    /// Takes the seed from `WASMILL_SEED`, or a fresh one, and prints it.
    #[allow(clippy::disallowed_methods, clippy::print_stderr, reason = "a seed is not a time, and has to be seen")]
    pub fn printed(test: &str) -> Self {
        let fresh = || std::time::SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64);
        let given = std::env::var("WASMILL_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(fresh);
        eprintln!("{test}: WASMILL_SEED={seed}");
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Another one, which this one decides.
    pub fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
