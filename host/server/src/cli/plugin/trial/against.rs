//! What two components make of the same events.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use wasmill_core::plugin::difference::{Difference, PathChange, Which, between};
use wasmill_core::plugin::trial::{Course, Output, Run, Trial};

use super::{Events, Identity, OutputShown, Plural as _, value};
use crate::cli::exit::Failure;

/// Documents and events that are shown of each kind.
const SHOWN_MAX: usize = 100;

/// The other one, and all that is not the same.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Against {
    plugin: Identity,
    different_documents: usize,
    documents: Vec<DocumentDifference>,
    different_output: usize,
    /// What only the other one has put out.
    output_before: Vec<OutputShown>,
    output_now: Vec<OutputShown>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DocumentDifference {
    collection: String,
    key: String,
    /// The document of the other one, where this one has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    now: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changed: Vec<Change>,
}

#[derive(Serialize)]
struct Change {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    now: Option<Value>,
}

impl Against {
    /// Runs `other` in the same course, and holds what `run` came to against it.
    pub(crate) async fn of(other: &Trial, events: &Events, (run, course): (&Run, Course)) -> Result<Self, Failure> {
        let before = other.run(&events.events, course).await?;
        let documents = between(&before.read_model, &run.read_model);
        let (gone, new) = (missing(&before.output, &run.output), missing(&run.output, &before.output));
        let shown = |outputs: &[&Output]| -> Vec<OutputShown> {
            outputs.iter().take(SHOWN_MAX).map(|output| OutputShown::of(output, events)).collect()
        };
        Ok(Self {
            plugin: Identity::of(other),
            different_documents: documents.len(),
            documents: documents.into_iter().take(SHOWN_MAX).map(DocumentDifference::of).collect(),
            different_output: gone.len() + new.len(),
            output_before: shown(&gone),
            output_now: shown(&new),
        })
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("against {}\n", self.plugin.to_text());
        if self.different_documents + self.different_output == 0 {
            return text + "both come to the same";
        }
        let (documents, output) = (self.different_documents.of("document"), self.different_output.of("event"));
        let _ = write!(text, "{documents} and {output} of output differ: - then, + now");
        for difference in &self.documents {
            let _ = write!(text, "\n{}", difference.to_text());
        }
        for output in &self.output_before {
            let _ = write!(text, "\n- {}", output.to_text());
        }
        for output in &self.output_now {
            let _ = write!(text, "\n+ {}", output.to_text());
        }
        let shown = self.documents.len() + self.output_before.len() + self.output_now.len();
        let rest = self.different_documents + self.different_output - shown;
        if rest > 0 {
            let _ = write!(text, "\nand {} more", rest.of("difference"));
        }
        text
    }
}

/// What stands in `these` and not in `those`.
fn missing<'a>(these: &'a [Output], those: &[Output]) -> Vec<&'a Output> {
    let of = |event: usize| {
        let first = those.partition_point(|output| output.event < event);
        those[first..].iter().take_while(move |output| output.event == event)
    };
    these.iter().filter(|output| !of(output.event).any(|other| other == *output)).collect()
}

impl DocumentDifference {
    fn of(Difference { collection, key, what }: Difference) -> Self {
        let mut difference =
            Self { collection: collection.to_string(), key, before: None, now: None, changed: Vec::new() };
        match what {
            Which::OnlyLeft(bytes) => difference.before = Some(value(&bytes)),
            Which::OnlyRight(bytes) => difference.now = Some(value(&bytes)),
            Which::Bytes { left, right } => {
                (difference.before, difference.now) = (Some(value(&left)), Some(value(&right)));
            }
            Which::Changed(changes) => {
                let change = |PathChange { path, left, right }| Change { path, before: left, now: right };
                difference.changed = changes.into_iter().map(change).collect();
            }
        }
        difference
    }

    fn to_text(&self) -> String {
        let place = format!("{}/{}", self.collection, self.key);
        let mut lines = Vec::new();
        lines.extend(self.before.as_ref().map(|value| format!("- {place}  {}", value.get())));
        lines.extend(self.now.as_ref().map(|value| format!("+ {place}  {}", value.get())));
        if lines.is_empty() {
            let changes = self.changed.iter().map(|Change { path, before, now }| {
                let side = |value: &Option<Value>| value.as_ref().map_or("nothing".to_owned(), ToString::to_string);
                let path = if path.is_empty() { "the whole" } else { path };
                format!("{path} {} -> {}", side(before), side(now))
            });
            let changes: Vec<String> = changes.collect();
            let changes = if changes.is_empty() { "other bytes of the same JSON".into() } else { changes.join(", ") };
            lines.push(format!("~ {place}  {changes}"));
        }
        lines.join("\n").replace(|c: char| c.is_control() && c != '\n', " ")
    }
}
