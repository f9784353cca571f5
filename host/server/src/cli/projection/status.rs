//! How projections are doing, as it is shown.

use serde::Serialize;
use std::fmt::Write as _;

use crate::cli::output::Show;
use crate::cli::table::{count, grouped, rfc3339, table};
use crate::proto::{self, ProjectionState};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    name: String,
    version: String,
    revision: u32,
    generation: u64,
    state: &'static str,
    next_position: u64,
    log_next_position: u64,
    /// Events of the log that are not in the read model yet, whether or not it takes them.
    behind: u64,
    events_folded: u64,
    collections: Vec<Collection>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Failed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    build: Option<Build>,
}

#[derive(Serialize)]
struct Collection {
    name: String,
    description: String,
    documents: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    indexes: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failed {
    reason: String,
    position: Option<u64>,
    time: String,
    attempts: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Build {
    generation: u64,
    state: &'static str,
    next_position: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Failed>,
}

#[derive(Serialize)]
pub(crate) struct Statuses {
    pub projections: Vec<Status>,
}

/// What `rebuild` has done.
#[derive(Serialize)]
pub(crate) struct Rebuilt {
    pub projection: String,
    pub generation: u64,
    pub serving: bool,
}

pub(super) fn state_name(state: ProjectionState) -> &'static str {
    match state {
        ProjectionState::Unspecified => "unknown",
        ProjectionState::CatchingUp => "catching-up",
        ProjectionState::Live => "live",
        ProjectionState::Retrying => "retrying",
        ProjectionState::Paused => "paused",
        ProjectionState::Stopped => "stopped",
    }
}

impl From<proto::Projection> for Status {
    fn from(projection: proto::Projection) -> Self {
        let state = state_name(projection.state());
        let build = projection.build.map(|build| Build {
            generation: build.generation,
            state: state_name(build.state()),
            next_position: build.next_position,
            failure: build.failure.map(Failed::from),
        });
        let collections = projection.collections.into_iter().map(|collection| Collection {
            name: collection.name,
            description: collection.description,
            documents: collection.documents,
            indexes: collection.indexes,
        });
        Self {
            name: projection.name,
            version: projection.version,
            revision: projection.revision,
            generation: projection.generation,
            state,
            next_position: projection.next_position,
            log_next_position: projection.log_next_position,
            behind: projection.log_next_position.saturating_sub(projection.next_position),
            events_folded: projection.events_folded,
            collections: collections.collect(),
            failure: projection.failure.map(Failed::from),
            build,
        }
    }
}

impl From<proto::ProjectionFailure> for Failed {
    fn from(failure: proto::ProjectionFailure) -> Self {
        let proto::ProjectionFailure { reason, position, time_us, attempts } = failure;
        Self { reason, position, time: rfc3339(time_us), attempts }
    }
}

impl Failed {
    fn line(&self) -> String {
        let at = self.position.map_or_else(String::new, |position| format!(" at position {position}"));
        format!("failed{at} ({}, last {}): {}", count(self.attempts.into(), "attempt"), self.time, self.reason)
    }
}

impl Show for Status {
    fn to_text(&self) -> String {
        let Status { name, version, revision, generation, state, next_position, log_next_position, .. } = self;
        let mut text = format!(
            "{name} {version} (revision {revision}, generation {generation}): {state}\n  holds {} of {} positions of \
             the log; {} events folded since the host started",
            grouped(*next_position),
            grouped(*log_next_position),
            grouped(self.events_folded)
        );
        if let Some(failure) = &self.failure {
            let _ = write!(text, "\n  {}", failure.line());
        }
        if let Some(build) = &self.build {
            let (at, state) = (grouped(build.next_position), build.state);
            let _ = write!(text, "\n  generation {} is being built ({state}): at position {at}", build.generation);
            if let Some(failure) = &build.failure {
                let _ = write!(text, "\n    {}", failure.line());
            }
        }
        let rows = self.collections.iter().map(|collection| {
            let Collection { name, description, documents, indexes } = collection;
            [name.clone(), grouped(*documents), indexes.join(" "), description.clone()]
        });
        if self.collections.iter().all(|collection| collection.indexes.is_empty()) {
            let rows = rows.map(|[name, documents, _, description]| [name, documents, description]);
            return text + "\n" + &table(["collection", ">documents", ""], rows);
        }
        text + "\n" + &table(["collection", ">documents", "indexes", ""], rows)
    }
}

impl Show for Statuses {
    fn to_text(&self) -> String {
        if self.projections.is_empty() {
            return String::new();
        }
        let rows = self.projections.iter().map(|projection| {
            let Status { name, version, state, events_folded, .. } = projection;
            let documents: u64 = projection.collections.iter().map(|collection| collection.documents).sum();
            let numbers = [projection.behind, *events_folded, documents].map(grouped);
            let [behind, folded, documents] = numbers;
            [name.clone(), version.clone(), (*state).to_owned(), behind, folded, documents]
        });
        table(["projection", "version", "state", ">behind", ">folded", ">documents"], rows)
    }

    fn note(&self) -> Option<String> {
        self.projections.is_empty().then(|| "no projections".into())
    }
}

impl Show for Rebuilt {
    fn to_text(&self) -> String {
        let state = if self.serving { "serves" } else { "is being built" };
        format!("generation {} of {} {state}", self.generation, self.projection)
    }
}
