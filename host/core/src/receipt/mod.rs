//! Receipts: who was delivered, and who has read, which event, and when.
//!
//! A consumer is a name that a client gives: a person, a device, a service. Its receipts for 64 neighbouring
//! events of a stream are one document ([`block`]), found by the stream and by the consumer alike. What is said
//! of an event is answered when it survives a power cut ([`writer`]). A [timer](crate::timer) of each block acts
//! when an event was not read in time, and forgets what is old ([`fire`]).

mod block;
mod fire;
mod query;
mod writer;

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::clock::Timestamp;
use crate::code::{Code, Problem};
use crate::event::Offset;
use crate::limits::receipt as limits;
use crate::log::commit::CommitError;
use crate::log::publish::Publisher;
use crate::name::{self, StreamName};
use crate::own::{self, SEPARATOR, document};
use crate::store::{DocumentChange, Store, StoreError};
use crate::stream::configs::StreamConfigs;
use crate::timer::{Kind, Timer};

pub use block::Mark;
pub(crate) use fire::Firing;
pub use fire::REMINDER_TYPE;
pub use query::{ConsumerPage, Place, ReceiptPage};
pub(crate) use writer::receipts;

/// By stream, block and consumer.
const COLLECTION_BLOCKS: &str = "receipt";
/// By stream and consumer: see [`Progress`].
const COLLECTION_PROGRESS: &str = "receipt-progress";
/// By consumer and stream, so that a consumer's streams are found.
const COLLECTION_CONSUMERS: &str = "receipt-consumer";

fn block_key(stream: &str, block: u64, consumer: &str) -> String {
    format!("{}{consumer}", block_prefix(stream, block))
}

fn block_prefix(stream: &str, block: u64) -> String {
    format!("{stream}{SEPARATOR}{block:014x}{SEPARATOR}")
}

fn pair(first: &str, second: &str) -> String {
    format!("{first}{SEPARATOR}{second}")
}

fn timer(key: &str, due: Timestamp) -> Timer {
    Timer { due, kind: Kind::Receipts, id: key.to_owned() }
}

/// One event and one consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub stream: StreamName,
    pub offset: Offset,
    pub consumer: String,
    pub delivered_at: Timestamp,
    pub read_at: Option<Timestamp>,
    /// How often the consumer was reminded of it.
    pub reminders: u32,
    pub reminded_at: Option<Timestamp>,
    /// It was not read in time, and has become a dead letter.
    pub dead_letter: bool,
}

/// How far a consumer is in a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Events ever delivered to it, and read by it.
    pub delivered: u64,
    pub read: u64,
    /// The highest offset of either.
    pub last_delivered: Option<u64>,
    pub last_read: Option<u64>,
    pub updated_at_us: i64,
    /// The first and the last block that there may be.
    first_block: u64,
    last_block: u64,
}

impl Progress {
    fn encode(&self) -> Bytes {
        serde_json::to_vec(self).expect("it has only numbers").into()
    }

