//! The task of one group: takes commands, reads the log, commits, and waits for whatever comes first.
//!
//! One commit is under way at a time; what is settled meanwhile gathers for the next, so that a busy group
//! shares its commits. An answer that says `durable` is given when its commit is over. When a commit fails,
//! the group begins anew from what the store has: every delivery is void, and nothing is promised twice.

mod commit;
mod serve;

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::config::{CommitStrategy, GroupRecord};
use super::context::Context;
use super::health::{Said, Shown};
use super::lanes::{Handed, MemberId};
use super::machine::{Committing, Machine};
use super::owed::Owed;
use super::trim::Trim;
use super::{Again, Command, GroupError, GroupStatus, Handing, MemberStatus, Reply, Settled};
use crate::clock::Timestamp;
use crate::event::{Event, Position};
use crate::limits::group as limits;
use crate::log::commit::CommitError;
use crate::log::filter::Filter;
use crate::log_id;
use crate::store::{Committed, PageLimit};

/// A pull that has found nothing yet.
struct Waiting {
    member: MemberId,
    room: PageLimit,
    until: Timestamp,
    lease_us: Option<i64>,
    reply: Reply<Vec<Handing>>,
}

struct UnderWay {
    outcome: JoinHandle<Result<Committed, CommitError>>,
    committing: Committing,
    owed: Vec<Owed>,
}

pub(super) struct Runner {
    pub(super) context: Context,
    pub(super) machine: Machine,
    filter: Filter,
    commands: mpsc::Receiver<Command>,
    waiting: Vec<Waiting>,
    pub(super) owed: Vec<Owed>,
    under_way: Option<UnderWay>,
    /// When acknowledgements are committed that were only noted.
    commit_due: Option<Timestamp>,
    /// The cursor that the store knows of.
    pub(super) told: Position,
    /// When this host looks what the others do next.
    pub(super) round_due: Option<Timestamp>,
    /// Whether the others know that it has members.
    pub(super) interested: bool,
    trim: Trim,
    /// Who wants to know the group's status.
    asked: Vec<Reply<GroupStatus>>,
    shown: Arc<Shown>,
    said: Said,
}

impl Runner {
    pub(super) fn new(
        context: Context,
        record: GroupRecord,
        commands: mpsc::Receiver<Command>,
        shown: Arc<Shown>,
    ) -> Self {
        let filter = record.config.filter().unwrap_or_default();
        let machine = Machine::new(record, context.host, first_token());
        Self {
            context,
            machine,
            filter,
            commands,
            waiting: Vec::new(),
            owed: Vec::new(),
            under_way: None,
            commit_due: None,
            told: Position(0),
            round_due: None,
            interested: false,
            trim: Trim::default(),
            asked: Vec::new(),
            shown,
            said: Said::default(),
        }
    }

