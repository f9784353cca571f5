//! Components onto the wire.

use std::path::Path;

use bytes::Bytes;
use wasmill_core::limits::plugin::COMPONENT_BYTES_MAX;

use crate::cli::client::Client;
use crate::cli::exit::Failure;
use crate::proto::{CheckPluginRequest, CheckPluginResponse, DeployOptions, DeployPluginRequest, Plugin};

/// The protocol allows up to 1 MiB.
const CHUNK_BYTES: usize = 256 << 10;

/// Reads a component. Whether it is one, the host says; only what it can never take is refused here.
pub(crate) fn read(path: &Path) -> Result<Bytes, Failure> {
    let name = path.display().to_string();
    let size = std::fs::metadata(path).map_err(|error| Failure::file(&name, &error))?.len();
    if size > COMPONENT_BYTES_MAX as u64 {
        let message = format!("{name} has {size} bytes; a component may have {COMPONENT_BYTES_MAX}");
        return Err(Failure::failed("body_too_large", message));
    }
    std::fs::read(path).map(Bytes::from).map_err(|error| Failure::file(&name, &error))
}

pub(crate) async fn check(client: &Client, component: Bytes) -> Result<CheckPluginResponse, Failure> {
    let chunks = chunks(component).map(|chunk| CheckPluginRequest { chunk });
    Ok(client.plugins().check_plugin(tokio_stream::iter(chunks)).await?.into_inner())
}

/// Returns the deployed plugin, and whether it is another than before.
pub(crate) async fn deploy(client: &Client, component: Bytes) -> Result<(Plugin, bool), Failure> {
    deploy_with(client, component, DeployOptions::default()).await
}

/// The same with a configuration, grants and a place to begin at.
pub(crate) async fn deploy_with(
    client: &Client,
    component: Bytes,
    options: DeployOptions,
) -> Result<(Plugin, bool), Failure> {
    let first = DeployPluginRequest { chunk: Bytes::new(), options: Some(options) };
    let chunks = chunks(component).map(|chunk| DeployPluginRequest { chunk, options: None });
    let chunks = std::iter::once(first).chain(chunks);
    let response = client.plugins().deploy_plugin(tokio_stream::iter(chunks)).await?.into_inner();
    let plugin = response.plugin.ok_or_else(|| Failure::failed("malformed_answer", "the answer holds no plugin"))?;
    Ok((plugin, response.changed))
}

fn chunks(component: Bytes) -> impl Iterator<Item = Bytes> + Send + 'static {
    let count = component.len().div_ceil(CHUNK_BYTES);
    (0..count).map(move |index| {
        let start = index * CHUNK_BYTES;
        component.slice(start..component.len().min(start + CHUNK_BYTES))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_the_component_in_order() {
        for size in [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES - 1] {
            let component: Bytes = (0..size).map(|index| (index % 251) as u8).collect();
            let together: Vec<u8> = chunks(component.clone()).flatten().collect();
            assert!(together == component && chunks(component).all(|chunk| (1..=CHUNK_BYTES).contains(&chunk.len())));
        }
    }
}
