//! How a batch is folded, whatever becomes of it.

use crate::{Context, Event, EventSet, Failure, Prefetch, State};

/// Folds one batch, event by event, and writes what it changed at its end.
///
/// Everything is decoded before anything is folded: the documents of the whole batch are known then,
/// and a malformed event costs no host call.
pub(crate) fn fold<E: EventSet>(
    batch: &[Event],
    documents: fn(&E, &Context, &mut Prefetch),
    mut each: impl FnMut(E, &Context, &mut State) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut events = Vec::with_capacity(batch.len());
    for context in contexts(batch) {
        match E::decode(context.event_type(), context.data()) {
            Some(Ok(event)) => events.push((event, context)),
            Some(Err(error)) => return Err(context.malformed(&error)),
            None => {}
        }
    }

    let mut state = State::default();
    let mut prefetch = state.prefetch();
    for (event, context) in &events {
        documents(event, context, &mut prefetch);
    }
    prefetch.fetch();

    for (event, context) in events {
        each(event, &context, &mut state).map_err(|failure| failure.at(context.index()))?;
    }
    state.write()
}

pub(crate) fn contexts(batch: &[Event]) -> impl Iterator<Item = Context<'_>> {
    (0_u32..).zip(batch).map(|(index, event)| Context::new(event, index))
}
