//! Appends and transactions, and their answers.

use uuid::Uuid;
use wasmill_core::clock::Timestamp;
use wasmill_core::code::{Code, Detail, Problem};
use wasmill_core::event::{DEFAULT_CONTENT_TYPE, NewEvent, Offset, Origin, Position};
use wasmill_core::log::publish::{Append, Check, Transaction};
use wasmill_core::store::{AppendCondition, Appended, Expected};

use super::read::term;
use crate::app::complete;
use crate::convert::{Term, detail};
use crate::proto;
use crate::publish::{Answer, Durability, Publication};

/// Converts an append; `defaults` stands in for what its events do not say of their origin.
pub(crate) fn append(request: proto::AppendRequest, defaults: &Origin) -> Result<Publication, Problem> {
    let proto::AppendRequest { stream, expected, events, conditions, durability } = request;
    let mut mistakes = Mistakes::default();
    let events = mistakes.events("", events, defaults);
    let expected = mistakes.expected("expected", expected);
    let conditions = mistakes.conditions(conditions);
    let durability = mistakes.durability(durability);
    mistakes.into_result("the append breaks the rules; nothing was appended")?;
    Ok(Publication { append: Append { stream, expected, events }, conditions, durability })
}

/// The same for a transaction.
pub(crate) fn transaction(
    request: proto::TransactRequest,
    defaults: &Origin,
) -> Result<(Transaction, Durability), Problem> {
    let mut mistakes = Mistakes::default();
    let mut appends = Vec::with_capacity(request.appends.len());
    for (index, append) in request.appends.into_iter().enumerate() {
        let proto::StreamAppend { stream, expected, events } = append;
        let events = mistakes.events(&format!("appends[{index}]."), events, defaults);
        let expected = mistakes.expected(&format!("appends[{index}].expected"), expected);
        appends.push(Append { stream, expected, events });
    }
    let mut checks = Vec::with_capacity(request.checks.len());
    for (index, proto::StreamCheck { stream, expected }) in request.checks.into_iter().enumerate() {
        let at = format!("checks[{index}].expected");
        if expected.is_none() {
            mistakes.shape.push(detail(&*at, "it is missing: what is to be checked?"));
        }
        checks.push(Check { stream, expected: mistakes.expected(&at, expected) });
    }
    let conditions = mistakes.conditions(request.conditions);
    let durability = mistakes.durability(request.durability);
    mistakes.into_result("the transaction breaks the rules; nothing was appended")?;
    Ok((Transaction { appends, checks, conditions }, durability))
}

/// What is believed of a stream, beside appends.
pub(crate) fn expected(expected: Option<proto::Expected>) -> Result<Expected, Problem> {
    let mut mistakes = Mistakes::default();
    let expected = mistakes.expected("expected", expected);
    mistakes.into_result("the expected offset cannot be read")?;
    Ok(expected)
}

/// What is wrong with a request, collected so that one answer names all of it.
#[derive(Default)]
struct Mistakes {
    shape: Vec<Detail>,
    events: Vec<Detail>,
}

impl Mistakes {
    fn into_result(mut self, message: &str) -> Result<(), Problem> {
        if self.shape.is_empty() && self.events.is_empty() {
            return Ok(());
        }
        let (code, message) = match self.shape.is_empty() {
            true => (Code::InvalidEvent, "events break the rules; nothing was appended"),
            false => (Code::InvalidArgument, message),
        };
        self.shape.append(&mut self.events);
        Err(Problem { code, message: message.into(), details: self.shape })
    }

    fn events(&mut self, prefix: &str, events: Vec<proto::NewEvent>, defaults: &Origin) -> Vec<NewEvent> {
        let mut converted = Vec::with_capacity(events.len());
        for (index, event) in events.into_iter().enumerate() {
            match event_id(&event.id) {
                Ok(id) => converted.push(new_event(id, event, defaults)),
                Err(message) => self.events.push(detail(format!("{prefix}events[{index}].id"), message)),
            }
        }
        converted
    }

    fn expected(&mut self, at: &str, expected: Option<proto::Expected>) -> Expected {
        use proto::expected::Kind;
        let Some(expected) = expected else { return Expected::Any };
        let wrong = match expected.kind {
            Some(Kind::NoStream(true)) => return Expected::NoStream,
            Some(Kind::Exists(true)) => return Expected::Exists,
            Some(Kind::Offset(offset)) => return Expected::Exactly(Offset(offset)),
            None => "it is there but says nothing; leave it out for any",
            Some(Kind::NoStream(false) | Kind::Exists(false)) => "it is set to false; leave it out for any",
        };
        self.shape.push(detail(at, wrong));
        Expected::Any
    }

    fn conditions(&mut self, conditions: Vec<proto::AppendCondition>) -> Vec<AppendCondition> {
        let mut converted = Vec::with_capacity(conditions.len());
        for (index, proto::AppendCondition { query, after }) in conditions.into_iter().enumerate() {
            let whole = format!("conditions[{index}].query");
            let Some(query) = query else {
                self.shape.push(detail(whole, "it is missing; a filter without terms matches every event"));
                continue;
            };
            let terms: Vec<Term> = query.terms.into_iter().map(term).collect();
            let at = |term, list: &str, entry| format!("{whole}.terms[{term}].{list}[{entry}]");
            let query = crate::convert::filter(&terms, &whole, at, &mut self.shape);
            converted.push(AppendCondition { query, after: after.map(Position) });
        }
        converted
    }

    fn durability(&mut self, durability: i32) -> Durability {
        match proto::Durability::try_from(durability) {
            Ok(proto::Durability::Unspecified | proto::Durability::Durable) => Durability::Durable,
            Ok(proto::Durability::Queued) => Durability::Queued,
            Err(_) => {
                let message = format!("{durability} is not a durability: 1 is durable, 2 is queued");
                self.shape.push(detail("durability", message));
                Durability::Durable
            }
        }
    }
}

/// An empty id is made here. Ids are read in their one canonical form, so that the same text comes back.
fn event_id(text: &str) -> Result<Uuid, String> {
    if text.is_empty() {
        return Ok(Uuid::now_v7());
    }
    Uuid::try_parse(text).map_err(|_| format!("`{}` is not a UUID", text.escape_debug()))
}

fn new_event(id: Uuid, event: proto::NewEvent, defaults: &Origin) -> NewEvent {
    let mut origin = Origin {
        workflow_id: event.workflow_id,
        correlation_id: event.correlation_id,
        causation_id: event.causation_id,
        traceparent: event.traceparent,
    };
    complete(&mut origin, defaults);
    NewEvent {
        id,
        event_type: event.r#type,
        schema_version: event.schema_version,
        key: event.key,
        time: event.time_us.map(Timestamp),
        content_type: Some(event.content_type).filter(|text| !text.is_empty() && text != DEFAULT_CONTENT_TYPE),
        data: event.data,
        tags: event.tags,
        headers: event.headers.into_iter().collect(),
        origin,
    }
}

pub(crate) fn answer(answer: &Answer<Appended>) -> proto::AppendResponse {
    match answer {
        Answer::Stored(appended) => self::appended(appended),
        Answer::Queued => proto::AppendResponse { queued: true, ..proto::AppendResponse::default() },
    }
}

pub(crate) fn appended(appended: &Appended) -> proto::AppendResponse {
    proto::AppendResponse {
        first_offset: appended.first_offset.0,
        last_offset: appended.last_offset().0,
        first_position: appended.first_position.0,
        last_position: appended.last_position().0,
        recorded_at_us: appended.recorded_at.0,
        duplicate: appended.duplicate,
        queued: false,
    }
}
