//! `wasmill projection diff`.

use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;

use super::status::state_name;
use crate::cli::client::Remote;
use crate::cli::exit::Failure;
use crate::cli::output::{Output, Show};
use crate::cli::table::{count, grouped, table};
use crate::proto::{self, DiffProjectionRequest, DifferenceKind};

/// What a host hands out at once.
const PAGE: u32 = 1_000;

#[derive(Args, Clone, Debug)]
pub(crate) struct DiffArgs {
    /// The projection's name
    #[arg(value_name = "NAME")]
    name: String,
    /// Only this collection
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    collection: String,
    /// Most differences; 0 stands for all there are
    #[arg(long, default_value_t = 100, value_name = "DIFFERENCES")]
    limit: u64,
    /// Compare these two generations instead
    #[arg(long, num_args = 2, value_names = ["BEFORE", "AFTER"])]
    generations: Vec<u64>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Diff {
    before: Side,
    after: Side,
    same_position: bool,
    collections: Vec<Counts>,
    differences: Vec<Difference>,
    looked_at: u64,
    /// Whether the limit has ended it.
    more: bool,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Side {
    generation: u64,
    revision: u32,
    state: &'static str,
    next_position: u64,
}

#[derive(Serialize)]
struct Counts {
    name: String,
    before: u64,
    after: u64,
}

#[derive(Serialize)]
struct Difference {
    collection: String,
    key: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    values: Vec<Value>,
}

#[derive(Serialize)]
struct Value {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

pub(crate) async fn run(args: DiffArgs, output: Output) -> Result<(), Failure> {
    let mut projections = args.remote.connect().await?.projections();
    let wanted = if args.limit == 0 { u64::MAX } else { args.limit };
    let mut diff = Diff {
        before: Side::default(),
        after: Side::default(),
        same_position: true,
        collections: Vec::new(),
        differences: Vec::new(),
        looked_at: 0,
        more: true,
    };
    let mut after = None;
    while diff.more && (diff.differences.len() as u64) < wanted {
        let missing = wanted - diff.differences.len() as u64;
        let request = DiffProjectionRequest {
            projection: args.name.clone(),
            collection: args.collection.clone(),
            limit: u32::try_from(missing).unwrap_or(PAGE).min(PAGE),
            after: after.take(),
            before_generation: args.generations.first().copied(),
            after_generation: args.generations.get(1).copied(),
        };
        let page = projections.diff_projection(request).await?.into_inner();
        if diff.looked_at == 0 {
            let counts = |counts: proto::DiffCollection| Counts {
                name: counts.name,
                before: counts.documents_before,
                after: counts.documents_after,
            };
            diff.collections = page.collections.into_iter().map(counts).collect();
        }
        let (before, newer) = (side(page.before.unwrap_or_default()), side(page.after.unwrap_or_default()));
        let moved = diff.looked_at > 0
            && (diff.before.next_position, diff.after.next_position) != (before.next_position, newer.next_position);
        diff.same_position &= page.same_position && !moved;
        (diff.before, diff.after) = (before, newer);
        diff.looked_at += page.looked_at;
        diff.differences.extend(page.differences.into_iter().map(difference));
        diff.more = page.next.is_some();
        after = page.next;
    }
    output.show(&diff)
}

fn side(side: proto::DiffSide) -> Side {
    let state = state_name(side.state());
    Side { generation: side.generation, revision: side.revision, state, next_position: side.next_position }
}

fn difference(difference: proto::DocumentDifference) -> Difference {
    let kind = match difference.kind() {
        DifferenceKind::Unspecified => "unknown",
        DifferenceKind::Removed => "removed",
        DifferenceKind::Added => "added",
        DifferenceKind::Changed => "changed",
    };
    let value = |value: proto::ValueDifference| Value { path: value.path, before: value.before, after: value.after };
    let values = difference.values.into_iter().map(value).collect();
    Difference { collection: difference.collection, key: difference.key, kind, values }
}

impl Show for Diff {
    fn to_text(&self) -> String {
        let mut text = String::new();
        for (name, side) in [("before", &self.before), ("after", &self.after)] {
            let Side { generation, revision, state, next_position } = side;
            let at = grouped(*next_position);
            let _ = writeln!(text, "{name:7} generation {generation} (revision {revision}), {state} at position {at}");
        }
        let rows = self.collections.iter().map(|counts| {
            let [before, after] = [counts.before, counts.after].map(grouped);
            [counts.name.clone(), before, after]
        });
        text += &table(["collection", ">before", ">after"], rows);
        for Difference { collection, key, kind, values } in &self.differences {
            let _ = write!(text, "\n{kind:8} {collection}/{key}");
            for Value { path, before, after } in values {
                let [before, after] = [before, after].map(|value| value.as_deref().unwrap_or("nothing"));
                let path = if path.is_empty() { "the whole document" } else { path };
                let _ = write!(text, "\n    {path}: {before} -> {after}");
            }
            if values.is_empty() && *kind == "changed" {
                text += "\n    the same JSON, written in other bytes";
            }
        }
        text
    }

    fn note(&self) -> Option<String> {
        let found = count(self.differences.len() as u64, "difference");
        let mut note = format!("{found} in {}", count(self.looked_at, "document"));
        if self.more {
            note += ", and there may be more: --limit 0 shows all";
        }
        if !self.same_position {
            note += "; the two were not at the same position all the while, so some may be due to that";
        }
        Some(note)
    }
}
