//! The transition function of sagas: what a fact makes of one. Pure, so that what is stored can be replayed.

use std::sync::Arc;

use super::call::Direction;
use super::definition::{Definition, Exhausted, SagaClock};
use super::fact::{Awaited, Blob, Cause, CauseKind, Effects, Fact, Overdue, What};
use super::model::{Phase, Saga, State, after};
use crate::clock::Timestamp;
use crate::event::Position;

/// Why a fact does not fit what a saga is at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("it has ended")]
    Ended,
    #[error("no attempt is under way")]
    NoAttempt,
    #[error("no attempt can begin now")]
    NotReady,
    #[error("it does not wait")]
    NotWaiting,
    #[error("its pivot is completed: it only goes forward")]
    OnlyForward,
    #[error("it is being compensated already, which cannot be cancelled")]
    Compensating,
    #[error("it is not paused")]
    NotPaused,
    #[error("an attempt is under way; pause it first")]
    Busy,
    #[error("nothing of it waits for a person: it is neither paused nor failed")]
    NobodyNeeded,
    #[error("it has not ended")]
    NotEnded,
    #[error("only a step that it has come to can be tried again, and while it is undone only the present one")]
    StepAhead,
    #[error("its pivot is completed: it cannot go back to it, or behind it")]
    BehindPivot,
}

impl Saga {
    /// Moves on by one fact, or not at all.
    pub fn apply(&mut self, fact: &Fact, definition: &Definition) -> Result<(), Refused> {
        if let What::Late { .. } = fact.what {
            return Ok(());
        }
        if self.has_ended() {
            return Err(Refused::Ended);
        }
        let at = Timestamp(fact.at_us);
        if fact.what.revision().is_some() {
            self.steps.resize_with(definition.steps.len(), Default::default);
        }
        match &fact.what {
            What::Started { .. } | What::Late { .. } => return Err(Refused::NotReady),
            What::AttemptStarted { .. } => self.attempt_started(at, definition)?,
            What::Completed { output, effects } => {
                self.attempt_ended()?;
                self.take_effects(effects);
                self.completed(output, definition);
            }
            What::Suspended { until_us, event, effects } => {
                self.attempt_ended()?;
                self.take_effects(effects);
                self.suspended(until_us.map(Timestamp), event.clone(), definition);
            }
            What::Failed { cause, retry_at_us, .. } => {
                self.attempt_ended()?;
                self.attempt_failed(cause, Timestamp(*retry_at_us), definition);
            }
            What::Interrupted => {
                self.attempt_ended()?;
                self.interrupted(definition);
            }
            What::Woken { time_us, from, by } => {
                if !matches!(self.phase, Phase::Waiting { .. }) {
                    return Err(Refused::NotWaiting);
                }
                self.phase = Phase::Ready;
                self.pass_time(*time_us);
                self.from = self.from.max(Position(*from));
                self.woken_by = match by {
                    super::fact::WokenBy::Event { position, .. } => Some(Position(*position)),
                    super::fact::WokenBy::Timer => None,
                };
            }
            What::TimedOut { what, time_us } => self.timed_out(*what, *time_us, definition),
            What::Cancelled { order } => self.cancelled(&order.note, definition)?,
            What::Paused { order } => {
                self.paused = Some(if order.note.is_empty() { "by order".into() } else { order.note.clone() });
            }
            What::Resumed { revision, .. } => {
                self.paused.take().ok_or(Refused::NotPaused)?;
                self.failed = 0;
                self.revision = revision.unwrap_or(self.revision);
                self.heed_wish(definition);
            }
            What::Retried { step, revision, .. } => self.retried(*step, *revision, definition)?,
            What::Skipped { .. } => self.settled_by_hand(None, definition)?,
            What::MarkedDone { output, .. } => self.settled_by_hand(Some(output), definition)?,
            What::Killed { order } => {
                self.cause = Some(Cause {
                    kind: CauseKind::Cancelled,
                    code: "killed".into(),
                    message: format!("killed without compensation{}{}", colon(&order.note), order.note),
                });
                self.killed = true;
                self.end(State::Failed);
            }
        }
        if self.clock == SagaClock::Host {
            self.time = self.time.max(at);
        }
        self.updated_at = at;
        Ok(())
    }

