//! What an event takes over from its cause.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use crate::event::{Event, NewEvent, Origin};
use crate::store::{Store, StoreError};

/// An event that names its cause carries on the cause's workflow, correlation and trace, unless it
/// brings its own. The cause may stand earlier among `events`, or in the log; one that is not known
/// is kept as it is.
pub(super) async fn inherit(store: &dyn Store, mut events: Vec<&mut NewEvent>) -> Result<(), StoreError> {
    let wanted: HashSet<Uuid> = events.iter().filter_map(|event| wanted_cause(event)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = wanted.iter().copied().collect();
    let stored = store.find_events(&ids).await?;
    let stored: HashMap<Uuid, Event> = stored.into_iter().map(|event| (event.id(), event)).collect();
    let mut earlier: HashMap<Uuid, Origin> = HashMap::new();
    for event in &mut events {
        if let Some(cause) = wanted_cause(event) {
            let of_cause = stored.get(&cause).map(Event::origin);
            if let Some(of_cause) = of_cause.or_else(|| earlier.get(&cause).cloned()) {
                event.origin.inherit(of_cause);
            }
        }
        if wanted.contains(&event.id) {
            earlier.insert(event.id, event.origin.clone());
        }
    }
    Ok(())
}

/// The cause that has something to pass on.
fn wanted_cause(event: &NewEvent) -> Option<Uuid> {
    let origin = &event.origin;
    let complete = origin.correlation_id.is_some() && origin.workflow_id.is_some();
    if complete { None } else { Uuid::try_parse(origin.causation_id.as_deref()?).ok() }
}
