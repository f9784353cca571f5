//! Schemas of event types: what the data of each version of a type looks like, in JSON Schema.
//!
//! A schema never changes once it is registered. Whether a new version goes with those beside it is checked
//! when it is registered, as its type's [`Compatibility`] says: against the nearest version below it, and
//! against it the nearest above, which for a new highest version is the latest alone. Streams whose
//! configuration asks for it take only events that keep the schemas of their types.
//!
//! What is known of a type is one document, which guards its changes; each schema's text is another. Hosts
//! keep the former in memory; the [revision](crate::store::Head::revision) tells them when it is stale.

mod compare;
mod cost;
mod document;
mod index;
mod judge;
mod plan;
mod registry;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::code::{Code, Detail, Problem};
use crate::limits::schema as limits;
use crate::log::commit::CommitError;
use crate::name::InvalidName;
use crate::store::StoreError;

pub use compare::Incompatibility;
pub use judge::{Judgement, Violation};
pub use registry::Schemas;

/// Which data a new version has to go with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compatibility {
    None,
    /// Data of the version before it is valid under it: those who read by the new version can read old data.
    #[default]
    Backward,
    /// Its data is valid under the version before it: those who read by the old version can read new data.
    Forward,
    /// Both.
    Full,
}

impl Compatibility {
    pub const ALL: [Self; 4] = [Self::None, Self::Backward, Self::Forward, Self::Full];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Backward => "backward",
            Self::Forward => "forward",
            Self::Full => "full",
        }
    }
}

/// A schema that is to be registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSchema {
    pub event_type: String,
    /// `None`: the version that has this content already, or the one after the latest.
    pub version: Option<u32>,
    /// The JSON of the schema.
    pub schema: String,
}

impl From<&crate::plugin::descriptor::Schema> for NewSchema {
    fn from(of: &crate::plugin::descriptor::Schema) -> Self {
        Self { event_type: of.event_type.clone(), version: Some(of.version), schema: of.schema.to_string() }
    }
}

/// A schema as it was registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    pub event_type: String,
    pub info: VersionInfo,
    /// Its JSON, as it came.
    pub schema: String,
}

/// What is known of a version without its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionInfo {
    pub version: u32,
    /// Made of the content: the same for the same.
    #[serde(with = "id_text")]
    pub id: Uuid,
    pub bytes: usize,
    pub registered_at_us: i64,
}

mod id_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use uuid::Uuid;

    pub(super) fn serialize<S: Serializer>(id: &Uuid, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Uuid, D::Error> {
        Uuid::try_parse(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

impl VersionInfo {
    pub fn registered_at(&self) -> Timestamp {
        Timestamp(self.registered_at_us)
    }
}

/// What is known of an event type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeInfo {
    pub event_type: String,
    pub compatibility: Compatibility,
    /// In their order.
    pub versions: Vec<VersionInfo>,
}

/// A page of event types, in byte order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypePage {
    pub types: Vec<TypeInfo>,
    pub more: bool,
}

/// What became of a schema that was to be registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    pub event_type: String,
    pub info: VersionInfo,
    /// False if it was there already.
    pub new: bool,
}

/// Why schemas were not registered, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("event type: {0}")]
    Name(#[source] InvalidName),
    #[error("1 to {} schemas are registered at once", limits::AT_ONCE_MAX)]
    Count,
    #[error("the schema is refused; nothing was registered")]
    Invalid(Vec<Detail>),
    #[error("another schema is registered under this version already; register a new version")]
    Conflict(Vec<Detail>),
    #[error("the schema does not go with the version beside it; nothing was registered")]
    Incompatible(Vec<Detail>),
    #[error("event type `{event_type}` has no schema{}", version.map_or(String::new(), |n| format!(" of version {n}")))]
    NotFound { event_type: String, version: Option<u32> },
    /// What was published under it stays, but is not known to keep it any more.
    #[error("a schema is meant to stay; to delete it all the same, force it")]
    NotForced,
    #[error("{0}")]
    TooMany(String),
    #[error("it could not be committed")]
    Commit(#[from] CommitError),
    #[error("the store could not be read")]
    Store(#[from] StoreError),
}

impl From<SchemaError> for Problem {
    fn from(error: SchemaError) -> Self {
        let message = error.to_string();
        let with = |code, details: Vec<Detail>| Problem { code, message: message.clone(), details };
        match error {
            SchemaError::Name(name) => Problem::new(Code::InvalidName, message).with("type", name.to_string()),
            SchemaError::Count => Problem::new(Code::InvalidArgument, message),
            SchemaError::Invalid(details) => with(Code::InvalidArgument, details),
            SchemaError::Conflict(details) => with(Code::SchemaConflict, details),
            SchemaError::Incompatible(details) => with(Code::SchemaIncompatible, details),
            SchemaError::NotFound { .. } => Problem::new(Code::SchemaNotFound, message),
            SchemaError::NotForced => Problem::new(Code::InvalidArgument, message).with("force", "it is not true"),
            SchemaError::TooMany(_) => Problem::new(Code::LimitReached, message),
            SchemaError::Commit(commit) => commit.into(),
            SchemaError::Store(store) => Problem::from(&store),
        }
    }
}