    fn attempt_started(&mut self, at: Timestamp, definition: &Definition) -> Result<(), Refused> {
        if self.paused.is_some() || !matches!(self.phase, Phase::Ready | Phase::Retry { .. }) {
            return Err(Refused::NotReady);
        }
        if self.state == State::NotStarted {
            self.state = State::Running;
        }
        let own = if self.clock == SagaClock::Host { at } else { self.time };
        let forward = self.direction() == Direction::Execute;
        if let Some(ms) = definition.steps.get(self.at).and_then(|step| step.timeout_ms)
            && forward
            && self.attempt == 0
            && self.wakes == 0
        {
            self.step_deadline = Some(after(own, ms));
        }
        self.attempt += 1;
        self.phase = Phase::Calling;
        Ok(())
    }

    fn attempt_ended(&mut self) -> Result<(), Refused> {
        if self.phase != Phase::Calling {
            return Err(Refused::NoAttempt);
        }
        self.phase = Phase::Ready;
        Ok(())
    }

    fn take_effects(&mut self, effects: &Effects) {
        if effects.data.is_empty() {
            return;
        }
        let data = Arc::make_mut(&mut self.data);
        for (key, value) in &effects.data {
            match value {
                Some(Blob(value)) => drop(data.insert(key.clone(), value.clone())),
                None => drop(data.remove(key)),
            }
        }
    }

    fn completed(&mut self, output: &Blob, definition: &Definition) {
        if self.direction() == Direction::Compensate {
            self.steps[self.at].undone = true;
            return self.undo_below(definition);
        }
        let run = &mut self.steps[self.at];
        (run.completed, run.uncertain) = (true, false);
        run.output = Some(output.0.clone());
        self.step_forward(definition);
    }

    fn step_forward(&mut self, definition: &Definition) {
        self.enter_step();
        self.step_deadline = None;
        if self.at + 1 < self.steps.len() {
            self.at += 1;
            self.heed_wish(definition);
        } else if self.wish.is_some() && !self.only_forward(definition) {
            self.heed_wish(definition);
        } else {
            self.end(State::Completed);
        }
    }

    fn suspended(&mut self, until: Option<Timestamp>, event: Option<Awaited>, definition: &Definition) {
        self.steps[self.at].uncertain = true;
        self.wakes += 1;
        (self.attempt, self.failed, self.woken_by) = (0, 0, None);
        self.phase = Phase::Waiting { until, event };
        self.heed_wish(definition);
    }

    fn attempt_failed(&mut self, cause: &Cause, retry_at: Timestamp, definition: &Definition) {
        self.failed += 1;
        let (Some(step), forward) = (definition.steps.get(self.at), self.direction() == Direction::Execute) else {
            return;
        };
        let retry = if forward { step.retry } else { step.compensate_retry };
        let again = self.failed < retry.attempts;
        let for_good = matches!(cause.kind, CauseKind::Halt | CauseKind::Contract);
        if forward && cause.kind != CauseKind::Reject {
            self.steps[self.at].uncertain = true;
        }
        match cause.kind {
            _ if forward && self.wish.is_some() && !self.only_forward(definition) => self.heed_wish(definition),
            // A plugin that is broken would break while it compensates.
            CauseKind::Halt | CauseKind::Contract | CauseKind::Crash if for_good || !again => {
                self.pause(&cause.message);
            }
            CauseKind::Reject => self.give_up(cause, definition),
            _ if again => self.phase = Phase::Retry { at: retry_at },
            _ if forward && step.exhausted == Exhausted::Pause => self.pause(&cause.message),
            _ => self.give_up(cause, definition),
        }
    }

