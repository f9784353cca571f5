//! Queries of read models, their changes, and what two generations differ in.

use wasmill_core::code::{Code, Problem};
use wasmill_core::event::Position;
use wasmill_core::limits::read as limits;
use wasmill_core::projection::diff::{
    CollectionCounts, Diff, DiffPlace, DiffRequest, Difference, DifferenceKind, Side, ValueChange,
};
use wasmill_core::projection::follow::{Place, Reset, Update, Wanted};
use wasmill_core::projection::query::Answer;
use wasmill_core::projection::query::find::{Found, Query};
use wasmill_core::record::GenerationId;
use wasmill_core::store::{Document, DocumentChange};

use super::list_limit;
use super::projection::projection_state;
use crate::proto;
use crate::proto::follow_changes_response::Kind;
use crate::queries::{self, Asked};

pub(crate) fn query(request: &proto::QueryDocumentsRequest) -> Result<Query, Problem> {
    let limit = list_limit(request.limit, limits::LIST_DOCUMENTS_MAX)?;
    let asked = Asked {
        short: &request.r#where,
        json: Some(request.condition_json.as_str()).filter(|json| !json.is_empty()),
        prefix: &request.prefix,
        sort: Some(request.sort.as_str()).filter(|sort| !sort.is_empty()),
        limit,
        cursor: Some(&*request.cursor).filter(|cursor| !cursor.is_empty()),
        count: request.count,
    };
    queries::query(asked, ["where", "condition_json"])
}

pub(crate) fn found(Answer { value, next_position }: Answer<Found>) -> proto::QueryDocumentsResponse {
    let Found { documents, cursor, count, by, generation } = value;
    proto::QueryDocumentsResponse {
        documents: documents.into_iter().map(|Document { key, value }| proto::Document { key, value }).collect(),
        next_cursor: cursor.map(|cursor| cursor.to_bytes().into()).unwrap_or_default(),
        count: count.map(|count| proto::DocumentCount { documents: count.documents, at_least: count.at_least }),
        by: by.map(|by| by.to_string()).unwrap_or_default(),
        next_position: next_position.0,
        generation: generation.0,
    }
}

pub(crate) fn wanted(request: proto::FollowChangesRequest) -> (Wanted, Option<Place>) {
    let proto::FollowChangesRequest { projection, collection, prefix, after } = request;
    let collection = Some(collection).filter(|collection| !collection.is_empty());
    let after = after.map(|proto::ChangePlace { generation, next_position }| Place {
        generation: GenerationId(generation),
        next: Position(next_position),
    });
    (Wanted { projection, collection, prefix }, after)
}

fn place(place: Place) -> proto::ChangePlace {
    proto::ChangePlace { generation: place.generation.0, next_position: place.next.0 }
}

pub(crate) fn update(update: Update) -> proto::FollowChangesResponse {
    let kind = match update {
        Update::Begin(at) => Kind::Begin(place(at)),
        Update::Reset(at, reason) => {
            let reason = match reason {
                Reset::Behind => proto::ChangesResetReason::Behind,
                Reset::Replaced => proto::ChangesResetReason::Replaced,
            };
            Kind::Reset(proto::ChangesReset { place: Some(place(at)), reason: reason.into() })
        }
        Update::Changes { changes, place: at, whole } => {
            let change = |DocumentChange { collection, key, value }| proto::DocumentChange {
                collection: collection.to_string(),
                key,
                value,
            };
            let changes = changes.into_iter().map(change).collect();
            Kind::Changes(proto::DocumentChanges { changes, place: Some(place(at)), whole })
        }
    };
    proto::FollowChangesResponse { kind: Some(kind) }
}

pub(crate) fn diff_request(request: &proto::DiffProjectionRequest) -> Result<DiffRequest, Problem> {
    let generations = match (request.before_generation, request.after_generation) {
        (None, None) => None,
        (Some(before), Some(after)) => Some((GenerationId(before), GenerationId(after))),
        (Some(_), None) | (None, Some(_)) => {
            let message = "give both generations, or none";
            return Err(Problem::new(Code::InvalidArgument, message).with("after_generation", message));
        }
    };
    let after = request.after.as_ref();
    Ok(DiffRequest {
        generations,
        collection: Some(request.collection.clone()).filter(|collection| !collection.is_empty()),
        after: after.map(|after| DiffPlace { collection: after.collection.clone(), key: after.key.clone() }),
        limit: list_limit(request.limit, limits::LIST_DOCUMENTS_MAX)?,
    })
}

pub(crate) fn diff(diff: Diff) -> proto::DiffProjectionResponse {
    let side = |side: Side| proto::DiffSide {
        generation: side.generation.0,
        revision: side.revision,
        state: projection_state(side.phase).into(),
        next_position: side.next_position.0,
    };
    let counts = |CollectionCounts { name, before, after }| proto::DiffCollection {
        name,
        documents_before: before,
        documents_after: after,
    };
    let next = diff.next.map(|DiffPlace { collection, key }| proto::DiffPlace { collection, key });
    proto::DiffProjectionResponse {
        before: Some(side(diff.before)),
        after: Some(side(diff.after)),
        same_position: diff.same_position,
        collections: diff.collections.into_iter().map(counts).collect(),
        differences: diff.differences.into_iter().map(difference).collect(),
        looked_at: diff.looked_at,
        next,
    }
}

fn difference(Difference { collection, key, kind }: Difference) -> proto::DocumentDifference {
    let (kind, values) = match kind {
        DifferenceKind::Removed => (proto::DifferenceKind::Removed, Vec::new()),
        DifferenceKind::Added => (proto::DifferenceKind::Added, Vec::new()),
        DifferenceKind::Changed(values) => (proto::DifferenceKind::Changed, values),
    };
    let value = |ValueChange { path, before, after }| proto::ValueDifference { path, before, after };
    let values = values.into_iter().map(value).collect();
    proto::DocumentDifference { collection, key, kind: kind.into(), values }
}
