//! What a group's task owes its callers when a commit is over.

use super::dead_letter::DeadLetter;
use super::{Again, GroupError, Handing, Reply, Settled};

/// Answers that wait for a commit.
pub(super) enum Owed {
    Settled(Reply<Vec<Settled>>, Vec<Settled>),
    Handed(Reply<Vec<Handing>>, Vec<Handing>),
    Count(Reply<usize>, usize),
    Flag(Reply<bool>, bool),
    Again(Reply<Again>, Again),
    /// Those that another host has to settle.
    Letters(Reply<Vec<DeadLetter>>, Vec<DeadLetter>),
    Done(Reply<()>),
}

impl Owed {
    pub(super) fn pay(self, outcome: Result<(), &GroupError>) {
        match self {
            Owed::Settled(reply, answers) => send(reply, outcome, answers),
            Owed::Again(reply, again) => send(reply, outcome, again),
            Owed::Handed(reply, handed) => send(reply, outcome, handed),
            Owed::Count(reply, count) => send(reply, outcome, count),
            Owed::Flag(reply, flag) => send(reply, outcome, flag),
            Owed::Letters(reply, letters) => send(reply, outcome, letters),
            Owed::Done(reply) => send(reply, outcome, ()),
        }
    }
}

/// Whoever went away does not need its answer.
fn send<T>(reply: Reply<T>, outcome: Result<(), &GroupError>, answer: T) {
    let _ = reply.send(outcome.map(|()| answer).map_err(Clone::clone));
}
