//! Whether a plugin is a function of its events: the same ones are handed over in batches of other sizes, to
//! instances that live longer or shorter, and across a crash, and what comes of it is held together.
//!
//! A host does all of that: live events come a few at a time and a rebuild's 256 at a time, instances are
//! recycled, and a checkpoint that was not stored is folded again. A plugin that fails here has a read model that
//! nobody can rebuild.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::trial::{Changed, Course, Life, Output, Run, Trial, TrialError};
use crate::event::Event;
use crate::guest::GuestError;

/// A run, and where it first went another way than the one that it is held against.
#[derive(Debug)]
pub struct Verified {
    pub course: Course,
    pub run: Run,
    pub difference: Option<Divergence>,
}

/// Where two runs part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Divergence {
    Document {
        collection: Arc<str>,
        key: String,
        /// The call after which it differs first. Events by their place among those that were handed in.
        after: Range<usize>,
    },
    /// What it has emitted or lifted, for this event.
    Output { event: usize },
    /// One of them fails on this event and the other does not, or for another reason.
    Failure { event: usize },
}

impl Divergence {
    /// The last event that had been handed over.
    pub fn event(&self) -> usize {
        match self {
            Divergence::Document { after, .. } => after.end - 1,
            Divergence::Output { event } | Divergence::Failure { event } => *event,
        }
    }
}

/// What everything else is held against: each event by itself.
pub const REFERENCE: Course = Course { batch_events: 1, life: Life::Long, crash_after: None };

/// The courses that `count` events are handed over in; the first is [`REFERENCE`].
pub fn courses(count: usize) -> Vec<Course> {
    let course = |batch_events, life| Course { batch_events, life, crash_after: None };
    vec![
        REFERENCE,
        course(7, Life::Long),
        course(256, Life::Long),
        course(7, Life::OneCall),
        course(256, Life::OneCall),
        // Of small batches, so that some were stored and some were not.
        Course { crash_after: Some(count / 2), ..course(7, Life::Long) },
        Course { crash_after: Some(count.saturating_sub(1)), ..REFERENCE },
    ]
}

/// Runs `events` in every course.
pub async fn verify(trial: &Trial, events: &[Event]) -> Result<Vec<Verified>, TrialError> {
    let wanted = events.iter().filter(|event| trial.wants(event)).count();
    let mut verified: Vec<Verified> = Vec::new();
    for course in courses(wanted) {
        let run = trial.run(events, course).await?;
        let difference = verified.first().and_then(|reference| divergence(&reference.run, &run));
        verified.push(Verified { course, run, difference });
    }
    Ok(verified)
}

/// Where `run` first differs from `reference`, whose calls have one event each.
pub fn divergence(reference: &Run, run: &Run) -> Option<Divergence> {
    let found = [documents(reference, run), output(&reference.output, &run.output), failures(reference, run)];
    found.into_iter().flatten().min_by_key(Divergence::event)
}

type Values<'a> = BTreeMap<(&'a str, &'a str), Option<[u8; 32]>>;

/// Walks both traces side by side, and looks at the documents that either has changed after each checkpoint.
fn documents(reference: &Run, run: &Run) -> Option<Divergence> {
    let (mut expected, mut found) = (Values::new(), Values::new());
    let mut ahead = reference.trace.iter().peekable();
    let mut changes = run.trace.iter().peekable();
    // One checkpoint after another: changes of several calls that were stored together carry the last of them.
    while let Some(call) = changes.peek().map(|changed| changed.call) {
        let after = run.calls[call].events.clone();
        let mut touched: Vec<(&str, &str)> = Vec::new();
        while let Some(changed) = changes.next_if(|changed| changed.call == call) {
            touched.push(note(&mut found, changed));
        }
        while let Some(changed) = ahead.next_if(|changed| reference.calls[changed.call].events.end <= after.end) {
            touched.push(note(&mut expected, changed));
        }
        touched.sort_unstable();
        if let Some((collection, key)) = touched.into_iter().find(|place| differs(&expected, &found, place)) {
            return Some(Divergence::Document { collection: collection.into(), key: key.to_owned(), after });
        }
    }
    // What the reference has changed after that, the run has not.
    for changed in ahead {
        let (collection, key) = note(&mut expected, changed);
        if differs(&expected, &found, &(collection, key)) {
            let after = reference.calls[changed.call].events.clone();
            return Some(Divergence::Document { collection: collection.into(), key: key.to_owned(), after });
        }
    }
    None
}

fn note<'a>(values: &mut Values<'a>, changed: &'a Changed) -> (&'a str, &'a str) {
    let place = (&*changed.collection, changed.key.as_str());
    values.insert(place, changed.value);
    place
}

fn differs(expected: &Values<'_>, found: &Values<'_>, place: &(&str, &str)) -> bool {
    expected.get(place).copied().flatten() != found.get(place).copied().flatten()
}

/// The first event for which two runs have put out something else.
pub fn output(reference: &[Output], run: &[Output]) -> Option<Divergence> {
    let shorter = reference.len().min(run.len());
    let first = (0..shorter).find(|i| reference[*i] != run[*i]).unwrap_or(shorter);
    let event = [reference.get(first), run.get(first)].into_iter().flatten().map(|output| output.event).min()?;
    Some(Divergence::Output { event })
}

fn failures(reference: &Run, run: &Run) -> Option<Divergence> {
    let told = |run: &Run| run.failures.iter().map(|failed| (failed.event, kind_of(&failed.error))).collect::<Vec<_>>();
    let (expected, found) = (told(reference), told(run));
    let in_one = expected.iter().filter(|failed| !found.contains(failed));
    let in_other = found.iter().filter(|failed| !expected.contains(failed));
    in_one.chain(in_other).map(|(event, _)| *event).min().map(|event| Divergence::Failure { event })
}

/// What two failures have to share: not the words, in which an address or a place in the batch may stand.
fn kind_of(error: &GuestError) -> (&'static str, String) {
    match error {
        GuestError::Failed(failure) => (error.reason(), failure.code.clone()),
        _ => (error.reason(), String::new()),
    }
}
