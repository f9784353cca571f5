//! Receipts, as they are shown.

use serde::Serialize;

use crate::cli::output::Show;
use crate::cli::table::{count, grouped, quoted, rfc3339, table};
use crate::proto;

#[derive(Serialize)]
pub(super) struct Noted {
    pub(super) stream: String,
    pub(super) consumer: String,
    pub(super) delivered: u64,
    pub(super) read: u64,
}

impl Show for Noted {
    fn to_text(&self) -> String {
        let Noted { stream, consumer, delivered, read } = self;
        let events = |number: u64, what: &str| (number > 0).then(|| format!("{} {what}", count(number, "event")));
        let said: Vec<_> = [events(*delivered, "delivered"), events(*read, "read")].into_iter().flatten().collect();
        format!("noted for {consumer} in {stream}: {}", said.join(", "))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Receipt {
    stream: String,
    offset: u64,
    consumer: String,
    delivered_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    read_at: Option<String>,
    reminders: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    reminded_at: Option<String>,
    dead_letter: bool,
}

impl From<proto::Receipt> for Receipt {
    fn from(receipt: proto::Receipt) -> Self {
        Self {
            stream: receipt.stream,
            offset: receipt.offset,
            consumer: receipt.consumer,
            delivered_at: rfc3339(receipt.delivered_at_us),
            read_at: receipt.read_at_us.map(rfc3339),
            reminders: receipt.reminders,
            reminded_at: receipt.reminded_at_us.map(rfc3339),
            dead_letter: receipt.dead_letter,
        }
    }
}

/// What the receipts of a list have in common.
#[derive(Clone, Copy)]
enum Of {
    Event,
    Consumer,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Receipts {
    receipts: Vec<Receipt>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_after: Option<String>,
    /// Whether there are more than were wanted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more: bool,
    #[serde(skip)]
    of: Of,
}

impl Receipts {
    pub(super) fn of_event(receipts: Vec<proto::Receipt>, next_after: Option<String>) -> Self {
        let receipts = receipts.into_iter().map(Receipt::from).collect();
        Self { receipts, next_after, more: false, of: Of::Event }
    }

    pub(super) fn of_consumer(receipts: Vec<proto::Receipt>, more: bool) -> Self {
        let receipts = receipts.into_iter().map(Receipt::from).collect();
        Self { receipts, next_after: None, more, of: Of::Consumer }
    }
}

impl Show for Receipts {
    fn to_text(&self) -> String {
        if self.receipts.is_empty() {
            return String::new();
        }
        let said = |receipt: &Receipt| {
            let read = match (&receipt.read_at, receipt.dead_letter) {
                (Some(read_at), _) => read_at.clone(),
                (None, true) => "dead letter".to_owned(),
                (None, false) => "-".to_owned(),
            };
            [receipt.delivered_at.clone(), read, grouped(receipt.reminders.into())]
        };
        match self.of {
            Of::Event => table(
                ["consumer", "delivered", "read", ">reminders"],
                self.receipts.iter().map(|receipt| {
                    let [delivered, read, reminders] = said(receipt);
                    [receipt.consumer.clone(), delivered, read, reminders]
                }),
            ),
            Of::Consumer => table(
                ["stream", ">offset", "delivered", "read", ">reminders"],
                self.receipts.iter().map(|receipt| {
                    let [delivered, read, reminders] = said(receipt);
                    [receipt.stream.clone(), receipt.offset.to_string(), delivered, read, reminders]
                }),
            ),
        }
    }

    fn note(&self) -> Option<String> {
        match &self.next_after {
            Some(after) => Some(format!("there are more: --after {}", quoted(after))),
            None if self.more => Some("there are more: --limit 0 shows all".into()),
            None => self.receipts.is_empty().then(|| "no receipts".into()),
        }
    }
}

/// How far a consumer is in a stream.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Progress {
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer: Option<String>,
    delivered: u64,
    read: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_delivered: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_read: Option<u64>,
    updated_at: String,
}

impl From<proto::ConsumerProgress> for Progress {
    fn from(progress: proto::ConsumerProgress) -> Self {
        Self {
            stream: Some(progress.stream),
            consumer: Some(progress.consumer),
            delivered: progress.delivered,
            read: progress.read,
            last_delivered: progress.last_delivered,
            last_read: progress.last_read,
            updated_at: rfc3339(progress.updated_at_us),
        }
    }
}

/// One of the two lists.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProgressList {
    #[serde(skip_serializing_if = "Option::is_none")]
    consumers: Option<Vec<Progress>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    streams: Option<Vec<Progress>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_after: Option<String>,
}

impl ProgressList {
    /// Its consumers.
    pub(super) fn of_stream(found: Vec<proto::ConsumerProgress>, next_after: Option<String>) -> Self {
        let consumers = found.into_iter().map(|found| Progress { stream: None, ..Progress::from(found) });
        Self { consumers: Some(consumers.collect()), streams: None, next_after }
    }

    /// Its streams.
    pub(super) fn of_consumer(found: Vec<proto::ConsumerProgress>, next_after: Option<String>) -> Self {
        let streams = found.into_iter().map(|found| Progress { consumer: None, ..Progress::from(found) });
        Self { consumers: None, streams: Some(streams.collect()), next_after }
    }

    /// The name of their column, and they.
    fn entries(&self) -> (&'static str, &[Progress]) {
        match (&self.consumers, &self.streams) {
            (Some(consumers), _) => ("consumer", consumers),
            (None, streams) => ("stream", streams.as_deref().unwrap_or_default()),
        }
    }
}

impl Show for ProgressList {
    fn to_text(&self) -> String {
        let (of, entries) = self.entries();
        if entries.is_empty() {
            return String::new();
        }
        let offset = |offset: Option<u64>| offset.map_or_else(|| "-".to_owned(), |offset| offset.to_string());
        let rows = entries.iter().map(|progress| {
            let Progress { stream, consumer, delivered, read, last_delivered, last_read, updated_at } = progress;
            let name = consumer.as_ref().or(stream.as_ref()).cloned().unwrap_or_default();
            let (delivered, read) = (grouped(*delivered), grouped(*read));
            [name, delivered, read, offset(*last_delivered), offset(*last_read), updated_at.clone()]
        });
        table([of, ">delivered", ">read", ">last delivered", ">last read", "since"], rows)
    }

    fn note(&self) -> Option<String> {
        let (of, entries) = self.entries();
        match &self.next_after {
            Some(after) => Some(format!("there are more: --after {}", quoted(after))),
            None => entries.is_empty().then(|| format!("no {of}s")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_told_from_what_was_not() {
        let receipt = |offset: u64, read_at_us: Option<i64>| proto::Receipt {
            stream: "news".into(),
            offset,
            consumer: "ann".into(),
            read_at_us,
            ..proto::Receipt::default()
        };
        let list = Receipts::of_consumer(vec![receipt(7, Some(1_000_000)), receipt(8, None)], false);
        let text = list.to_text();
        assert!(text.starts_with("stream  offset") && text.contains("1970-01-01T00:00:01Z"), "{text}");
        assert!(text.lines().last().is_some_and(|line| line.contains("  -  ")), "{text}");
        let noted = Noted { stream: "news".into(), consumer: "ann".into(), delivered: 2, read: 1 };
        assert_eq!(noted.to_text(), "noted for ann in news: 2 events delivered, 1 event read");
    }
}
