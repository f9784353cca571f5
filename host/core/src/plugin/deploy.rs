//! Checking an uploaded component, and why it may be turned away.

use bytes::Bytes;

use super::descriptor::{Descriptor, DescriptorError, Kind};
use super::setup::{Broken, SetupChange};
use crate::code::{Code, Problem};
use crate::event::Position;
use crate::group::{GroupError, Start};
use crate::guest::{ComponentError, GuestError};
use crate::limits::plugin as limits;
use crate::log::commit::CommitError;
use crate::record::PluginRecord;
use crate::schema::SchemaError;
use crate::upcast::InvalidLifts;

/// A component that keeps the contract.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Hash of its bytes, lower-case hex.
    pub sha256: String,
    pub descriptor: Descriptor,
    /// As the plugin gave it.
    pub descriptor_json: String,
}

#[derive(Clone, Debug)]
pub struct Deployed {
    pub plugin: PluginRecord,
    /// False when exactly this component was running already.
    pub changed: bool,
}

/// What a deployment brings beside the component.
#[derive(Clone, Debug, Default)]
pub struct DeployOptions {
    /// What changes of the configuration and grants that the plugin has.
    pub setup: SetupChange,
    /// Where a new handler begins; behind the newest event without, so that it does not react to the past.
    pub start: Option<Start>,
}