    /// The step cannot be done, or not be undone.
    fn give_up(&mut self, cause: &Cause, definition: &Definition) {
        if self.direction() == Direction::Compensate {
            self.state = State::Failed;
            self.phase = Phase::Stuck;
            self.cause = Some(cause.clone());
        } else if self.only_forward(definition) {
            self.pause(&cause.message);
        } else {
            self.compensate(cause.clone(), definition);
        }
    }

    fn interrupted(&mut self, definition: &Definition) {
        if self.direction() == Direction::Execute {
            self.steps[self.at].uncertain = true;
            self.heed_wish(definition);
        }
    }

    fn timed_out(&mut self, what: Overdue, time_us: i64, definition: &Definition) {
        self.pass_time(time_us);
        let (kind, code) = match what {
            Overdue::Step => (CauseKind::StepTimeout, "step.timeout"),
            Overdue::Saga => (CauseKind::SagaTimeout, "saga.timeout"),
        };
        match what {
            Overdue::Step => self.step_deadline = None,
            Overdue::Saga => self.deadline = None,
        }
        if self.direction() == Direction::Compensate || what == Overdue::Saga && self.only_forward(definition) {
            return;
        }
        let step = definition.steps.get(self.at);
        let name = step.map_or("", |step| step.name.as_str());
        let message = match what {
            Overdue::Step => format!("step `{name}` was not completed in time"),
            Overdue::Saga => format!("the saga was not completed in time; it was at step `{name}`"),
        };
        let pauses = step.is_some_and(|step| step.exhausted == Exhausted::Pause) || self.only_forward(definition);
        if what == Overdue::Step && pauses {
            return self.pause(&message);
        }
        self.wish = Some(Cause { kind, code: code.into(), message });
        if self.phase != Phase::Calling && self.paused.is_none() {
            self.heed_wish(definition);
        }
    }

    fn cancelled(&mut self, note: &str, definition: &Definition) -> Result<(), Refused> {
        if self.direction() == Direction::Compensate {
            return Err(Refused::Compensating);
        }
        if self.only_forward(definition) {
            return Err(Refused::OnlyForward);
        }
        let message = format!("cancelled{}{note}", colon(note));
        self.wish = Some(Cause { kind: CauseKind::Cancelled, code: "saga.cancelled".into(), message });
        self.paused = None;
        if self.phase != Phase::Calling {
            self.heed_wish(definition);
        }
        Ok(())
    }

    fn retried(&mut self, step: Option<u32>, revision: Option<u32>, definition: &Definition) -> Result<(), Refused> {
        match self.phase {
            Phase::Calling => return Err(Refused::Busy),
            Phase::Retry { .. } | Phase::Stuck => {}
            _ if self.paused.is_some() => {}
            _ => return Err(Refused::NobodyNeeded),
        }
        if let Some(step) = step.map(|step| step as usize).filter(|step| *step != self.at) {
            if step > self.at || self.direction() == Direction::Compensate {
                return Err(Refused::StepAhead);
            }
            let pivots = self.steps.iter().zip(&definition.steps).skip(step);
            if pivots.into_iter().any(|(run, step)| step.pivot && run.completed) {
                return Err(Refused::BehindPivot);
            }
            for run in &mut self.steps[step..=self.at] {
                run.uncertain |= run.completed;
                (run.completed, run.skipped) = (false, false);
            }
            self.at = step;
            self.step_deadline = None;
        }
        if self.state == State::Failed {
            self.state = State::Compensating;
        }
        self.revision = revision.unwrap_or(self.revision);
        self.paused = None;
        self.enter_step();
        self.phase = Phase::Ready;
        Ok(())
    }

