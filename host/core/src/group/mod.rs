//! Consumer groups: every event handled, in the order of its key, by one member.
//!
//! A group reads the log like everyone else and keeps what is not settled in lanes, one a key ([`lanes`]).
//! What it must not forget is in 16 shares, each a document that is written with a guard ([`share`]), so that
//! of two hosts that both believe to have a share only one can settle anything. The state itself knows
//! neither a task nor a database ([`machine`]); [`runner`] feeds it.

mod again;
pub mod config;
mod context;
mod copies;
pub mod dead_letter;
pub mod health;
mod hosts;
mod lanes;
mod lease;
mod letters;
mod machine;
mod manage;
pub mod message;
pub mod model;
mod owed;
mod queue;
mod runner;
pub mod share;
mod trim;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::code::{Code, Problem};
use crate::event::{Event, Position};
use crate::limits::group::TIMEOUT_MS_MAX;
use crate::log::commit::CommitError;
use crate::own::{SEPARATOR, document, unit};
use crate::store::{DocumentChange, PageLimit, StoreError, Unit};

pub use config::{GroupConfig, GroupRecord, InvalidGroup, Start};
pub use dead_letter::DeadLetter;
pub use lanes::Token;
pub use letters::{LetterError, Letters, Which};
pub use machine::Counts;
pub use manage::Groups;
pub use share::Tries;

const COLLECTION_GROUPS: &str = "group";
const COLLECTION_SHARES: &str = "group-share";
/// Which hosts have members of which group.
const COLLECTION_INTERESTS: &str = "group-host";
/// Signs of life of hosts.
const COLLECTION_BEATS: &str = "host-beat";
const COLLECTION_DEAD_LETTERS: &str = "dead-letter";
/// Events that were replayed and are not settled: the log may have removed them meanwhile.
const COLLECTION_REPLAYED: &str = "replayed";
const COLLECTION_PARKED_KEYS: &str = "parked-key";

fn share_key(group: &str, share: usize) -> String {
    format!("{group}{SEPARATOR}{share:02}")
}

fn parked_key(group: &str, key: &str) -> String {
    format!("{group}{SEPARATOR}{key}")
}

/// One event in a member's hands.
#[derive(Clone, Debug)]
pub struct Handing {
    pub token: Token,
    pub event: Event,
    /// How often it was handed out in vain before.
    pub tries: Tries,
}

/// What became of one acknowledgement or other word on a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It survives a power cut.
    Durable,
    /// It holds while the host lives and no commit of the group fails, until its group's strategy commits it.
    Noted,
    /// The delivery was no longer the member's: its time was over, an earlier event of its key came back, or it
    /// is settled already.
    Superseded,
}

/// A member's no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nack {
    /// Again, after the rest that the group's configuration says, or after another.
    Retry { error: String, after_ms: Option<u64> },
    /// Again, after that time; it does not count as an attempt.
    Delay { ms: u64 },
    /// Never again, but kept as a dead letter.
    Park { error: String },
    /// Never again.
    Skip,
}

/// Facts of a group on this host.
#[derive(Clone, Debug)]
pub struct GroupStatus {
    pub record: GroupRecord,
    pub members: Vec<MemberStatus>,
    /// Shares that this host leases, of 16.
    pub shares: usize,
    /// Everything before it is settled, on every host: the group's position.
    pub position: Position,
    pub tail: Position,
    /// Events that were read and are not settled.
    pub unsettled: usize,
    pub in_flight: usize,
    pub parked_keys: usize,
    /// When the oldest event that is not settled was recorded, be it read already or not.
    pub oldest_recorded_at: Option<Timestamp>,
    pub counts: Counts,
}

#[derive(Clone, Debug)]
pub struct MemberStatus {
    pub name: Arc<str>,
    pub joined_at: Timestamp,
    /// It is taken for gone then, unless it is heard of before.
    pub deadline: Timestamp,
    pub in_flight: usize,
    /// Whether it stands by while another one has the group.
    pub stands_by: bool,
}

impl GroupStatus {
    /// Positions of the log that the group has not settled, those that it does not want included.
    pub fn lag(&self) -> u64 {
        self.tail.0.saturating_sub(self.position.0)
    }
}

