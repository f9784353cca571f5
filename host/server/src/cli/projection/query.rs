//! `wasmill projection query`.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use crate::cli::client::{Connection, Remote};
use crate::cli::exit::Failure;
use crate::cli::output::{Output, Show};
use crate::cli::table::{count, grouped, quoted};
use crate::proto::projection_service_client::ProjectionServiceClient;
use crate::proto::{Document, DocumentCount, GetDocumentRequest, ListDocumentsRequest, QueryDocumentsRequest, WaitFor};

/// What a host hands out at once.
const PAGE: u32 = 1_000;

#[derive(Args, Clone, Debug)]
pub(crate) struct QueryArgs {
    /// The projection's name
    #[arg(value_name = "NAME")]
    name: String,
    /// One of its collections
    #[arg(value_name = "COLLECTION")]
    collection: String,
    /// One document; without it, documents in the order of their keys
    #[arg(value_name = "KEY", conflicts_with_all = ["prefix", "after", "limit", "where", "condition", "sort", "count", "cursor"])]
    key: Option<String>,
    /// Keys that begin with this
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    prefix: String,
    /// Keys after this one
    #[arg(long, value_name = "KEY", default_value = "", hide_default_value = true)]
    after: String,
    /// Only documents of which this holds, such as `carrier=UA`, 'delay>=15' or `flight^=15`; all have to, if there
    /// are several
    #[arg(long, value_name = "CONDITION", conflicts_with = "after")]
    r#where: Vec<String>,
    /// The same as JSON, with `all` and `any`
    #[arg(long, value_name = "JSON", default_value = "", hide_default_value = true, conflicts_with = "after")]
    condition: String,
    /// By an indexed field or `$key`; with `-` in front, downwards
    #[arg(
        long,
        value_name = "FIELD",
        default_value = "",
        hide_default_value = true,
        conflicts_with = "after",
        allow_hyphen_values = true
    )]
    sort: String,
    /// Say how many there are in all
    #[arg(long, conflicts_with = "after")]
    count: bool,
    /// Go on where such a query ended
    #[arg(long, value_name = "CURSOR", conflicts_with = "after")]
    cursor: Option<String>,
    /// Most documents; 0 stands for all there are
    #[arg(long, default_value_t = 100, value_name = "DOCUMENTS")]
    limit: u64,
    /// Wait until the read model holds the event at this position, such as the last one that was published
    #[arg(long, value_name = "POSITION")]
    wait_for: Option<u64>,
    /// How long to wait, such as 500ms, and at most a minute
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = timeout, requires = "wait_for")]
    timeout: Duration,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Documents {
    documents: Vec<Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<Count>,
    /// Every event before this position is in the answer.
    next_position: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Count {
    documents: u64,
    at_least: bool,
}

#[derive(Serialize)]
struct Entry {
    key: String,
    value: Box<RawValue>,
}

/// One document, shown as itself: its key was given.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct One {
    key: String,
    value: Box<RawValue>,
    next_position: u64,
}

impl Show for One {
    fn to_text(&self) -> String {
        self.value.get().to_owned()
    }
}

impl Show for Documents {
    fn to_text(&self) -> String {
        let width = self.documents.iter().map(|entry| entry.key.chars().count()).max().unwrap_or(0);
        let lines = self.documents.iter().map(|entry| format!("{:width$}  {}", entry.key, entry.value.get()));
        let lines: Vec<String> = lines.collect();
        lines.join("\n")
    }

    fn note(&self) -> Option<String> {
        let more = match (&self.next_after, &self.next_cursor) {
            (Some(after), _) => Some(format!("there are more: --after {}", quoted(after))),
            (None, Some(cursor)) => Some(format!("there are more: --cursor {cursor}")),
            (None, None) => self.documents.is_empty().then(|| "no documents".into()),
        };
        let counted = self.count.as_ref().map(|Count { documents, at_least }| {
            let at_least = if *at_least { "at least " } else { "" };
            format!("{} of {at_least}{}", grouped(self.documents.len() as u64), count(*documents, "document"))
        });
        let notes: Vec<String> = counted.into_iter().chain(more).collect();
        (!notes.is_empty()).then(|| notes.join("; "))
    }
}

