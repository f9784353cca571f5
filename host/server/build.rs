//! Compiles the protocol, without an installed protoc, the plugin that the demo deploys, and the
//! files that `wasmill plugin new` writes.

#[path = "build/guest.rs"]
mod guest;
#[path = "build/projects.rs"]
mod projects;

use std::error::Error;
use std::path::PathBuf;

use prost::Message;

const PROTOS: [&str; 12] = [
    "wasmill/v1/event.proto",
    "wasmill/v1/log.proto",
    "wasmill/v1/stream.proto",
    "wasmill/v1/group.proto",
    "wasmill/v1/queue.proto",
    "wasmill/v1/schedule.proto",
    "wasmill/v1/schema.proto",
    "wasmill/v1/receipt.proto",
    "wasmill/v1/replay.proto",
    "wasmill/v1/saga.proto",
    "wasmill/v1/plugin.proto",
    "wasmill/v1/projection.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("wasmill.v1.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        // Headers in one order, whatever the client's map made of them: the content of an event is
        // compared when its id comes a second time.
        .btree_map(".")
        // Stored bytes are this message already: they are handed on, not built anew.
        .extern_path(".wasmill.v1.Event", "crate::wire::Event")
        .compile_fds(descriptors)?;
    guest::build("flights", &[], &["plugins/flights", "guest-sdk", "wit"], &out.join("flights.wasm"))?;
    projects::embed(&out.join("projects.rs"))?;
    Ok(())
}
