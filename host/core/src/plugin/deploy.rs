//! Checking an uploaded component, and why it may be turned away.

use bytes::Bytes;

use super::descriptor::{Descriptor, DescriptorError, Kind};
use crate::code::{Code, Problem};
use crate::guest::{ComponentError, GuestError};
use crate::limits::plugin as limits;
use crate::log::commit::CommitError;
use crate::record::PluginRecord;

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
    #[error("{} plugins are deployed, which is the limit", limits::PLUGINS_MAX)]
    TooMany,
    #[error("plugins run on another host of this database; deploy there")]
    Elsewhere,
    #[error("the deployment could not be stored")]
    Commit(#[from] CommitError),
    #[error("the store could not be read")]
    Store(#[from] crate::store::StoreError),
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
    #[error("the removal could not be stored")]
    Commit(#[from] CommitError),
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
            DeployError::OtherKind { .. } | DeployError::Elsewhere => Problem::new(Code::PluginConflict, message),
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
            RemoveError::Commit(commit) => commit.into(),
        }
    }
}