    fn put(&self, key: String) -> DocumentChange {
        document(COLLECTION_PROGRESS, key, Some(self.encode()))
    }
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum ReceiptError {
    #[error("{at}: {what}")]
    Invalid { at: &'static str, what: String },
    #[error("stream `{0}` does not exist: nothing was ever appended to it")]
    StreamNotFound(StreamName),
    #[error("it could not be committed")]
    Commit(#[from] CommitError),
    #[error("the store could not be read")]
    Store(#[from] Arc<StoreError>),
    #[error("the host is stopping")]
    Stopped,
}

/// For those whose commit waits for receipts of what they have handed out.
impl From<ReceiptError> for CommitError {
    fn from(error: ReceiptError) -> Self {
        match error {
            ReceiptError::Commit(commit) => commit,
            ReceiptError::Store(store) => CommitError::Store(store),
            ReceiptError::Stopped | ReceiptError::Invalid { .. } | ReceiptError::StreamNotFound(_) => {
                CommitError::Stopped
            }
        }
    }
}

impl From<StoreError> for ReceiptError {
    fn from(error: StoreError) -> Self {
        ReceiptError::Store(Arc::new(error))
    }
}

impl From<ReceiptError> for Problem {
    fn from(error: ReceiptError) -> Self {
        let text = error.to_string();
        match error {
            ReceiptError::Invalid { at, what } => Problem::new(Code::InvalidArgument, text).with(at, what),
            ReceiptError::StreamNotFound(_) => Problem::new(Code::StreamNotFound, text),
            ReceiptError::Commit(commit) => commit.into(),
            ReceiptError::Store(store) => Problem::from(&*store),
            ReceiptError::Stopped => Problem::new(Code::Draining, text),
        }
    }
}

/// The door to the receipts. Cheap to clone.
#[derive(Clone)]
pub struct Receipts {
    store: Arc<dyn Store>,
    configs: StreamConfigs,
    publisher: Publisher,
    writes: mpsc::Sender<Write>,
}

/// What one call has to say.
struct Write {
    stream: StreamName,
    consumer: String,
    marks: Vec<(Offset, Mark)>,
    reply: oneshot::Sender<Result<(), ReceiptError>>,
}

/// A call on its way; dropping it takes nothing back.
#[derive(Debug)]
pub struct Noted(oneshot::Receiver<Result<(), ReceiptError>>);

impl Noted {
    /// Returns when it survives a power cut.
    pub async fn outcome(self) -> Result<(), ReceiptError> {
        self.0.await.unwrap_or(Err(ReceiptError::Stopped))
    }
}

impl Receipts {
    /// Notes that a consumer was delivered events, or has read them; all of it or nothing. What was noted before
    /// stays as it is.
    pub async fn note(
        &self,
        stream: &StreamName,
        consumer: &str,
        marks: Vec<(Offset, Mark)>,
    ) -> Result<(), ReceiptError> {
        check_consumer(consumer)?;
        // Each event may have been delivered and read.
        let max = 2 * limits::MARKS_MAX;
        if marks.is_empty() || marks.len() > max {
            let what = format!("there are {}, where 1 to {max} are allowed", marks.len());
            return Err(ReceiptError::Invalid { at: "offsets", what });
        }
        let info = self.store.stream(stream).await?.ok_or_else(|| ReceiptError::StreamNotFound(stream.clone()))?;
        if let Some((beyond, _)) = marks.iter().find(|(offset, _)| *offset >= info.next_offset) {
            let what = format!("there is no event {beyond} yet; the stream's next one is {}", info.next_offset);
            return Err(ReceiptError::Invalid { at: "offsets", what });
        }
        self.submit(stream.clone(), consumer.to_owned(), marks).await?.outcome().await
    }

    /// The same for events that the host itself has handed out, in two steps.
    pub async fn submit(
        &self,
        stream: StreamName,
        consumer: String,
        marks: Vec<(Offset, Mark)>,
    ) -> Result<Noted, ReceiptError> {
        let (reply, answer) = oneshot::channel();
        let write = Write { stream, consumer, marks, reply };
        self.writes.send(write).await.map_err(|_| ReceiptError::Stopped)?;
        Ok(Noted(answer))
    }
}

/// Names of consumers follow the rules of all names; groups have theirs.
pub fn check_consumer(consumer: &str) -> Result<(), ReceiptError> {
    name::check(consumer).map_err(|error| ReceiptError::Invalid { at: "consumer", what: error.to_string() })
}

fn decode_block(key: &str, stored: &[u8]) -> Result<block::Block, StoreError> {
    let damaged = |error| StoreError::Damaged { what: format!("receipts `{}`: {error}", key.escape_debug()) };
    block::Block::decode(stored).map_err(damaged)
}

fn decode_progress(key: &str, stored: &Bytes) -> Result<Progress, StoreError> {
    own::decode_json(&|| format!("progress of `{}`", key.escape_debug()), stored)
}