    /// A person says that the present step is done (with this output), or is to be left out.
    fn settled_by_hand(&mut self, output: Option<&Blob>, definition: &Definition) -> Result<(), Refused> {
        if self.phase == Phase::Calling {
            return Err(Refused::Busy);
        }
        if self.phase != Phase::Stuck && self.paused.is_none() {
            return Err(Refused::NobodyNeeded);
        }
        self.paused = None;
        let forward = self.direction() == Direction::Execute;
        let run = &mut self.steps[self.at];
        run.skipped = output.is_none();
        if !forward {
            run.undone = true;
            self.state = State::Compensating;
            self.undo_below(definition);
            return Ok(());
        }
        run.uncertain &= output.is_none();
        if let Some(output) = output {
            run.completed = true;
            run.output = Some(output.0.clone());
        }
        self.phase = Phase::Ready;
        self.step_forward(definition);
        Ok(())
    }

    fn heed_wish(&mut self, definition: &Definition) {
        if self.direction() == Direction::Compensate || self.only_forward(definition) {
            self.wish = None;
        } else if self.paused.is_none()
            && let Some(cause) = self.wish.take()
        {
            self.compensate(cause, definition);
        }
    }

    /// Turns round: undoes what was done, the present step included if it may have done something.
    fn compensate(&mut self, cause: Cause, definition: &Definition) {
        self.state = State::Compensating;
        self.cause = Some(cause);
        (self.wish, self.deadline, self.step_deadline) = (None, None, None);
        // A person may have gone back: later steps are uncertain then.
        self.undo_from(self.steps.len(), definition);
    }

    fn undo_below(&mut self, definition: &Definition) {
        self.undo_from(self.at, definition);
    }

    /// Goes to the last step below `end` that has something to undo.
    fn undo_from(&mut self, end: usize, definition: &Definition) {
        let owes = |(run, step): (&super::model::StepRun, &super::definition::Step)| {
            step.compensate && (run.completed || run.uncertain) && !run.undone
        };
        self.enter_step();
        match self.steps.iter().zip(&definition.steps).take(end).rposition(owes) {
            Some(at) => {
                self.at = at;
                self.phase = Phase::Ready;
            }
            None => self.end(State::Compensated),
        }
    }

    fn enter_step(&mut self) {
        (self.attempt, self.failed, self.wakes, self.woken_by) = (0, 0, 0, None);
    }

    fn pause(&mut self, reason: &str) {
        self.paused = Some(reason.to_owned());
        if self.phase != Phase::Calling {
            self.phase = Phase::Ready;
        }
    }

    fn end(&mut self, state: State) {
        self.state = state;
        self.phase = Phase::Ended;
        (self.paused, self.wish, self.deadline, self.step_deadline) = (None, None, None, None);
    }

    fn pass_time(&mut self, time_us: i64) {
        self.time = self.time.max(Timestamp(time_us));
    }

    /// What has become overdue at these times, by the host's clock and by that of events.
    pub fn overdue(&self, host: Timestamp, events: Timestamp) -> Option<What> {
        let own = match self.clock {
            SagaClock::Host => host,
            SagaClock::Event if matches!(self.phase, Phase::Waiting { .. }) => events,
            // While it has something to do, no time passes for it, however far the log is ahead.
            SagaClock::Event => self.time,
        };
        let past = |time: Option<Timestamp>| time.filter(|time| *time <= own);
        let until = match self.phase {
            Phase::Waiting { until, .. } => past(until),
            _ => None,
        };
        let forward = self.direction() == Direction::Execute && self.wish.is_none();
        let saga = past(self.deadline).filter(|_| forward);
        let step = past(self.step_deadline).filter(|_| forward);
        let earliest = [saga, step, until].into_iter().flatten().min()?;
        let time_us = earliest.0;
        Some(if saga == Some(earliest) {
            What::TimedOut { what: Overdue::Saga, time_us }
        } else if step == Some(earliest) {
            What::TimedOut { what: Overdue::Step, time_us }
        } else {
            What::Woken { by: super::fact::WokenBy::Timer, time_us, from: self.from.0 }
        })
    }
}

fn colon(note: &str) -> &'static str {
    if note.is_empty() { "" } else { ": " }
}
