//! Driving one saga until it rests.
//!
//! Each turn looks at what has happened (an outcome, an event, a timer), moves the saga on by those facts, and stores
//! them together with the beginning of the next attempt, if there is one. Then the attempt is made. When somebody
//! else has changed the saga meanwhile, the turn is taken again on what there is now.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use super::attempt::{self, Outcome};
use super::book::Book;
use super::definition::Definition;
use super::engine::{BookError, Engine, Poke, Replayed, replay};
use super::fact::{Cause, CauseKind, Fact, Trail, What, WokenBy};
use super::model::{Phase, Saga, Todo};
use super::registry::{Resting, is_awaited};
use super::rows::{self, Mark};
use crate::event::{Event, Position};
use crate::limits::saga as limits;
use crate::log::commit::CommitError;
use crate::log::filter::{Filter, FilterTerm};
use crate::log::read::ReadError;
use crate::log_id;
use crate::name::Pattern;
use crate::store::{Direction as Order, PageLimit, Rejection, Unit};
use crate::tasks::chain;

/// A saga on its way, and what is not stored of it yet.
pub(super) struct Driven {
    id: Uuid,
    known: Option<Replayed>,
    held: Held,
    pokes: Vec<Poke>,
    woken_by: Option<Event>,
    /// The last commit may have happened or not.
    unsure: bool,
}

enum Held {
    Nothing,
    /// An attempt that was begun by this very task.
    Begun,
    Ended(Box<Outcome>),
}

/// Why a turn has to be taken again, or cannot be.
enum Trouble {
    /// Somebody else was faster.
    Overtaken,
    /// The host cannot go on at the moment.
    Host(String),
    /// This host does not drive sagas any more, or stops.
    Gone,
}

enum Turn {
    Again,
    Rest,
}

impl Driven {
    pub(super) fn unknown(id: Uuid) -> Self {
        Self { id, known: None, held: Held::Nothing, pokes: Vec::new(), woken_by: None, unsure: false }
    }

    /// A saga that was just stored, with its first attempt begun.
    pub(super) fn begun(saga: Saga, mark: Mark, definition: Arc<Definition>) -> Self {
        let id = saga.id;
        Self { known: Some(Replayed { saga, mark, definition }), held: Held::Begun, ..Self::unknown(id) }
    }

    pub(super) fn id(&self) -> Uuid {
        self.id
    }

    /// What the pokes brought about is stored, or nothing comes of them.
    fn answer_pokes(&mut self) {
        for done in self.pokes.drain(..).filter_map(|poke| poke.done) {
            // Who poked it need not wait.
            let _ = done.send(());
        }
    }
}

pub(super) async fn drive(engine: Arc<Engine>, mut driven: Driven, _room: OwnedSemaphorePermit) {
    loop {
        match turn(&engine, &mut driven).await {
            Ok(Turn::Again) => {}
            Ok(Turn::Rest) => {
                if engine.leave(driven.id) {
                    return;
                }
            }
            Err(Trouble::Overtaken) => driven.known = None,
            Err(Trouble::Host(error)) => {
                driven.known = None;
                tracing::warn!(event_id = log_id::SAGAS_LATE, saga = %driven.id, error, "a saga is held up");
                tokio::time::sleep(limits::RETRY).await;
            }
            Err(Trouble::Gone) => return engine.drop_pokes(driven.id),
        }
    }
}

