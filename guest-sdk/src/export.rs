//! From the component's exports to the traits of this crate. Compiled for Wasm only.

use std::marker::PhantomData;

use crate::saga::{Called, Direction};
use crate::{
    Descriptor, Event, Failure, Handler, Outcome, Projection, Saga, Upcaster, Wait, handler, projection, saga, upcaster,
};

/// Generated from the contract. Events and failures are the crate's own types, so that nothing is
/// copied between the two.
///
/// The worlds of the contract are taken apart here: what all plugins import is generated once, and what each
/// exports by itself, since generated macros of one name cannot stand in a crate twice. A component is the sum
/// of the worlds whose macros it uses, and imports what it calls.
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
pub mod bindings {
    /// The places where the generated code looks for types that are not its own.
    pub mod own {
        pub mod events {
            pub use crate::Event;
        }
        pub mod outcomes {
            pub use crate::Failure;
        }
    }

    /// What the host gives, to whichever kind.
    pub mod imports {
        wit_bindgen::generate!({
            path: "../wit",
            inline: "
                package wasmill:guest;
                world imports {
                    import wasmill:plugin/log@0.1.0;
                    import wasmill:plugin/config@0.1.0;
                    import wasmill:plugin/env@0.1.0;
                    import wasmill:plugin/event-details@0.1.0;
                    import wasmill:plugin/state@0.1.0;
                    import wasmill:plugin/outbox@0.1.0;
                    import wasmill:plugin/saga-data@0.1.0;
                    import wasmill:plugin/http@0.1.0;
                }
            ",
            world: "wasmill:guest/imports",
            generate_all,
        });
    }

    pub mod descriptor {
        wit_bindgen::generate!({
            path: "../wit",
            inline: "
                package wasmill:guest;
                world descriptor {
                    export wasmill:plugin/descriptor@0.1.0;
                }
            ",
            world: "wasmill:guest/descriptor",
            pub_export_macro: true,
            export_macro_name: "export_descriptor_world",
            generate_all,
        });
    }

    pub mod projection {
        wit_bindgen::generate!({
            path: "../wit",
            inline: "
                package wasmill:guest;
                world projection {
                    import wasmill:plugin/log@0.1.0;
                    import wasmill:plugin/config@0.1.0;
                    import wasmill:plugin/event-details@0.1.0;
                    import wasmill:plugin/state@0.1.0;
                    export wasmill:plugin/projection@0.1.0;
                }
            ",
            world: "wasmill:guest/projection",
            pub_export_macro: true,
            export_macro_name: "export_projection_world",
            with: {
                "wasmill:plugin/types@0.1.0": crate::export::bindings::imports::wasmill::plugin::types,
                "wasmill:plugin/log@0.1.0": crate::export::bindings::imports::wasmill::plugin::log,
                "wasmill:plugin/config@0.1.0": crate::export::bindings::imports::wasmill::plugin::config,
                "wasmill:plugin/event-details@0.1.0": crate::export::bindings::imports::wasmill::plugin::event_details,
                "wasmill:plugin/state@0.1.0": crate::export::bindings::imports::wasmill::plugin::state,
                "wasmill:plugin/events@0.1.0": crate::export::bindings::own::events,
                "wasmill:plugin/outcomes@0.1.0": crate::export::bindings::own::outcomes,
            },
            generate_all,
        });
    }

