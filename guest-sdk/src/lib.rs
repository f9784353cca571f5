//! Write Wasmill plugins in Rust.
//!
//! A projection folds events into documents that can be queried. It says which events it reads,
//! which collections it keeps, and what one event changes:
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use wasmill_guest::{Collection, Context, Descriptor, Failure, Projection, State, Subscription};
//!
//! #[derive(Deserialize)]
//! struct Placed { customer: String, pence: u64 }
//! wasmill_guest::events! { enum Order { Placed(Placed) = "order.placed" } }
//!
//! #[derive(Default, Serialize, Deserialize)]
//! struct Customer { orders: u64, pence: u64 }
//! const CUSTOMERS: Collection<Customer> = Collection::new("customers");
//!
//! struct Orders;
//! impl Projection for Orders {
//!     type Event = Order;
//!     fn descriptor() -> Descriptor {
//!         Descriptor::new("orders", "1.0.0")
//!             .subscribe(Subscription::to_streams(["order-*"]))
//!             .collection(&CUSTOMERS)
//!     }
//!     fn apply(event: Order, _: &Context, state: &mut State) -> Result<(), Failure> {
//!         let Order::Placed(placed) = event;
//!         state.update(&CUSTOMERS, &placed.customer, |customer| {
//!             customer.orders += 1;
//!             customer.pence += placed.pence;
//!         })
//!     }
//! }
//! wasmill_guest::export_projection!(Orders);
//! # fn main() {}
//! ```
//!
//! Build it as a `cdylib` for `wasm32-wasip2` and the result is a component that a host can load.
//! `testing::Harness` (on native targets) folds events with the same code, without any Wasm.
//!
//! A [`Handler`] reacts to events: it keeps documents too, and appends events of its own through an
//! [`Outbox`]. An [`Upcaster`] lifts events of old schema versions to newer ones, for every reader.
//!
//! A [`Saga`] is a long-running process of declared steps, which are undone backwards when one fails for good. Its
//! steps send requests through [`http`], emit events, and wait for times and events.
//!
//! A projection is a function of its events. In a host its clock stands still and its random numbers
//! come from a fixed seed; the time to use is [`Context::time_us`].

mod batch;
mod collection;
mod context;
mod descriptor;
mod event;
mod events;
mod failure;
mod fields;
mod handler;
mod json;
mod outbox;
mod projection;
mod saga;
mod state;
mod upcaster;

pub mod config;
pub mod env;
pub mod http;
pub mod log;

mod host;

#[cfg(target_family = "wasm")]
mod export;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use collection::Collection;
pub use context::Context;
pub use descriptor::{Descriptor, Setting, StartsOn, Subscription};
pub use event::{Event, EventId};
pub use events::{AnyEvent, EventSet};
pub use failure::{Disposition, Failure};
pub use fields::Fields;
pub use handler::Handler;
pub use outbox::{NewEvent, Outbox};
pub use projection::Projection;
pub use saga::{Outcome, Retry, Saga, SagaData, Step, StepContext, Wait};
#[cfg(feature = "schema")]
pub use schemars::{self, JsonSchema};
pub use state::{Document, Page, Prefetch, Scan, State};
pub use upcaster::{Lift, Lifted, Upcasted, Upcaster};

/// What the macros of this crate expand to. Not for use by hand.
#[doc(hidden)]
pub mod macros {
    #[cfg(target_family = "wasm")]
    pub use crate::export::bindings::{
        descriptor as descriptor_world, handler as handler_world, projection as projection_world, saga as saga_world,
        upcaster as upcaster_world,
    };
    #[cfg(target_family = "wasm")]
    pub use crate::export::bindings::{
        descriptor::export_descriptor_world as export_descriptor, handler::export_handler_world as export_handler,
        projection::export_projection_world as export_projection, saga::export_saga_world as export_saga,
        upcaster::export_upcaster_world as export_upcaster,
    };
    #[cfg(target_family = "wasm")]
    pub use crate::export::{HandlerPlugin, ProjectionPlugin, SagaPlugin, UpcasterPlugin};
    pub use crate::handler::is_handler;
    pub use crate::json::from_bytes as from_json;
    pub use crate::projection::is_projection;
    pub use crate::saga::is_saga;
    pub use crate::upcaster::is_upcaster;
    pub use serde_json::Error as JsonError;
}
