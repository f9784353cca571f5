//! `wasmill:plugin@0.1`: the bindings of all its interfaces, made once for all worlds, and the worlds.

pub(crate) mod json;
pub(crate) mod linker;
mod step;
mod types;
pub(crate) mod world;

/// Private to this room, whatever it says: core has types of its own.
#[allow(
    unreachable_pub,
    unused_qualifications,
    dead_code,
    clippy::large_futures,
    clippy::large_enum_variant,
    clippy::result_large_err,
    reason = "generated"
)]
pub(crate) mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit",
        // No plugin has this world: it names every interface once, so that a type is one type in all worlds.
        inline: "
            package wasmill:host;
            world all {
                import wasmill:plugin/log@0.1.0;
                import wasmill:plugin/config@0.1.0;
                import wasmill:plugin/event-details@0.1.0;
                import wasmill:plugin/env@0.1.0;
                import wasmill:plugin/state@0.1.0;
                import wasmill:plugin/state-json@0.1.0;
                import wasmill:plugin/outbox@0.1.0;
                import wasmill:plugin/outbox-json@0.1.0;
                import wasmill:plugin/saga-data@0.1.0;
                import wasmill:plugin/http@0.1.0;
                export wasmill:plugin/projection@0.1.0;
                export wasmill:plugin/upcaster@0.1.0;
                export wasmill:plugin/saga@0.1.0;
            }
        ",
        world: "wasmill:host/all",
        imports: {
            "wasmill:plugin/state.get": async | trappable,
            "wasmill:plugin/state.get-many": async | trappable,
            "wasmill:plugin/state.scan": async | trappable,
            "wasmill:plugin/state-json.load": async | trappable,
            "wasmill:plugin/http.send": async | trappable,
            default: trappable,
        },
        exports: { default: async },
        // A batch is lowered out of the events' own bytes.
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}
