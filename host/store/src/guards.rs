//! The host's own documents that units rely on.

use std::collections::BTreeSet;
use std::sync::Arc;

use wasmill_core::store::Unit;

/// Places that guards of the units name, each once, in byte order: two hosts that lock them do so in
/// the same order.
pub(crate) fn guarded(units: &[Unit]) -> Vec<(Arc<str>, String)> {
    let guards = units.iter().flat_map(|unit| &unit.guards);
    let places: BTreeSet<_> = guards.map(|guard| (Arc::clone(&guard.collection), guard.key.clone())).collect();
    places.into_iter().collect()
}
