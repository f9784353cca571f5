//! What the host keeps beside events: facts of streams, and revisions and generations of plugins.

use std::fmt;

use crate::clock::Timestamp;
use crate::event::{Offset, Position};
use crate::name::StreamName;
use crate::plugin::descriptor::Kind;
use uuid::Uuid;

/// Facts of a stream, kept beside it so that they cost one look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    pub name: StreamName,
    pub state: StreamState,
    /// Oldest offset that is stored.
    pub first_offset: Offset,
    /// Events below it are no longer read, and are being removed.
    pub truncate_before: Offset,
    /// The offset that the next event gets: the number of events ever appended.
    pub next_offset: Offset,
    /// Encoded size of the events that are stored.
    pub bytes: u64,
    /// When its first event ever was recorded.
    pub created_at: Timestamp,
    /// Of the oldest event that is stored; of the last one ever when none is.
    pub first_recorded_at: Timestamp,
    pub last_recorded_at: Timestamp,
    /// Position of the last event ever appended.
    pub last_position: Position,
}

impl StreamInfo {
    /// Oldest offset that can be read; that of the next event when none can.
    pub fn oldest(&self) -> Offset {
        self.first_offset.max(self.truncate_before)
    }

    /// Events that can be read.
    pub fn event_count(&self) -> u64 {
        self.next_offset.0.saturating_sub(self.oldest().0)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StreamState {
    #[default]
    Live,
    /// Its events are gone; the next append brings it back, and numbering goes on.
    Deleted,
    /// Its events are gone, and nothing is ever appended to it again.
    Tombstoned,
}

impl StreamState {
    pub fn as_str(self) -> &'static str {
        match self {
            StreamState::Live => "live",
            StreamState::Deleted => "deleted",
            StreamState::Tombstoned => "tombstoned",
        }
    }

    pub fn from_stored(text: &str) -> Option<Self> {
        [Self::Live, Self::Deleted, Self::Tombstoned].into_iter().find(|state| state.as_str() == text)
    }
}

/// What is remembered for a while of an event that was removed, so that a publisher that repeats it
/// gets its first answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedEvent {
    pub id: Uuid,
    pub stream: StreamName,
    pub offset: Offset,
    pub position: Position,
    pub recorded_at: Timestamp,
    pub removed_at: Timestamp,
}

/// How streams are to be treated: a stream of this name, or all that match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamConfigRecord {
    /// A glob; a stream's name when `exact`.
    pub pattern: String,
    pub exact: bool,
    /// JSON, see [`crate::stream::config`].
    pub config: String,
}

/// One build of a projection's read model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GenerationId(pub u64);

impl GenerationId {
    /// Not a read model: documents under it are what the host itself keeps, such as the progress of groups.
    /// It always exists, and has no checkpoint.
    pub const HOST: Self = Self(0);
}

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
    /// Configuration and grants: JSON, see [`crate::plugin::setup`].
    pub setup: String,
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
    /// Number of the set of upcasters that it reads through; 0 is none.
    pub lifts: u64,
    pub created_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GenerationState {
    /// Built in the shadow of the serving one.
    Building,
    /// Answers queries. A plugin has one at most.
    Serving,
    /// It served before, and is kept up to date so that one can go back to it. A plugin has one at most.
    Standby,
    /// Its documents are being removed.
    Retired,
}

impl GenerationState {
    pub fn as_str(self) -> &'static str {
        match self {
            GenerationState::Building => "building",
            GenerationState::Serving => "serving",
            GenerationState::Standby => "standby",
            GenerationState::Retired => "retired",
        }
    }

    pub fn from_stored(text: &str) -> Option<Self> {
        [Self::Building, Self::Serving, Self::Standby, Self::Retired].into_iter().find(|state| state.as_str() == text)
    }
}