    pub mod handler {
        wit_bindgen::generate!({
            path: "../wit",
            inline: "
                package wasmill:guest;
                world handler {
                    import wasmill:plugin/log@0.1.0;
                    import wasmill:plugin/config@0.1.0;
                    import wasmill:plugin/env@0.1.0;
                    import wasmill:plugin/event-details@0.1.0;
                    import wasmill:plugin/state@0.1.0;
                    import wasmill:plugin/outbox@0.1.0;
                    export wasmill:plugin/handler@0.1.0;
                }
            ",
            world: "wasmill:guest/handler",
            pub_export_macro: true,
            export_macro_name: "export_handler_world",
            with: {
                "wasmill:plugin/types@0.1.0": crate::export::bindings::imports::wasmill::plugin::types,
                "wasmill:plugin/log@0.1.0": crate::export::bindings::imports::wasmill::plugin::log,
                "wasmill:plugin/config@0.1.0": crate::export::bindings::imports::wasmill::plugin::config,
                "wasmill:plugin/env@0.1.0": crate::export::bindings::imports::wasmill::plugin::env,
                "wasmill:plugin/event-details@0.1.0": crate::export::bindings::imports::wasmill::plugin::event_details,
                "wasmill:plugin/state@0.1.0": crate::export::bindings::imports::wasmill::plugin::state,
                "wasmill:plugin/emitted@0.1.0": crate::export::bindings::imports::wasmill::plugin::emitted,
                "wasmill:plugin/outbox@0.1.0": crate::export::bindings::imports::wasmill::plugin::outbox,
                "wasmill:plugin/events@0.1.0": crate::export::bindings::own::events,
                "wasmill:plugin/outcomes@0.1.0": crate::export::bindings::own::outcomes,
            },
            generate_all,
        });
    }

    pub mod saga {
        wit_bindgen::generate!({
            path: "../wit",
            inline: "
                package wasmill:guest;
                world saga {
                    import wasmill:plugin/log@0.1.0;
                    import wasmill:plugin/config@0.1.0;
                    import wasmill:plugin/env@0.1.0;
                    import wasmill:plugin/event-details@0.1.0;
                    import wasmill:plugin/outbox@0.1.0;
                    import wasmill:plugin/saga-data@0.1.0;
                    import wasmill:plugin/http@0.1.0;
                    export wasmill:plugin/saga@0.1.0;
                }
            ",
            world: "wasmill:guest/saga",
            pub_export_macro: true,
            export_macro_name: "export_saga_world",
            with: {
                "wasmill:plugin/types@0.1.0": crate::export::bindings::imports::wasmill::plugin::types,
                "wasmill:plugin/log@0.1.0": crate::export::bindings::imports::wasmill::plugin::log,
                "wasmill:plugin/config@0.1.0": crate::export::bindings::imports::wasmill::plugin::config,
                "wasmill:plugin/env@0.1.0": crate::export::bindings::imports::wasmill::plugin::env,
                "wasmill:plugin/event-details@0.1.0": crate::export::bindings::imports::wasmill::plugin::event_details,
                "wasmill:plugin/emitted@0.1.0": crate::export::bindings::imports::wasmill::plugin::emitted,
                "wasmill:plugin/outbox@0.1.0": crate::export::bindings::imports::wasmill::plugin::outbox,
                "wasmill:plugin/saga-data@0.1.0": crate::export::bindings::imports::wasmill::plugin::saga_data,
                "wasmill:plugin/http@0.1.0": crate::export::bindings::imports::wasmill::plugin::http,
                "wasmill:plugin/events@0.1.0": crate::export::bindings::own::events,
                "wasmill:plugin/outcomes@0.1.0": crate::export::bindings::own::outcomes,
            },
            generate_all,
        });
    }

    pub mod upcaster {
        wit_bindgen::generate!({
            path: "../wit",
            inline: "
                package wasmill:guest;
                world upcaster {
                    import wasmill:plugin/log@0.1.0;
                    import wasmill:plugin/config@0.1.0;
                    import wasmill:plugin/event-details@0.1.0;
                    export wasmill:plugin/upcaster@0.1.0;
                }
            ",
            world: "wasmill:guest/upcaster",
            pub_export_macro: true,
            export_macro_name: "export_upcaster_world",
            with: {
                "wasmill:plugin/types@0.1.0": crate::export::bindings::imports::wasmill::plugin::types,
                "wasmill:plugin/log@0.1.0": crate::export::bindings::imports::wasmill::plugin::log,
                "wasmill:plugin/config@0.1.0": crate::export::bindings::imports::wasmill::plugin::config,
                "wasmill:plugin/event-details@0.1.0": crate::export::bindings::imports::wasmill::plugin::event_details,
                "wasmill:plugin/events@0.1.0": crate::export::bindings::own::events,
                "wasmill:plugin/outcomes@0.1.0": crate::export::bindings::own::outcomes,
            },
            generate_all,
        });
    }
}

