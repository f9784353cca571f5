//! Where a component comes from: a file, or a revision that a host has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use clap::Args;
use wasmill_core::limits::plugin::COMPONENT_BYTES_MAX;
use wasmill_core::plugin::setup::Setup;

use crate::cli::client::Remote;
use crate::cli::exit::Failure;
use crate::cli::plugin::upload;
use crate::proto::download_plugin_response::Kind;
use crate::proto::{DownloadPluginRequest, PluginRevision};

#[derive(Args, Clone, Debug)]
pub(crate) struct ComponentArgs {
    #[command(flatten)]
    which: Which,
    /// Of the plugin that --name names [default: the one that works or answers queries now]
    #[arg(long, value_name = "NUMBER", conflicts_with = "file")]
    revision: Option<u32>,
}

#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
struct Which {
    /// The component
    #[arg(value_name = "FILE.wasm")]
    file: Option<PathBuf>,
    /// A plugin that a host has, with its configuration and its grants. Without events it is handed those of
    /// the host that it asks for
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// A component that another is held against.
#[derive(Clone, Debug)]
pub(crate) enum Other {
    File(PathBuf),
    /// Of the plugin of the same name.
    Revision(u32),
}

/// A number is a revision; a file of such a name is meant by `./7`.
pub(crate) fn other(text: &str) -> Result<Other, String> {
    match text.parse() {
        Ok(number) => Ok(Other::Revision(number)),
        Err(_) if text.is_empty() => Err("give a file or the number of a revision".into()),
        Err(_) => Ok(Other::File(text.into())),
    }
}

/// A component, and what it was deployed with where it was.
pub(crate) struct Component {
    pub bytes: Bytes,
    pub setup: Option<Setup>,
}

impl ComponentArgs {
    pub(crate) async fn load(&self, remote: &Remote) -> Result<Component, Failure> {
        match (&self.which.file, &self.which.name) {
            (Some(file), _) => Component::read(file.clone()),
            (None, Some(name)) => Component::fetch(name, self.revision, remote).await,
            (None, None) => Err(Failure::usage("give FILE.wasm or --name NAME")),
        }
    }

    /// Whether it is one that a host has, and so one that the host has events for.
    pub(crate) fn is_deployed(&self) -> bool {
        self.which.name.is_some()
    }
}

impl Other {
    /// `name` is that of the plugin that it is held against.
    pub(crate) async fn load(&self, name: &str, remote: &Remote) -> Result<Component, Failure> {
        match self {
            Other::File(file) => Component::read(file.clone()),
            Other::Revision(number) => Component::fetch(name, Some(*number), remote).await,
        }
    }
}

impl Component {
    fn read(file: PathBuf) -> Result<Self, Failure> {
        Ok(Self { bytes: upload::read(&file)?, setup: None })
    }

    async fn fetch(name: &str, revision: Option<u32>, remote: &Remote) -> Result<Self, Failure> {
        let malformed = |what: &str| Failure::failed("malformed_answer", what);
        let request = DownloadPluginRequest { name: name.to_owned(), revision };
        let mut answers = remote.connect().await?.plugins().download_plugin(request).await?.into_inner();
        let (mut bytes, mut setup) = (BytesMut::new(), None);
        while let Some(answer) = answers.message().await? {
            match answer.kind {
                Some(Kind::Revision(PluginRevision { config, grants, .. })) => {
                    let (config, grants): (BTreeMap<_, _>, BTreeSet<_>) = (config, grants.into_iter().collect());
                    setup = Some(Setup { config, grants });
                }
                Some(Kind::Chunk(chunk)) if bytes.len() + chunk.len() <= COMPONENT_BYTES_MAX => {
                    bytes.extend_from_slice(&chunk);
                }
                Some(Kind::Chunk(_)) => return Err(malformed("the component is larger than any can be")),
                None => return Err(malformed("a piece of the component says nothing")),
            }
        }
        Ok(Self { bytes: bytes.freeze(), setup })
    }
}
