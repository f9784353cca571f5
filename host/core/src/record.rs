//! What the host keeps of plugins: revisions, and the generations of read models built from them.

use std::fmt;

use crate::clock::Timestamp;
use crate::event::Position;
use crate::plugin::descriptor::Kind;

/// One build of a projection's read model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GenerationId(pub u64);

impl fmt::Display for GenerationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A deployed plugin with the revision that it runs now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginRecord {
    pub name: String,
    pub kind: Kind,
    pub created_at: Timestamp,
    pub current: RevisionRecord,
}

/// One immutable upload of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionRecord {
    pub plugin: String,
    pub kind: Kind,
    /// From 1, counted for each plugin.
    pub number: u32,
    /// Hash of the component's bytes, lower-case hex.
    pub sha256: String,
    /// What the plugin said of itself: JSON, see `wit/descriptor.schema.json`.
    pub descriptor: String,
    pub deployed_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerationRecord {
    pub id: GenerationId,
    pub plugin: String,
    pub revision: u32,
    pub state: GenerationState,
    /// The next position that it has to read: everything before is in its documents.
    pub checkpoint: Position,
    pub created_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GenerationState {
    /// Built in the shadow of the serving one.
    Building,
    /// Answers queries. A plugin has one at most.
    Serving,
    /// Its documents are being removed.
    Retired,
}

impl GenerationState {
    pub fn as_str(self) -> &'static str {
        match self {
            GenerationState::Building => "building",
            GenerationState::Serving => "serving",
            GenerationState::Retired => "retired",
        }
    }

    pub fn from_stored(text: &str) -> Option<Self> {
        [Self::Building, Self::Serving, Self::Retired].into_iter().find(|state| state.as_str() == text)
    }
}
