//! From what a publisher hands in to a commit unit.

use std::collections::HashMap;
use std::sync::Arc;

use super::check::{self, At, Broken};
use super::{Append, AppendError, Check, Publisher, Transaction, origin};
use crate::event::{NewEvent, PreparedEvent};
use crate::limits::publish as limits;
use crate::limits::read::FILTER_TERMS_MAX;
use crate::log::filter::FilterTerm;
use crate::name::StreamName;
use crate::store::{AppendCondition, StreamAppend, StreamCheck, Unit};

/// How it was handed in, and so what paths into it look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `events[3].key`
    OneStream,
    /// `appends[0].events[3].key`
    Transaction,
}

impl Publisher {
    pub(super) async fn prepare(&self, mut transaction: Transaction, form: Form) -> Result<Unit, AppendError> {
        check_bounds(&transaction)?;
        let mut broken = Broken::default();
        let streams = check_appends(&transaction.appends, form, &mut broken)?;
        let checks = check_checks(&transaction.checks, &mut broken);
        check_conditions(&transaction.conditions, &mut broken);
        check_named_once(&transaction, &mut broken);
        broken.into_result()?;
        let events = transaction.appends.iter_mut().flat_map(|append| &mut append.events).collect();
        origin::inherit(&*self.store, events).await.map_err(AppendError::Store)?;
        let appends = self.encode(&transaction.appends, streams)?;
        Ok(Unit { appends, checks, conditions: transaction.conditions, changes: Vec::new() })
    }

    fn encode(&self, appends: &[Append], streams: Vec<StreamName>) -> Result<Vec<StreamAppend>, AppendError> {
        let now = self.clock.now();
        let encode = |(append, stream): (&Append, StreamName)| {
            let encode = |event: &NewEvent| PreparedEvent::encode(event, &stream, now);
            let events: Arc<[PreparedEvent]> = append.events.iter().map(encode).collect();
            StreamAppend { stream, expected: append.expected, events }
        };
        let appends: Vec<StreamAppend> = appends.iter().zip(streams).map(encode).collect();
        let bytes = appends.iter().flat_map(|append| append.events.iter()).map(|event| event.body.len()).sum();
        if bytes > limits::APPEND_BYTES_MAX {
            return Err(AppendError::TooManyBytes { bytes });
        }
        Ok(appends)
    }
}

/// What would make looking at the rest unbounded is refused by itself.
fn check_bounds(transaction: &Transaction) -> Result<(), AppendError> {
    if transaction.appends.is_empty() {
        return Err(AppendError::Empty);
    }
    let events = transaction.appends.iter().map(|append| append.events.len()).sum();
    if events > limits::APPEND_EVENTS_MAX {
        return Err(AppendError::TooManyEvents { events });
    }
    let mut broken = Broken::default();
    for (at, count, max) in [
        ("appends", transaction.appends.len(), limits::TRANSACTION_STREAMS_MAX),
        ("checks", transaction.checks.len(), limits::CHECKS_MAX),
        ("conditions", transaction.conditions.len(), limits::CONDITIONS_MAX),
    ] {
        if count > max {
            broken.shape(at, format!("there are {count}; the limit is {max}"));
        }
    }
    broken.into_result()
}

/// The checked names of the streams, one for each append unless something is broken.
fn check_appends(appends: &[Append], form: Form, broken: &mut Broken) -> Result<Vec<StreamName>, AppendError> {
    let mut streams = Vec::with_capacity(appends.len());
    for (i, append) in appends.iter().enumerate() {
        match (StreamName::new(&append.stream), form) {
            (Ok(stream), _) => streams.push(stream),
            (Err(error), Form::OneStream) => return Err(AppendError::StreamName(error)),
            (Err(error), Form::Transaction) => broken.shape(format!("appends[{i}].stream"), error.to_string()),
        }
        match form {
            _ if !append.events.is_empty() => {}
            Form::OneStream => return Err(AppendError::Empty),
            Form::Transaction => broken.shape(format!("appends[{i}].events"), "there is none"),
        }
        let append_index = (form == Form::Transaction).then_some(i);
        for (event_index, event) in append.events.iter().enumerate() {
            let at = At { append: append_index, event: event_index };
            check::check(event, at, limits::EVENT_DATA_BYTES_MAX, broken);
        }
    }
    Ok(streams)
}

fn check_checks(checks: &[Check], broken: &mut Broken) -> Vec<StreamCheck> {
    let checked = checks.iter().enumerate().filter_map(|(i, check)| match StreamName::new(&check.stream) {
        Ok(stream) => Some(StreamCheck { stream, expected: check.expected }),
        Err(error) => {
            broken.shape(format!("checks[{i}].stream"), error.to_string());
            None
        }
    });
    checked.collect()
}

fn check_conditions(conditions: &[AppendCondition], broken: &mut Broken) {
    for (i, condition) in conditions.iter().enumerate() {
        let entries: usize = condition.query.terms().iter().map(FilterTerm::entry_count).sum();
        if entries > FILTER_TERMS_MAX {
            let message = format!("it has {entries} entries; the limit is {FILTER_TERMS_MAX}");
            broken.shape(format!("conditions[{i}].query"), message);
        }
    }
}

/// Two places for one stream could contradict each other.
fn check_named_once(transaction: &Transaction, broken: &mut Broken) {
    if transaction.appends.len() + transaction.checks.len() < 2 {
        return;
    }
    let appends = transaction.appends.iter().enumerate().map(|(i, append)| ("appends", i, &append.stream));
    let checks = transaction.checks.iter().enumerate().map(|(i, check)| ("checks", i, &check.stream));
    let mut named = HashMap::new();
    for (list, i, stream) in appends.chain(checks) {
        if let Some((earlier, j)) = named.get(stream) {
            broken.shape(format!("{list}[{i}].stream"), format!("`{stream}` is named in {earlier}[{j}] already"));
        } else {
            named.insert(stream, (list, i));
        }
    }
}