#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    #[error("a component has at most {} bytes; this one has {bytes}", limits::COMPONENT_BYTES_MAX)]
    TooLarge { bytes: usize },
    #[error(transparent)]
    Component(#[from] ComponentError),
    #[error("`describe` failed: {0}")]
    Describe(#[source] GuestError),
    #[error("the descriptor is refused: {0}")]
    Descriptor(#[from] DescriptorError),
    #[error("plugin `{name}` is a {}; a {} needs another name", .is.as_str(), .wants.as_str())]
    OtherKind { name: String, is: Kind, wants: Kind },
    #[error("the configuration or the grants do not fit: {}", list(.0))]
    Setup(Broken),
    #[error("the settings are refused: {}", list(.0))]
    Settings(Broken),
    #[error("the upcasters do not go together: {0}")]
    Lifts(#[from] InvalidLifts),
    #[error("its schemas are refused: {0}")]
    Schemas(#[from] SchemaError),
    #[error("the handler's group could not be made")]
    Group(#[from] GroupError),
    #[error(transparent)]
    NotFound(#[from] PluginNotFound),
    #[error("{}", no_revision(.name, *.wanted, *.current))]
    NoRevision { name: String, wanted: Option<u32>, current: u32 },
    #[error("plugin `{name}` has no revision {number}")]
    RevisionNotFound { name: String, number: u32 },
    #[error(
        "the read model of revision {revision} is at position {standby}, behind the serving one at {serving}: wait, or build it anew"
    )]
    StandbyBehind { revision: u32, standby: Position, serving: Position },
    #[error("plugin `{name}` is a {}; {what}", .kind.as_str())]
    WrongKind { name: String, kind: Kind, what: &'static str },
    #[error("{} plugins are deployed, which is the limit", limits::PLUGINS_MAX)]
    TooMany,
    #[error("plugins run on another host of this database; deploy there")]
    Elsewhere,
    #[error("the deployment could not be stored")]
    Commit(#[from] CommitError),
    #[error("the store could not be read")]
    Store(#[from] crate::store::StoreError),
}

fn list(broken: &Broken) -> String {
    broken.iter().map(|(at, what)| format!("{at}: {what}")).collect::<Vec<_>>().join("; ")
}

fn no_revision(name: &str, wanted: Option<u32>, current: u32) -> String {
    match wanted {
        Some(wanted) if wanted == current => format!("plugin `{name}` runs revision {current} already"),
        Some(wanted) => format!("plugin `{name}` has no revision {wanted}"),
        None => format!("plugin `{name}` has no revision before {current}"),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("there is no plugin `{0}`")]
pub struct PluginNotFound(pub String);

#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    #[error(transparent)]
    NotFound(#[from] PluginNotFound),
    #[error("plugins run on another host of this database; remove it there")]
    Elsewhere,
    #[error("the upcasters that are left could not be put together")]
    Deploy(#[from] Box<DeployError>),
    #[error("the removal could not be stored")]
    Commit(#[from] CommitError),
    #[error("the store could not be read")]
    Store(#[from] crate::store::StoreError),
}

impl From<DeployError> for RemoveError {
    fn from(error: DeployError) -> Self {
        Self::Deploy(Box::new(error))
    }
}

/// Refuses what is too large before anything looks at it.
pub(super) fn check_size(component: &Bytes) -> Result<(), DeployError> {
    let bytes = component.len();
    if bytes > limits::COMPONENT_BYTES_MAX { Err(DeployError::TooLarge { bytes }) } else { Ok(()) }
}

impl From<DeployError> for Problem {
    fn from(error: DeployError) -> Self {
        let message = error.to_string();
        match error {
            DeployError::TooLarge { .. } => Problem::new(Code::BodyTooLarge, message),
            DeployError::Component(ComponentError::Refused(broken)) => {
                let problem = Problem::new(Code::ComponentRefused, message);
                broken.into_iter().fold(problem, |problem, broken| problem.with("component", broken))
            }
            DeployError::Component(ComponentError::Invalid(_) | ComponentError::Compile(_)) => {
                Problem::new(Code::ComponentInvalid, message)
            }
            DeployError::Describe(_) => {
                Problem::new(Code::PluginFailed, message).with("describe", "it was not answered")
            }
            DeployError::Descriptor(DescriptorError::Rules(rules)) => {
                let problem = Problem::new(Code::DescriptorInvalid, message);
                rules.into_iter().fold(problem, |problem, (at, what)| problem.with(at, what))
            }
            DeployError::Descriptor(DescriptorError::TooLarge { .. } | DescriptorError::Shape(_)) => {
                Problem::new(Code::DescriptorInvalid, message)
            }
            DeployError::OtherKind { .. } | DeployError::Elsewhere | DeployError::StandbyBehind { .. } => {
                Problem::new(Code::PluginConflict, message)
            }
            DeployError::Setup(broken) | DeployError::Settings(broken) => {
                let problem = Problem::new(Code::InvalidArgument, message);
                broken.into_iter().fold(problem, |problem, (at, what)| problem.with(at, what))
            }
            DeployError::Lifts(InvalidLifts(broken)) => {
                let problem = Problem::new(Code::PluginConflict, message);
                broken.into_iter().fold(problem, |problem, (at, what)| problem.with(at, what))
            }
            DeployError::Schemas(schemas) => schemas.into(),
            DeployError::Group(group) => group.into(),
            DeployError::NotFound(not_found) => not_found.into(),
            DeployError::NoRevision { .. } | DeployError::WrongKind { .. } => {
                Problem::new(Code::InvalidArgument, message)
            }
            DeployError::RevisionNotFound { .. } => Problem::new(Code::PluginRevisionNotFound, message),
            DeployError::TooMany => Problem::new(Code::LimitReached, message),
            DeployError::Commit(commit) => commit.into(),
            DeployError::Store(store) => Problem::from(&store),
        }
    }
}

impl From<PluginNotFound> for Problem {
    fn from(error: PluginNotFound) -> Self {
        Problem::new(Code::PluginNotFound, error.to_string())
    }
}

impl From<RemoveError> for Problem {
    fn from(error: RemoveError) -> Self {
        match error {
            RemoveError::NotFound(not_found) => not_found.into(),
            RemoveError::Elsewhere => Problem::new(Code::PluginConflict, error.to_string()),
            RemoveError::Deploy(deploy) => Problem::from(*deploy),
            RemoveError::Commit(commit) => commit.into(),
            RemoveError::Store(store) => Problem::from(&store),
        }
    }
}