    /// Runs until the host stops or the group is removed.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), String> {
        if !self.load_until_it_works(&stop).await {
            return Ok(());
        }
        self.shown.update(&mut self.machine, &mut self.said, self.context.clock.now());
        let mut tail = self.context.reader.tail().watch();
        let mut commands = Vec::with_capacity(limits::COMMANDS_AT_ONCE);
        loop {
            let deadline = self.next_deadline();
            let clock = Arc::clone(&self.context.clock);
            let mut over = None;
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    self.finish().await;
                    return Ok(());
                }
                outcome = outcome_of(&mut self.under_way) => over = Some(outcome),
                count = self.commands.recv_many(&mut commands, limits::COMMANDS_AT_ONCE) => {
                    if count == 0 {
                        self.finish().await;
                        return Ok(());
                    }
                }
                changed = tail.changed(), if !self.waiting.is_empty() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                }
                () = clock.wait_until(deadline) => {}
            }
            let now = self.context.clock.now();
            if let Some(outcome) = over {
                self.commit_is_over(outcome, now, &stop).await;
            }
            self.hear_those_who_wait(now);
            self.machine.tick(now);
            self.machine.notes_read = self.context.configs.notes_any_group_receipts();
            for command in commands.drain(..) {
                if let Command::Stop { reply } = command {
                    self.finish().await;
                    let _ = reply.send(Ok(()));
                    return Ok(());
                }
                self.obey(command, now);
            }
            if self.commit_due.is_some_and(|due| due <= now) {
                self.machine.settle_all_noted(now);
                self.commit_due = None;
            }
            if self.round_due.is_some_and(|due| due <= now) && self.under_way.is_none() && !self.round(now).await {
                return Ok(());
            }
            self.trim_if_due(now);
            self.serve(now).await;
            self.tell_of_itself(now).await;
            self.begin_commit();
            self.shown.update(&mut self.machine, &mut self.said, now);
        }
    }

    fn next_deadline(&self) -> Timestamp {
        let pulls = self.waiting.iter().map(|waiting| waiting.until).min();
        // A round waits for the commit that is under way, whose end wakes the task.
        let round = self.round_due.filter(|_| self.under_way.is_none());
        let all = [self.machine.next_deadline(), pulls, self.commit_due, round, self.trim.due];
        all.into_iter().flatten().min().unwrap_or(Timestamp(i64::MAX))
    }

    // Commands.

    fn obey(&mut self, command: Command, now: Timestamp) {
        match command {
            Command::Join { name, reply } => {
                let session = Uuid::new_v4();
                let joined = self.machine.join(&name, session, now);
                let group = &self.machine.record.name;
                let joined = joined.map(|_| session).map_err(|_| GroupError::TooManyMembers(group.clone()));
                if joined.is_ok() {
                    // Others learn at once that there is a member.
                    self.round_due = self.round_due.map(|due| if self.interested { due } else { now });
                    tracing::info!(event_id = log_id::MEMBER_JOINED, group, member = name, "a member joined");
                }
                let _ = reply.send(joined);
            }
            Command::Leave { session, lost, reply } => {
                if let Some(member) = self.machine.heard_of(session, now) {
                    self.end_pulls(member);
                    self.machine.remove(member, now, lost);
                }
                let _ = reply.send(Ok(()));
            }
            Command::Remove { name, reply } => {
                let member = self.machine.member_of_name(&name);
                if let Some(member) = member {
                    self.end_pulls(member);
                    self.machine.remove(member, now, false);
                }
                let _ = reply.send(Ok(member.is_some()));
            }
            Command::Heartbeat { session, reply } => {
                let heard = self.machine.heard_of(session, now);
                let _ = reply.send(heard.map(|_| ()).ok_or(GroupError::SessionEnded));
            }
            Command::Attach { name, reply } => {
                let attached = self.machine.attach(&name, Uuid::new_v4(), now);
                let group = &self.machine.record.name;
                self.round_due = self.round_due.map(|due| if self.interested { due } else { now });
                let _ = reply.send(attached.map_err(|_| GroupError::TooManyMembers(group.clone())));
            }
            Command::Pull { session, room, until, lease_us, reply } => match self.machine.heard_of(session, now) {
                None => drop(reply.send(Err(GroupError::SessionEnded))),
                Some(member) => {
                    self.end_pulls(member);
                    let room = PageLimit {
                        events: room.events.clamp(1, limits::PULL_EVENTS_MAX),
                        bytes: room.bytes.clamp(1, limits::PULL_BYTES_MAX),
                    };
                    self.waiting.push(Waiting { member, room, until, lease_us, reply });
                }
            },
            Command::Ack { session, tokens, reply } => match self.machine.heard_of(session, now) {
                None => drop(reply.send(Err(GroupError::SessionEnded))),
                Some(member) => {
                    let answers = self.machine.ack(member, &tokens, now);
                    self.note_commit_due(now);
                    self.answer(reply, answers);
                }
            },
            Command::Settle { session, tokens, effects, reply } => match self.machine.heard_of(session, now) {
                None => drop(reply.send(Err(GroupError::SessionEnded))),
                Some(member) => match self.machine.settle_with(member, &tokens, *effects, now) {
                    true => self.owed.push(Owed::Flag(reply, true)),
                    false => drop(reply.send(Ok(false))),
                },
            },
            Command::Nack { session, tokens, nack, reply } => match self.machine.heard_of(session, now) {
                None => drop(reply.send(Err(GroupError::SessionEnded))),
                Some(member) => {
                    let answers = self.machine.nack(member, &tokens, &nack, now);
                    self.answer(reply, answers);
                }
            },
            Command::Extend { session, tokens, ms, reply } => match self.machine.heard_of(session, now) {
                None => drop(reply.send(Err(GroupError::SessionEnded))),
                Some(member) => drop(reply.send(Ok(self.machine.extend(member, &tokens, ms, now)))),
            },
            Command::Commit { session, reply } => match self.machine.heard_of(session, now) {
                None => drop(reply.send(Err(GroupError::SessionEnded))),
                Some(member) => {
                    let count = self.machine.settle_noted(member, now);
                    self.owed.push(Owed::Count(reply, count));
                }
            },
            Command::Status { reply } => self.asked.push(reply),
            Command::Reload { record, reply } => {
                self.reload(*record);
                self.owed.push(Owed::Done(reply));
            }
            Command::Letters { letters, replay, reply } => {
                let elsewhere = self.machine.settle_letters(letters, replay, now);
                self.owed.push(Owed::Letters(reply, elsewhere));
            }
            Command::Skip { position, reply } => {
                let skipped = self.machine.skip(position, now);
                self.owed.push(Owed::Flag(reply, skipped));
            }
            Command::Again { events, progress, reply } => match self.machine.again(events, progress, now) {
                Again::Full => drop(reply.send(Ok(Again::Full))),
                again => self.owed.push(Owed::Again(reply, again)),
            },
            Command::Stop { .. } => {}
        }
    }

    fn note_commit_due(&mut self, now: Timestamp) {
        let config = &self.machine.record.config;
        if config.commit == CommitStrategy::Periodic && self.commit_due.is_none() {
            self.commit_due = Some(Timestamp(now.0.saturating_add(config.commit_every_us())));
        }
    }

    /// Durable answers wait for their commit; others need not.
    fn answer(&mut self, reply: Reply<Vec<Settled>>, answers: Vec<Settled>) {
        if answers.contains(&Settled::Durable) {
            self.owed.push(Owed::Settled(reply, answers));
        } else {
            let _ = reply.send(Ok(answers));
        }
    }

    /// Takes what is settled out of the log, as far as the store knows of it: where this host has read further,
    /// that is committed first.
    fn trim_if_due(&mut self, now: Timestamp) {
        let behind = self.machine.next_read().filter(|next| *next > self.told);
        if let Some(next) = behind.filter(|_| self.trim.is_due(now)) {
            // The end of that commit makes it due again.
            self.trim.due = None;
            self.machine.touch();
            self.told = next;
        } else {
            self.trim.run_if_due(&self.context, &self.machine.record, now);
        }
    }

    /// Answers who asked for its status. It looks ahead for that, so that events that it does not want do not
    /// count as its lag.
    async fn tell_of_itself(&mut self, now: Timestamp) {
        if self.asked.is_empty() {
            return;
        }
        for _ in 0..limits::READS_AT_ONCE {
            if self.machine.unsettled().events >= limits::READ_EVENTS || !self.read_on(now).await {
                break;
            }
        }
        let status = self.status();
        self.asked.drain(..).for_each(|reply| drop(reply.send(Ok(status.clone()))));
    }

    /// Who waits for events is there, and who has gone away waits no more.
    fn hear_those_who_wait(&mut self, now: Timestamp) {
        if self.machine.next_session_end().is_some_and(|end| end <= now) {
            self.waiting.retain(|waiting| !waiting.reply.is_closed());
            self.waiting.iter().for_each(|waiting| self.machine.is_there(waiting.member, now));
        }
    }

    fn end_pulls(&mut self, member: MemberId) {
        let mut at = 0;
        while at < self.waiting.len() {
            if self.waiting[at].member == member {
                let _ = self.waiting.swap_remove(at).reply.send(Ok(Vec::new()));
            } else {
                at += 1;
            }
        }
    }

    /// Begins anew at another place if the group was reset.
    pub(super) fn reload(&mut self, record: GroupRecord) {
        let reset = record.resets > self.machine.record.resets;
        self.filter = record.config.filter().unwrap_or_default();
        self.machine.record = record;
        if reset {
            self.machine.reset();
        }
    }

    fn status(&self) -> GroupStatus {
        let machine = &self.machine;
        let tail = self.context.reader.tail().next();
        let members = machine.members().map(|(id, member)| MemberStatus {
            name: Arc::clone(&member.name),
            joined_at: member.joined_at,
            deadline: member.deadline,
            in_flight: machine.in_hand(*id),
            stands_by: machine.stands_by(*id),
        });
        GroupStatus {
            record: machine.record.clone(),
            members: members.collect(),
            shares: machine.shares().count(),
            position: machine.floor().unwrap_or(tail).min(tail),
            tail,
            unsettled: machine.unsettled().events,
            in_flight: machine.in_flight(),
            parked_keys: machine.parked_keys(),
            oldest_recorded_at: machine.oldest().map(Event::recorded_at),
            counts: machine.counts,
        }
    }
}

/// Of the commit that is under way; never if none is.
async fn outcome_of(under_way: &mut Option<UnderWay>) -> Result<Committed, CommitError> {
    match under_way {
        Some(under_way) => flat((&mut under_way.outcome).await),
        None => std::future::pending().await,
    }
}

/// A runtime that shuts down ends the commit's task.
fn flat(outcome: Result<Result<Committed, CommitError>, JoinError>) -> Result<Committed, CommitError> {
    outcome.unwrap_or(Err(CommitError::Stopped))
}

/// Random, so that an acknowledgement of an earlier life of the group is not taken for one of this; and small
/// enough to count on within 53 bits, which is what JSON numbers hold.
fn first_token() -> u64 {
    (Uuid::new_v4().as_u128() as u64) >> 13
}

impl From<Handed> for Handing {
    fn from(handed: Handed) -> Self {
        let Handed { token, event, tries } = handed;
        Self { token, event, tries }
    }
}