pub(crate) async fn run(args: QueryArgs, output: Output) -> Result<(), Failure> {
    let mut projections = args.remote.connect().await?.projections();
    let timeout_ms = u32::try_from(args.timeout.as_millis()).unwrap_or(u32::MAX);
    let wait_for = args.wait_for.map(|position| WaitFor { position, timeout_ms });
    let QueryArgs { name: projection, collection, .. } = args.clone();
    if let Some(key) = args.key {
        let request = GetDocumentRequest { projection, collection, key: key.clone(), wait_for };
        let answer = projections.get_document(request).await?.into_inner();
        return output.show(&One { key, value: json(&answer.value)?, next_position: answer.next_position });
    }
    let wanted = if args.limit == 0 { u64::MAX } else { args.limit };
    let none = Documents { documents: Vec::new(), next_after: None, next_cursor: None, count: None, next_position: 0 };
    let is_query = !args.r#where.is_empty() || args.count || args.cursor.is_some();
    if is_query || !args.sort.is_empty() || !args.condition.is_empty() {
        return output.show(&find(&mut projections, args, wait_for, wanted, none).await?);
    }
    let mut found = Documents { next_after: Some(args.after), ..none };
    while let Some(after) = found.next_after.take() {
        let missing = wanted - found.documents.len() as u64;
        let request = ListDocumentsRequest {
            projection: projection.clone(),
            collection: collection.clone(),
            prefix: args.prefix.clone(),
            after,
            limit: u32::try_from(missing).unwrap_or(PAGE).min(PAGE),
            wait_for,
        };
        let page = projections.list_documents(request).await?.into_inner();
        // The first page is the oldest: what it holds, all the others do too.
        if found.documents.is_empty() {
            found.next_position = page.next_position;
        }
        for Document { key, value } in page.documents {
            found.documents.push(Entry { key, value: json(&value)? });
        }
        found.next_after = (!page.next_after.is_empty()).then_some(page.next_after);
        if found.documents.len() as u64 >= wanted {
            break;
        }
    }
    output.show(&found)
}

type Projections = ProjectionServiceClient<Connection>;

/// Page by page until enough are found.
async fn find(
    projections: &mut Projections,
    args: QueryArgs,
    wait_for: Option<WaitFor>,
    wanted: u64,
    mut found: Documents,
) -> Result<Documents, Failure> {
    let (mut cursor, mut first) = (args.cursor.as_deref().map(cursor).transpose()?.unwrap_or_default(), true);
    loop {
        let missing = wanted - found.documents.len() as u64;
        let request = QueryDocumentsRequest {
            projection: args.name.clone(),
            collection: args.collection.clone(),
            r#where: args.r#where.clone(),
            condition_json: args.condition.clone(),
            prefix: args.prefix.clone(),
            sort: args.sort.clone(),
            limit: u32::try_from(missing).unwrap_or(PAGE).min(PAGE),
            cursor: std::mem::take(&mut cursor).into(),
            count: args.count && first,
            wait_for,
        };
        let page = projections.query_documents(request).await?.into_inner();
        if std::mem::take(&mut first) {
            found.next_position = page.next_position;
            found.count = page.count.map(|DocumentCount { documents, at_least }| Count { documents, at_least });
        }
        for Document { key, value } in page.documents {
            found.documents.push(Entry { key, value: json(&value)? });
        }
        if page.next_cursor.is_empty() || found.documents.len() as u64 >= wanted {
            found.next_cursor = (!page.next_cursor.is_empty()).then(|| BASE64.encode(&page.next_cursor));
            return Ok(found);
        }
        cursor = page.next_cursor.to_vec();
    }
}

fn cursor(text: &str) -> Result<Vec<u8>, Failure> {
    BASE64.decode(text).map_err(|_| Failure::usage("--cursor: it is not one that a query has shown"))
}

fn json(value: &[u8]) -> Result<Box<RawValue>, Failure> {
    serde_json::from_slice(value)
        .map_err(|error| Failure::failed("malformed_answer", format!("a document is not JSON: {error}")))
}

/// As the host takes it, where 0 would stand for its own default.
fn timeout(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if (Duration::from_millis(1)..=Duration::from_mins(1)).contains(&time) => Ok(time),
        Ok(_) => Err("give a time from 1ms to 1min".into()),
        Err(_) => Err("give a time with its unit such as 250ms, 10s or 1min".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_has_a_unit_and_is_one_that_a_host_grants() {
        assert_eq!(timeout("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(timeout("1min"), Ok(Duration::from_secs(60)));
        assert!(["0s", "61s", "10", "soon", "999us"].iter().all(|text| timeout(text).is_err()));
    }
}
