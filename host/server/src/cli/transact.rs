//! `wasmill transact`: appends to several streams, all or nothing.

use std::io::Read as _;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use wasmill_core::event::NewEvent;
use wasmill_core::log::filter::{Filter, FilterTerm};
use wasmill_core::log::publish::{Append, Transaction};
use wasmill_core::name::Pattern;
use wasmill_core::store::{AppendCondition, Expected};

use super::client::Remote;
use super::exit::{Detail, Failure};
use super::output::{Output, Show};
use super::table::{grouped, rfc3339, table};
use crate::http::event_in::Defaults;
use crate::http::transaction_in;
use crate::proto::expected::Kind;
use crate::proto::{self, TransactRequest};
use crate::publish::Durability;

const FORMAT: &str = "\
The document is the one that `POST /api/transactions` takes:

  {\"appends\":    [{\"stream\": \"seat-7\", \"expectedOffset\": \"no_stream\",
                   \"events\": [{\"type\": \"seat.taken\", \"tags\": [\"guest:3\"], \"data\": {}}]}],
   \"checks\":     [{\"stream\": \"show-1\", \"expectedOffset\": 4}],
   \"conditions\": [{\"query\": [{\"types\": [\"seat.taken\"], \"tags\": [\"guest:3\"]}], \"after\": 9}]}

`expectedOffset` is the offset of the stream's last event, \"no_stream\" or \"exists\". A condition
fails if an event behind position `after` matches its query. Without an `id` in its events a document
that is sent again is stored again, unless it is sent with the same --idempotency-key.";

#[derive(Args, Clone, Debug)]
#[command(after_long_help = FORMAT)]
pub(crate) struct TransactArgs {
    /// The transaction, one JSON document; `-` stands for standard input
    #[arg(value_name = "FILE.json")]
    file: PathBuf,
    /// Makes the ids of events that have none: the same document with the same key is stored once
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Appended {
    stream: String,
    first_offset: u64,
    last_offset: u64,
    first_position: u64,
    last_position: u64,
    recorded_at: String,
    duplicate: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    queued: bool,
    appends: Vec<Appended>,
}

impl Show for Outcome {
    fn to_text(&self) -> String {
        if self.queued {
            return "queued".into();
        }
        let rows = self.appends.iter().map(|append| {
            let Appended { stream, first_offset, last_offset, first_position, duplicate, .. } = append;
            let count = grouped(last_offset - first_offset + 1);
            let known = if *duplicate { "known already" } else { "" };
            [stream.clone(), count, first_offset.to_string(), first_position.to_string(), known.to_owned()]
        });
        table(["stream", ">events", ">offset", ">position", ""], rows)
    }
}

pub(crate) async fn run(args: TransactArgs, output: Output) -> Result<(), Failure> {
    let name = args.file.display().to_string();
    let document = read(&args.file).map_err(|error| Failure::file(&name, &error))?;
    let defaults = Defaults { idempotency_key: args.idempotency_key, ..Defaults::default() };
    let (transaction, durability) = transaction_in::read(&document, &defaults).map_err(|problem| {
        let detail = |detail: wasmill_core::code::Detail| Detail {
            at: detail.at,
            message: detail.message,
            facts: detail.facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        };
        let failure = Failure::failed(problem.code.as_str(), format!("{name}: {}", problem.message));
        Failure { details: problem.details.into_iter().map(detail).collect(), ..failure }
            .with_help("nothing was sent; `wasmill transact --help` shows a document")
    })?;
    let streams: Vec<String> = transaction.appends.iter().map(|append| append.stream.clone()).collect();
    let mut log = args.remote.connect().await?.log();
    let answer = log.transact(request(transaction, durability)).await?.into_inner();
    let appended = |(stream, answer): (String, proto::AppendResponse)| Appended {
        stream,
        first_offset: answer.first_offset,
        last_offset: answer.last_offset,
        first_position: answer.first_position,
        last_position: answer.last_position,
        recorded_at: rfc3339(answer.recorded_at_us),
        duplicate: answer.duplicate,
    };
    let appends = streams.into_iter().zip(answer.appends).map(appended).collect();
    output.show(&Outcome { queued: answer.queued, appends })
}

fn read(file: &PathBuf) -> std::io::Result<Vec<u8>> {
    if file.as_os_str() == "-" {
        let mut document = Vec::new();
        std::io::stdin().lock().read_to_end(&mut document)?;
        return Ok(document);
    }
    std::fs::read(file)
}

fn request(transaction: Transaction, durability: Durability) -> TransactRequest {
    let append = |Append { stream, expected: belief, events }| proto::StreamAppend {
        stream,
        expected: expected(belief),
        events: events.into_iter().map(event).collect(),
    };
    let condition = |AppendCondition { query, after }| proto::AppendCondition {
        query: Some(filter(&query)),
        after: after.map(|after| after.0),
    };
    let checks = transaction.checks.into_iter();
    TransactRequest {
        appends: transaction.appends.into_iter().map(append).collect(),
        checks: checks.map(|c| proto::StreamCheck { stream: c.stream, expected: expected(c.expected) }).collect(),
        conditions: transaction.conditions.into_iter().map(condition).collect(),
        durability: match durability {
            Durability::Durable => proto::Durability::Durable,
            Durability::Queued => proto::Durability::Queued,
        }
        .into(),
    }
}

fn expected(expected: Expected) -> Option<proto::Expected> {
    let kind = match expected {
        Expected::Any => return None,
        Expected::NoStream => Kind::NoStream(true),
        Expected::Exists => Kind::Exists(true),
        Expected::Exactly(offset) => Kind::Offset(offset.0),
    };
    Some(proto::Expected { kind: Some(kind) })
}

fn event(event: NewEvent) -> proto::NewEvent {
    let NewEvent { id, event_type, schema_version, key, time, content_type, data, tags, headers, origin } = event;
    proto::NewEvent {
        id: id.to_string(),
        r#type: event_type,
        schema_version,
        key,
        time_us: time.map(|time| time.0),
        content_type: content_type.unwrap_or_default(),
        data,
        tags,
        headers: headers.into_iter().collect(),
        workflow_id: origin.workflow_id,
        correlation_id: origin.correlation_id,
        causation_id: origin.causation_id,
        traceparent: origin.traceparent,
    }
}

fn filter(filter: &Filter) -> proto::Filter {
    let globs = |patterns: &[Pattern]| patterns.iter().map(|pattern| pattern.as_str().to_owned()).collect();
    let term = |term: &FilterTerm| proto::FilterTerm {
        streams: globs(&term.streams),
        types: globs(&term.types),
        keys: term.keys.clone(),
        tags: term.tags.clone(),
        correlation_ids: term.correlation_ids.clone(),
    };
    proto::Filter { terms: filter.terms().iter().map(term).collect() }
}