async fn turn(engine: &Arc<Engine>, driven: &mut Driven) -> Result<Turn, Trouble> {
    engine.take_pokes(driven.id, &mut driven.pokes);
    let known = match driven.known.take() {
        Some(known) => known,
        None => match replay(engine, driven.id).await.map_err(host)? {
            Some(known) => known,
            None => {
                driven.answer_pokes();
                return Ok(Turn::Rest);
            }
        },
    };
    if known.saga.has_ended() {
        return Ok(over(engine, driven, &known));
    }
    let book = match engine.book(&known.saga.saga_type, known.saga.revision).await {
        Ok(book) => book,
        Err(BookError::Store(error)) => return Err(Trouble::Host(chain(&error))),
        // Without its plugin it goes no further; what happens to it is noted all the same.
        Err(error) => return without_plugin(engine, driven, known, &error).await,
    };
    let mut next = Next::of(&known, engine);
    let mut unit = Unit::default();
    match &driven.held {
        Held::Ended(outcome) if next.awaits(outcome) => {
            next.take(outcome.what.clone());
            unit = outcome.unit.clone();
        }
        // Its commit was lost from sight, and is there.
        Held::Ended(_) if driven.unsure => {}
        Held::Ended(outcome) => next.take(late(outcome, &known.definition)),
        Held::Nothing if next.saga.phase == Phase::Calling => next.take(What::Interrupted),
        Held::Begun | Held::Nothing => {}
    }
    let woken_by = advance(engine, &mut next, &driven.pokes, &book).await?;
    driven.woken_by = woken_by.or_else(|| driven.woken_by.take());
    let begins = matches!(next.facts.last(), Some(Fact { what: What::AttemptStarted { .. }, .. }));
    let Next { saga, facts, .. } = next;
    let mut known = known;
    if !facts.is_empty() {
        match store(engine, &known, &saga, &facts, unit).await {
            Ok(mark) => known.mark = mark,
            Err(CommitError::Rejected(rejection)) if refuses_output(&rejection) => {
                return Ok(output_refused(driven, known, &rejection, &book, engine));
            }
            Err(error) => {
                driven.unsure |= error.is_unknown();
                return Err(commit_failed(engine, error));
            }
        }
        driven.unsure = false;
        count(engine, &facts, &saga);
        known.saga = saga;
        driven.held = if begins { Held::Begun } else { Held::Nothing };
    }
    driven.answer_pokes();
    if known.saga.phase != Phase::Calling {
        driven.woken_by = None;
        return Ok(rest(engine, driven, &known));
    }
    let woken_by = driven.woken_by.take();
    let outcome = attempt::call(engine, &book, &known.saga, woken_by).await;
    driven.held = Held::Ended(Box::new(outcome));
    driven.known = Some(known);
    Ok(Turn::Again)
}

/// A saga that is being moved on, and the facts that do it.
struct Next<'a> {
    saga: Saga,
    definition: &'a Definition,
    facts: Vec<Fact>,
    at_us: i64,
    /// Commits of it so far.
    rows: u32,
}

impl<'a> Next<'a> {
    fn of(known: &'a Replayed, engine: &Engine) -> Self {
        let (saga, definition) = (known.saga.clone(), &*known.definition);
        Self { saga, definition, facts: Vec::new(), at_us: engine.now().0, rows: known.mark.rows }
    }
}

impl Next<'_> {
    fn take(&mut self, what: What) {
        let fact = Fact { at_us: self.at_us, what };
        match self.saga.apply(&fact, self.definition) {
            Ok(()) => self.facts.push(fact),
            Err(why) => tracing::debug!(saga = %self.saga.id, %why, ?fact, "a fact came too late"),
        }
    }

    /// Whether this is the end of the attempt that the saga waits for.
    fn awaits(&self, outcome: &Outcome) -> bool {
        let saga = &self.saga;
        let same = (saga.at, saga.attempt, saga.direction()) == (outcome.at, outcome.attempt, outcome.direction);
        saga.phase == Phase::Calling && same
    }
}

/// Moves a saga on until an attempt begins or it rests, and says which event has woken it.
async fn advance(engine: &Engine, next: &mut Next<'_>, pokes: &[Poke], book: &Book) -> Result<Option<Event>, Trouble> {
    let mut woken_by = None;
    let mut events: Vec<Event> = pokes.iter().filter_map(|poke| poke.event.clone()).collect();
    events.sort_by_key(Event::position);
    loop {
        if let Some(awaited) = next.saga.awaited().cloned() {
            let from = next.saga.from;
            // From here on it is told of events; those before are looked for.
            let examined = engine.registry.put(next.saga.id, Resting::of(&next.saga));
            if let Some(event) = search(engine, from, examined, &awaited).await? {
                events.push(event);
                events.sort_by_key(Event::position);
            }
            let found = events.iter().find(|event| event.position() >= from && is_awaited(&awaited, event)).cloned();
            if let Some(event) = found.filter(|event| comes_in_time(&next.saga, event)) {
                next.take(woken(&event));
                woken_by = Some(event);
                continue;
            }
        }
        if let Some(what) = next.saga.overdue(engine.now(), engine.registry.event_time(&next.saga.saga_type)) {
            next.take(by_timer(what, engine));
            continue;
        }
        if next.saga.todo(engine.now()) == Todo::Begin && book.runs(next.saga.id) {
            if next.rows > 0 && next.rows.is_multiple_of(limits::ROWS_MAX) {
                let note = format!("it has come to {} commits; it goes on when it is resumed", next.rows);
                next.take(What::Paused { order: super::fact::Order { by: "host".into(), note } });
                return Ok(woken_by);
            }
            let saga = &next.saga;
            let step = u32::try_from(saga.at).unwrap_or(u32::MAX);
            let (direction, attempt) = (saga.direction(), saga.attempt + 1);
            next.take(What::AttemptStarted { step, direction, attempt });
        }
        return Ok(woken_by);
    }
}