/// Why a call to a group failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GroupError {
    #[error("group `{0}` does not exist")]
    NotFound(String),
    #[error("group `{0}` exists already, with another configuration")]
    Exists(String),
    #[error(transparent)]
    Invalid(#[from] InvalidGroup),
    #[error("stream `{0}` is no queue: its configuration does not say `kind: ephemeral`")]
    NoQueue(String),
    #[error("{0}")]
    Argument(String),
    #[error("the session has ended: the member was not heard of in time, left, or joined anew; join again")]
    SessionEnded,
    #[error("group `{0}` has as many members as it can have")]
    TooManyMembers(String),
    #[error("there are as many groups as there can be")]
    TooManyGroups,
    #[error("it could not be committed")]
    Commit(#[from] CommitError),
    #[error("the store could not be read")]
    Store(#[from] Arc<StoreError>),
    #[error("the host is stopping")]
    Stopped,
}

impl From<GroupError> for Problem {
    fn from(error: GroupError) -> Self {
        let text = error.to_string();
        match error {
            GroupError::NotFound(_) => Problem::new(Code::GroupNotFound, text),
            GroupError::Exists(_) => Problem::new(Code::GroupExists, text),
            GroupError::Invalid(invalid) => invalid.into(),
            GroupError::Argument(_) => Problem::new(Code::InvalidArgument, text),
            GroupError::NoQueue(_) => Problem::new(Code::NoQueue, text),
            GroupError::SessionEnded => Problem::new(Code::SessionEnded, text),
            GroupError::TooManyMembers(_) | GroupError::TooManyGroups => Problem::new(Code::LimitReached, text),
            GroupError::Commit(commit) => commit.into(),
            GroupError::Store(store) => Problem::from(&*store),
            GroupError::Stopped => Problem::new(Code::Draining, text),
        }
    }
}

type Reply<T> = oneshot::Sender<Result<T, GroupError>>;

/// What a group's task is asked to do.
enum Command {
    Join {
        name: String,
        reply: Reply<Uuid>,
    },
    Attach {
        name: String,
        reply: Reply<Uuid>,
    },
    Remove {
        name: String,
        reply: Reply<bool>,
    },
    /// `lost`: it did not say goodbye.
    Leave {
        session: Uuid,
        lost: bool,
        reply: Reply<()>,
    },
    Heartbeat {
        session: Uuid,
        reply: Reply<()>,
    },
    Pull {
        session: Uuid,
        room: PageLimit,
        until: Timestamp,
        lease_us: Option<i64>,
        reply: Reply<Vec<Handing>>,
    },
    Ack {
        session: Uuid,
        tokens: Vec<Token>,
        reply: Reply<Vec<Settled>>,
    },
    Nack {
        session: Uuid,
        tokens: Vec<Token>,
        nack: Nack,
        reply: Reply<Vec<Settled>>,
    },
    Extend {
        session: Uuid,
        tokens: Vec<Token>,
        ms: u64,
        reply: Reply<Vec<Settled>>,
    },
    /// Settles deliveries with what they have brought about, if all of them are still the member's.
    Settle {
        session: Uuid,
        tokens: Vec<Token>,
        effects: Box<Unit>,
        reply: Reply<bool>,
    },
    /// Makes durable what the member has acknowledged.
    Commit {
        session: Uuid,
        reply: Reply<usize>,
    },
    Status {
        reply: Reply<GroupStatus>,
    },
    /// The stored record has changed.
    Reload {
        record: Box<GroupRecord>,
        reply: Reply<()>,
    },
    Letters {
        letters: Vec<DeadLetter>,
        replay: bool,
        reply: Reply<Vec<DeadLetter>>,
    },
    Skip {
        position: Position,
        reply: Reply<bool>,
    },
    /// Events of the past are to be handed out once more. `progress` is committed with them if all of them are of
    /// shares that this host leases.
    Again {
        events: Vec<Event>,
        progress: DocumentChange,
        reply: Reply<Again>,
    },
    Stop {
        reply: Reply<()>,
    },
}

/// What became of events of the past that are to be handed out once more.
#[derive(Clone, Debug)]
pub(crate) enum Again {
    /// It will be done, and the progress is stored.
    Taken,
    /// The group has enough to do; nothing was taken.
    Full,
    /// These are of shares that this host does not lease, and no progress was stored; the others were taken.
    Elsewhere(Vec<Event>),
}

/// A connected worker of a group. What it has when it is dropped comes back when its session times out.
#[derive(Clone, Debug)]
pub struct Membership {
    session: Uuid,
    commands: mpsc::Sender<Command>,
}

impl Membership {
    /// Names it to callers that hold no connection.
    pub fn session(&self) -> Uuid {
        self.session
    }

    /// Waits for at least one event until `until`, and hands out no more than there is `room` for. Every call
    /// tells that the member is alive. One at a time: a later pull ends an earlier one with nothing.
    pub async fn pull(&self, room: PageLimit, until: Timestamp) -> Result<Vec<Handing>, GroupError> {
        self.pull_for(room, until, None).await
    }

    /// The same for deliveries that run out after `lease_ms`, instead of what the group's configuration says.
    pub async fn pull_for(
        &self,
        room: PageLimit,
        until: Timestamp,
        lease_ms: Option<u64>,
    ) -> Result<Vec<Handing>, GroupError> {
        let lease_us = lease_ms.map(|ms| i64::try_from(ms.min(TIMEOUT_MS_MAX)).unwrap_or_default() * 1_000);
        let session = self.session;
        ask(&self.commands, |reply| Command::Pull { session, room, until, lease_us, reply }).await
    }

    /// One answer for each token, in order.
    pub async fn ack(&self, tokens: Vec<Token>) -> Result<Vec<Settled>, GroupError> {
        ask(&self.commands, |reply| Command::Ack { session: self.session, tokens, reply }).await
    }

    /// One answer for each token, in order.
    pub async fn nack(&self, tokens: Vec<Token>, nack: Nack) -> Result<Vec<Settled>, GroupError> {
        ask(&self.commands, |reply| Command::Nack { session: self.session, tokens, nack, reply }).await
    }

    /// Settles the deliveries and commits `effects`, in one unit. `false` if one of them was no longer the
    /// member's: then nothing has happened. An effect that the store refuses fails the commit, after which the
    /// group begins anew: every delivery is void.
    pub(crate) async fn settle(&self, tokens: Vec<Token>, effects: Unit) -> Result<bool, GroupError> {
        let (session, effects) = (self.session, Box::new(effects));
        ask(&self.commands, |reply| Command::Settle { session, tokens, effects, reply }).await
    }

    /// Gives the deliveries another `ms` from now on. One answer for each token, in order.
    pub async fn extend(&self, tokens: Vec<Token>, ms: u64) -> Result<Vec<Settled>, GroupError> {
        ask(&self.commands, |reply| Command::Extend { session: self.session, tokens, ms, reply }).await
    }

    /// Makes durable what was acknowledged and how many events that were; for the strategies that do not.
    pub async fn commit(&self) -> Result<usize, GroupError> {
        ask(&self.commands, |reply| Command::Commit { session: self.session, reply }).await
    }

    pub async fn heartbeat(&self) -> Result<(), GroupError> {
        ask(&self.commands, |reply| Command::Heartbeat { session: self.session, reply }).await
    }

    /// Gives back what it has, which does not count as an attempt.
    pub async fn leave(&self) -> Result<(), GroupError> {
        ask(&self.commands, |reply| Command::Leave { session: self.session, lost: false, reply }).await
    }

    /// The member was cut off: what it has comes back at once, counted like a session that has timed out.
    pub async fn lost(&self) -> Result<(), GroupError> {
        ask(&self.commands, |reply| Command::Leave { session: self.session, lost: true, reply }).await
    }

    // The same words on deliveries in two steps: they take effect in the order in which they are queued.

    pub async fn submit_ack(&self, tokens: Vec<Token>) -> Result<Answer<Vec<Settled>>, GroupError> {
        tell(&self.commands, |reply| Command::Ack { session: self.session, tokens, reply }).await
    }

    pub async fn submit_nack(&self, tokens: Vec<Token>, nack: Nack) -> Result<Answer<Vec<Settled>>, GroupError> {
        tell(&self.commands, |reply| Command::Nack { session: self.session, tokens, nack, reply }).await
    }

    pub async fn submit_extend(&self, tokens: Vec<Token>, ms: u64) -> Result<Answer<Vec<Settled>>, GroupError> {
        tell(&self.commands, |reply| Command::Extend { session: self.session, tokens, ms, reply }).await
    }

    pub async fn submit_commit(&self) -> Result<Answer<usize>, GroupError> {
        tell(&self.commands, |reply| Command::Commit { session: self.session, reply }).await
    }
}

/// An answer that will come; dropping it takes nothing back.
#[derive(Debug)]
pub struct Answer<T>(oneshot::Receiver<Result<T, GroupError>>);

impl<T> Answer<T> {
    pub async fn outcome(self) -> Result<T, GroupError> {
        self.0.await.unwrap_or(Err(GroupError::Stopped))
    }
}

async fn tell<T>(
    commands: &mpsc::Sender<Command>,
    command: impl FnOnce(Reply<T>) -> Command,
) -> Result<Answer<T>, GroupError> {
    let (reply, answer) = oneshot::channel();
    commands.send(command(reply)).await.map_err(|_| GroupError::Stopped)?;
    Ok(Answer(answer))
}

async fn ask<T>(commands: &mpsc::Sender<Command>, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, GroupError> {
    tell(commands, command).await?.outcome().await
}
