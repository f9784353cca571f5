use crate::descriptor::Kind;
use crate::{Context, Descriptor, Event, EventSet, Failure, Outbox, Prefetch, State, batch, outbox};

/// A plugin that reacts to events: it keeps documents, and emits events of its own. Export it with
/// [`export_handler!`](crate::export_handler).
///
/// What it changes and what it emits is stored together with how far it is, or not at all. So every
/// event is handled exactly once as far as the host can see: a call that failed may have been made
/// before, but nothing of it is left.
pub trait Handler {
    /// The events that it understands; those of other types are skipped.
    type Event: EventSet;

    fn descriptor() -> Descriptor;

    /// Handles one event.
    ///
    /// # Errors
    /// A failure rolls the whole batch back; what becomes of the event is what the failure says.
    fn handle(event: Self::Event, context: &Context, state: &mut State, outbox: &mut Outbox) -> Result<(), Failure>;

    /// Names documents that [`handle`](Self::handle) will read for this event; as
    /// [`Projection::documents`](crate::Projection::documents).
    fn documents(_event: &Self::Event, _context: &Context, _prefetch: &mut Prefetch) {}
}

/// To name a handler is to use it, and saves its crate from warnings of dead code.
#[doc(hidden)]
pub fn is_handler<H: Handler>() {}

/// The descriptor of `H` as it leaves the component.
pub(crate) fn describe<H: Handler>() -> Descriptor {
    H::descriptor().of_kind(Kind::Handler)
}

/// Handles one batch, and hands over what it emitted at its end.
pub(crate) fn handle<H: Handler>(events: &[Event]) -> Result<(), Failure> {
    let mut emitted = outbox::Emitted::default();
    batch::fold(events, H::documents, |event, context, state| {
        H::handle(event, context, state, &mut emitted.caused_by(context.index()))
    })?;
    emitted.write();
    Ok(())
}

/// Makes a component of a [`Handler`]. Once in a crate. On native targets it only checks the type, so
/// that the crate can be tested there.
#[macro_export]
#[rustfmt::skip]
macro_rules! export_handler {
    ($handler:ty) => {
        #[cfg(not(target_family = "wasm"))]
        const _: fn() = $crate::macros::is_handler::<$handler>;

        #[cfg(target_family = "wasm")]
        const _: () = {
            // Items of a macro are not hygienic: a plainer name could be the handler's own.
            type WasmillExports = $crate::macros::HandlerPlugin<$handler>;
            $crate::macros::export_descriptor!(WasmillExports with_types_in $crate::macros::descriptor_world);
            $crate::macros::export_handler!(WasmillExports with_types_in $crate::macros::handler_world);
        };
    };
}