/// In the time of events, one that is later than the end of the wait comes too late, though it was found first.
fn comes_in_time(saga: &Saga, event: &Event) -> bool {
    let (_, end) = saga.timers();
    end.is_none_or(|end| event.time() <= end)
}

fn woken(event: &Event) -> What {
    let (id, position, event_type) = (event.id().to_string(), event.position().0, event.event_type().to_owned());
    let by = WokenBy::Event { id, position, event_type };
    What::Woken { by, time_us: event.time().0, from: position + 1 }
}

/// What is woken by a timer waits for later events than those that were there.
fn by_timer(what: What, engine: &Engine) -> What {
    match what {
        What::Woken { by, time_us, .. } => What::Woken { by, time_us, from: engine.registry.position().0 },
        what => what,
    }
}

/// The first event in `from..until` that is waited for.
async fn search(
    engine: &Engine,
    from: Position,
    until: Position,
    awaited: &super::fact::Awaited,
) -> Result<Option<Event>, Trouble> {
    let types = awaited.event_type.iter().filter_map(|name| Pattern::new(name).ok()).collect();
    let term = FilterTerm { types, keys: vec![awaited.key.clone()], ..FilterTerm::default() };
    let filter = Filter::new(vec![term]);
    let mut at = from;
    while at < until {
        let room = PageLimit { events: 16, bytes: limits::INPUT_BYTES_MAX };
        let page = engine.parts.reader.log_page(at, Order::Forward, &filter, room).await.map_err(unread)?;
        let found = page.events.into_iter().find(|event| event.position() < until && is_awaited(awaited, event));
        if found.is_some() {
            return Ok(found);
        }
        match page.next {
            Some(next) if next > at && !page.end => at = next,
            _ => break,
        }
    }
    Ok(None)
}

async fn store(
    engine: &Engine,
    known: &Replayed,
    saga: &Saga,
    facts: &[Fact],
    mut effects: Unit,
) -> Result<Mark, CommitError> {
    let (unit, mark) = rows::add(&known.mark, saga, &known.definition, facts);
    let epoch = engine.epoch().ok_or(CommitError::Stopped)?;
    effects.guards.push(epoch);
    effects.guards.extend(unit.guards);
    effects.changes.extend(unit.changes);
    engine.parts.committer.commit(effects).await?;
    Ok(mark)
}

/// The store does not take what the step has emitted: the step has failed.
fn output_refused(driven: &mut Driven, known: Replayed, rejection: &Rejection, book: &Book, engine: &Engine) -> Turn {
    if let Held::Ended(outcome) = &mut driven.held {
        let message = format!("what the step emits is refused: {rejection}");
        let cause = Cause { kind: CauseKind::Contract, code: "plugin.contract".into(), message };
        let trail = match &outcome.what {
            What::Completed { effects, .. } | What::Suspended { effects, .. } => effects.trail.clone(),
            _ => Trail::default(),
        };
        outcome.what = attempt::failed(book, &known.saga, cause, None, trail, engine.now());
        outcome.unit = Unit::default();
    }
    driven.known = Some(known);
    Turn::Again
}

/// Everything but a change of the saga itself is about what is appended.
fn refuses_output(rejection: &Rejection) -> bool {
    !matches!(rejection, Rejection::Overtaken { .. })
}

