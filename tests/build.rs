//! Builds the guests that the tests upload, each variant once, into a folder that they find by
//! `GUESTS`.

use std::error::Error;
use std::path::PathBuf;

#[path = "../host/server/build/guest.rs"]
mod guest;

const SDK: [&str; 2] = ["guest-sdk", "wit"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let guests = PathBuf::from(std::env::var("OUT_DIR")?);
    println!("cargo::rustc-env=GUESTS={}", guests.display());
    guest::build("flights", &[], &[SDK[0], SDK[1], "plugins/flights"], &guests.join("flights.wasm"))?;
    for variant in ["", "describe-loops", "describe-gigabyte", "bad-descriptor", "many-collections"] {
        let (features, name) = if variant.is_empty() { (vec![], "test-guest") } else { (vec![variant], variant) };
        guest::build("test-guest", &features, &[SDK[0], SDK[1], "tests/guests"], &guests.join(format!("{name}.wasm")))?;
    }
    guest::build("test-saga", &["shaped"], &[SDK[0], SDK[1], "tests/guests-saga"], &guests.join("shaped-saga.wasm"))?;
    for (package, source) in [
        ("cdevents", "plugins/cdevents"),
        ("test-handler", "tests/guests-handler"),
        ("test-saga", "tests/guests-saga"),
        ("test-upcaster", "tests/guests-upcaster"),
        ("user-statistics", "plugins/examples-rust"),
        ("welcome", "plugins/examples-rust"),
        ("user-v1-to-v3", "plugins/examples-rust"),
        ("order-fulfillment", "plugins/examples-rust"),
        ("overdue-flights", "plugins/examples-rust"),
    ] {
        guest::build(package, &[], &[SDK[0], SDK[1], source], &guests.join(format!("{package}.wasm")))?;
    }
    Ok(())
}
