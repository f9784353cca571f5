//! Random numbers that a seed repeats, for tests; the seed is told when one fails.

/// Runs of a random test: `WASMILL_SEED` repeats one of them.
pub fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("WASMILL_SEED") {
        Ok(seed) => vec![seed.parse().expect("WASMILL_SEED is a number")],
        Err(_) => (0..count).collect(),
    }
}

/// SplitMix64 (<https://prng.di.unimi.it/splitmix64.c>): small, and any seed is a good one.
#[derive(Debug)]
pub struct Random {
    seed: u64,
    state: u64,
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Self { seed, state: seed }
    }

    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }
}

impl Drop for Random {
    #[expect(clippy::print_stderr, reason = "whoever reads the failure wants to repeat it")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to repeat this run, set WASMILL_SEED={}", self.seed);
        }
    }
}