fn commit_failed(engine: &Engine, error: CommitError) -> Trouble {
    if Engine::is_fenced(&error) {
        engine.fenced();
        return Trouble::Gone;
    }
    match error {
        CommitError::Rejected(_) => Trouble::Overtaken,
        CommitError::Stopped => Trouble::Gone,
        error => Trouble::Host(chain(&error)),
    }
}

/// A saga whose plugin is not there rests until somebody ends it.
async fn without_plugin(
    engine: &Arc<Engine>,
    driven: &mut Driven,
    known: Replayed,
    error: &BookError,
) -> Result<Turn, Trouble> {
    if known.saga.paused.is_none() {
        let mut next = Next::of(&known, engine);
        if next.saga.phase == Phase::Calling {
            next.take(What::Interrupted);
        }
        let order = super::fact::Order { by: "host".into(), note: error.to_string() };
        next.take(What::Paused { order });
        let (saga, facts) = (next.saga, next.facts);
        store(engine, &known, &saga, &facts, Unit::default()).await.map_err(|error| commit_failed(engine, error))?;
        driven.held = Held::Nothing;
        return Ok(Turn::Again);
    }
    driven.answer_pokes();
    Ok(rest(engine, driven, &known))
}

fn rest(engine: &Arc<Engine>, driven: &Driven, known: &Replayed) -> Turn {
    let saga = &known.saga;
    if saga.has_ended() {
        engine.registry.remove(driven.id);
    } else {
        engine.registry.put(driven.id, Resting::of(saga));
    }
    if saga.has_ended() || saga.paused.is_some() || saga.phase == Phase::Stuck {
        engine.announce(saga, &known.definition);
    }
    Turn::Rest
}

/// What comes for a saga that has ended is told to the log.
fn over(engine: &Arc<Engine>, driven: &mut Driven, known: &Replayed) -> Turn {
    if let Held::Ended(outcome) = std::mem::replace(&mut driven.held, Held::Nothing) {
        let (step, attempt) = (outcome.at, outcome.attempt);
        let event_id = log_id::SAGA_LATE_OUTCOME;
        tracing::warn!(event_id, saga = %driven.id, step, attempt, what = ?outcome.what, "the saga has ended meanwhile");
    }
    driven.answer_pokes();
    rest(engine, driven, known)
}

fn late(outcome: &Outcome, definition: &Definition) -> What {
    let (words, trail) = match &outcome.what {
        What::Completed { effects, .. } => ("completed".to_owned(), effects.trail.clone()),
        What::Suspended { effects, .. } => ("suspended".to_owned(), effects.trail.clone()),
        What::Failed { cause, trail, .. } => (format!("failed: {}", cause.message), trail.clone()),
        _ => (String::new(), Trail::default()),
    };
    let name = definition.steps.get(outcome.at).map_or("", |step| step.name.as_str());
    What::Late {
        step: u32::try_from(outcome.at).unwrap_or(u32::MAX),
        direction: outcome.direction,
        attempt: outcome.attempt,
        outcome: format!("`{name}` {words}, and nobody waits for it any more"),
        trail,
    }
}

pub(super) fn count(engine: &Engine, facts: &[Fact], saga: &Saga) {
    let metrics = &engine.parts.metrics;
    for fact in facts {
        let outcome = match &fact.what {
            What::Completed { .. } => "completed",
            What::Suspended { .. } => "suspended",
            What::Failed { .. } => "failed",
            What::Interrupted => "interrupted",
            _ => continue,
        };
        metrics.saga_attempts.with_label_values(&[saga.saga_type.as_str(), outcome]).inc();
    }
    if saga.has_ended() {
        metrics.sagas_ended.with_label_values(&[saga.saga_type.as_str(), saga.state.as_str()]).inc();
        let us = (saga.updated_at.0 - saga.started_at.0).max(0);
        metrics.saga_seconds.with_label_values(&[saga.saga_type.as_str()]).observe(us as f64 / 1e6);
    }
}

fn host(error: BookError) -> Trouble {
    Trouble::Host(chain(&error))
}

fn unread(error: ReadError) -> Trouble {
    match error {
        ReadError::Stopped => Trouble::Gone,
        error => Trouble::Host(chain(&error)),
    }
}