use bindings::saga::exports::wasmill::plugin::saga as saga_contract;
use bindings::upcaster::exports::wasmill::plugin::upcaster as contract;

/// Makes the exports of the contract out of a [`Projection`].
pub struct ProjectionPlugin<P>(PhantomData<P>);

impl<P: Projection> bindings::descriptor::exports::wasmill::plugin::descriptor::Guest for ProjectionPlugin<P> {
    fn describe() -> String {
        Descriptor::to_json(&projection::describe::<P>())
    }
}

impl<P: Projection> bindings::projection::exports::wasmill::plugin::projection::Guest for ProjectionPlugin<P> {
    fn apply(events: Vec<Event>) -> Result<(), Failure> {
        projection::apply::<P>(&events)
    }
}

/// Makes the exports of the contract out of a [`Handler`].
pub struct HandlerPlugin<H>(PhantomData<H>);

impl<H: Handler> bindings::descriptor::exports::wasmill::plugin::descriptor::Guest for HandlerPlugin<H> {
    fn describe() -> String {
        Descriptor::to_json(&handler::describe::<H>())
    }
}

impl<H: Handler> bindings::handler::exports::wasmill::plugin::handler::Guest for HandlerPlugin<H> {
    fn handle(events: Vec<Event>) -> Result<(), Failure> {
        handler::handle::<H>(&events)
    }
}

/// Makes the exports of the contract out of an [`Upcaster`].
pub struct UpcasterPlugin<U>(PhantomData<U>);

impl<U: Upcaster> bindings::descriptor::exports::wasmill::plugin::descriptor::Guest for UpcasterPlugin<U> {
    fn describe() -> String {
        Descriptor::to_json(&upcaster::describe::<U>())
    }
}

impl<U: Upcaster> contract::Guest for UpcasterPlugin<U> {
    fn upcast(events: Vec<Event>) -> Result<Vec<contract::Upcasted>, Failure> {
        let contracts = |upcasted| match upcasted {
            upcaster::Upcasted::Unchanged => contract::Upcasted::Unchanged,
            upcaster::Upcasted::Replaced(upcaster::Lifted { event_type, schema_version, data }) => {
                contract::Upcasted::Replaced(contract::Lifted { event_type, schema_version, data })
            }
            upcaster::Upcasted::Failed(failure) => contract::Upcasted::Failed(failure),
        };
        Ok(upcaster::upcast::<U>(&events).into_iter().map(contracts).collect())
    }
}

/// Makes the exports of the contract out of a [`Saga`].
pub struct SagaPlugin<S>(PhantomData<S>);

impl<S: Saga> bindings::descriptor::exports::wasmill::plugin::descriptor::Guest for SagaPlugin<S> {
    fn describe() -> String {
        Descriptor::to_json(&saga::describe::<S>())
    }
}

impl<S: Saga> saga_contract::Guest for SagaPlugin<S> {
    fn execute(context: saga_contract::StepContext) -> Result<saga_contract::StepOutcome, Failure> {
        attempt::<S>(context, Direction::Execute)
    }

    fn compensate(context: saga_contract::StepContext) -> Result<saga_contract::StepOutcome, Failure> {
        attempt::<S>(context, Direction::Compensate)
    }
}

fn attempt<S: Saga>(
    context: saga_contract::StepContext,
    direction: Direction,
) -> Result<saga_contract::StepOutcome, Failure> {
    let called = Called {
        saga_id: context.saga_id,
        saga_type: context.saga_type,
        correlation_id: context.correlation_id,
        step: context.step,
        attempt: context.attempt,
        idempotency_key: context.idempotency_key,
        input: context.input,
        output: context.output,
        woken_by: context.woken_by,
        deadline_us: context.deadline_us,
        attributes: context.attributes,
    };
    Ok(match saga::attempt::<S>(&called, direction)? {
        Outcome::Completed(output) => saga_contract::StepOutcome::Completed(output),
        Outcome::Suspended(Wait { until_us, event_type, match_key }) => {
            saga_contract::StepOutcome::Suspended(saga_contract::Wait { until_us, event_type, match_key })
        }
    })
}
