use crate::descriptor::Kind;
use crate::{Context, Descriptor, Event, EventSet, Failure, Prefetch, State, batch};

/// A plugin that folds events into documents. Export it with
/// [`export_projection!`](crate::export_projection).
pub trait Projection {
    /// The events that it understands; those of other types are skipped.
    type Event: EventSet;

    fn descriptor() -> Descriptor;

    /// Folds one event. The changes become visible with those of the whole batch, or not at all.
    ///
    /// # Errors
    /// A failure rolls the whole batch back; the host then finds out which event is at fault.
    fn apply(event: Self::Event, context: &Context, state: &mut State) -> Result<(), Failure>;

    /// Names documents that [`apply`](Self::apply) will read for this event, so that those of a whole
    /// batch are fetched in one call of the host each collection. It saves time and changes nothing
    /// else: whatever is not named here is fetched when it is read.
    fn documents(_event: &Self::Event, _context: &Context, _prefetch: &mut Prefetch) {}
}

/// To name a projection is to use it, and saves its crate from warnings of dead code.
#[doc(hidden)]
pub fn is_projection<P: Projection>() {}

/// The descriptor of `P` as it leaves the component.
pub(crate) fn describe<P: Projection>() -> Descriptor {
    P::descriptor().of_kind(Kind::Projection)
}

/// Folds one batch.
pub(crate) fn apply<P: Projection>(events: &[Event]) -> Result<(), Failure> {
    batch::fold(events, P::documents, P::apply)
}

/// Makes a component of a [`Projection`]. Once in a crate. On native targets it only checks the type, so
/// that the crate can be tested there.
#[macro_export]
#[rustfmt::skip]
macro_rules! export_projection {
    ($projection:ty) => {
        #[cfg(not(target_family = "wasm"))]
        const _: fn() = $crate::macros::is_projection::<$projection>;

        #[cfg(target_family = "wasm")]
        const _: () = {
            // Items of a macro are not hygienic: a plainer name could be the projection's own.
            type WasmillExports = $crate::macros::ProjectionPlugin<$projection>;
            $crate::macros::export_descriptor!(WasmillExports with_types_in $crate::macros::descriptor_world);
            $crate::macros::export_projection!(WasmillExports with_types_in $crate::macros::projection_world);
        };
    };
}
