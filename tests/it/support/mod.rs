//! What the tests share: a host process, clients, and the flights.

pub mod flights;
pub mod host;
pub mod raw;
pub mod rng;

pub use host::TestHost;

use std::io::Read;
use std::path::PathBuf;

use serde_json::Value;

/// The root of the checkout.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent").to_owned()
}

/// Whether the long form was asked for (`tests/run --long`).
pub fn long() -> bool {
    std::env::var_os("WASMILL_TEST_LONG").is_some()
}

/// Events of a data set; `None`, said aloud, where there is none.
pub fn data_set(name: &str) -> Option<Vec<Value>> {
    let folder = std::env::var_os("WASMILL_TEST_DATA").map_or_else(|| root().join("../shared/data"), PathBuf::from);
    let Ok(file) = std::fs::File::open(folder.join(name)) else {
        // The project does not bring it along.
        println!("SKIPPED: there is no {name} in WASMILL_TEST_DATA");
        return None;
    };
    let mut lines = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut lines).expect("it is gzip");
    Some(lines.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect())
}
