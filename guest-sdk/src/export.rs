//! From the component's exports to the traits of this crate. Compiled for Wasm only.

use std::marker::PhantomData;

use crate::{Descriptor, Event, Failure, Projection, projection};

/// Generated from the contract. Events and failures are the crate's own types, so that nothing is
/// copied between the two.
pub mod bindings {
    #![allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]

    /// The places where the generated code looks for types that are not its own.
    pub mod own {
        pub mod events {
            pub use crate::Event;
        }
        pub mod outcomes {
            pub use crate::{Disposition, Failure};
        }
    }

    wit_bindgen::generate!({
        path: "../wit",
        world: "projection-plugin",
        pub_export_macro: true,
        export_macro_name: "export_projection_plugin",
        with: {
            "wasmill:plugin/events@0.1.0": crate::export::bindings::own::events,
            "wasmill:plugin/outcomes@0.1.0": crate::export::bindings::own::outcomes,
        },
        generate_all,
    });
}

/// Makes the exports of the contract out of a [`Projection`].
pub struct ProjectionPlugin<P>(PhantomData<P>);

impl<P: Projection> bindings::exports::wasmill::plugin::descriptor::Guest for ProjectionPlugin<P> {
    fn describe() -> String {
        Descriptor::to_json(&projection::describe::<P>())
    }
}

impl<P: Projection> bindings::exports::wasmill::plugin::projection::Guest for ProjectionPlugin<P> {
    fn apply(events: Vec<Event>) -> Result<(), Failure> {
        projection::apply::<P>(&events)
    }
}
