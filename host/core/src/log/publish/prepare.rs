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
use crate::store::{AppendCondition, Expected, StreamAppend, StreamCheck, Unit};
use crate::stream::Effective;

/// How it was handed in, and so what paths into it look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `events[3].key`
    OneStream,
    /// `appends[0].events[3].key`
    Transaction,
}

impl Publisher {
    /// The unit, and the streams that it guards: those that no append may make.
    pub(super) async fn prepare(
        &self,
        mut transaction: Transaction,
        form: Form,
    ) -> Result<(Unit, Vec<StreamName>), AppendError> {
        check_bounds(&transaction)?;
        let mut broken = Broken::default();
        let (streams, guarded) = self.check_appends(&transaction.appends, form, &mut broken)?;
        let mut checks = check_checks(&transaction.checks, &mut broken);
        check_conditions(&transaction.conditions, &mut broken);
        check_named_once(&transaction, &mut broken);
        broken.into_result()?;
        if self.configs.validates_any() {
            self.validate(&transaction.appends, &streams, form).await?;
        }
        let events = transaction.appends.iter_mut().flat_map(|append| &mut append.events).collect();
        origin::inherit(&*self.store, events).await.map_err(AppendError::Store)?;
        let appends = self.encode(&transaction.appends, streams)?;
        // Judged beside the append, so that a stream cannot go or come in between.
        checks.extend(guarded.iter().map(|stream| StreamCheck { stream: stream.clone(), expected: Expected::Exists }));
        Ok((Unit { appends, checks, conditions: transaction.conditions, ..Unit::default() }, guarded))
    }

    /// The checked names of the streams, one for each append unless something is broken, and those of
    /// them that no append may make.
    fn check_appends(
        &self,
        appends: &[Append],
        form: Form,
        broken: &mut Broken,
    ) -> Result<(Vec<StreamName>, Vec<StreamName>), AppendError> {
        let (mut streams, mut guarded) = (Vec::with_capacity(appends.len()), Vec::new());
        for (i, append) in appends.iter().enumerate() {
            let index = (form == Form::Transaction).then_some(i);
            match (StreamName::new(&append.stream), index) {
                (Ok(stream), _) => {
                    let config = self.configs.effective(&stream);
                    check_events(append, index, &config, broken);
                    if !config.auto_create() && matches!(append.expected, Expected::Any | Expected::NoStream) {
                        guarded.push(stream.clone());
                    }
                    streams.push(stream);
                }
                (Err(error), None) => return Err(AppendError::StreamName(error)),
                (Err(error), Some(i)) => broken.shape(format!("appends[{i}].stream"), error.to_string()),
            }
            match (append.events.is_empty(), index) {
                (false, _) => {}
                (true, None) => return Err(AppendError::Empty),
                (true, Some(i)) => broken.shape(format!("appends[{i}].events"), "there is none"),
            }
        }
        Ok((streams, guarded))
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

fn check_events(append: &Append, index: Option<usize>, config: &Effective, broken: &mut Broken) {
    let (events, events_max) = (append.events.len(), config.append_events_max());
    if events > events_max {
        broken.too_many(index.map_or_else(|| "events".into(), |i| format!("appends[{i}].events")), events, events_max);
    }
    let data_bytes_max = config.event_bytes_max();
    for (event_index, event) in append.events.iter().enumerate() {
        check::check(event, At { append: index, event: event_index }, data_bytes_max, broken);
    }
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
