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
//! A projection is a function of its events. In a host its clock stands still and its random numbers
//! come from a fixed seed; the time to use is [`Context::time_us`].

mod collection;
mod context;
mod descriptor;
mod event;
mod events;
mod failure;
mod json;
mod projection;
mod state;

pub mod config;
pub mod log;

mod host;

#[cfg(target_family = "wasm")]
mod export;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use collection::Collection;
pub use context::Context;
pub use descriptor::{Descriptor, Subscription};
pub use event::{Event, EventId};
pub use events::{AnyEvent, EventSet};
pub use failure::{Disposition, Failure};
pub use projection::Projection;
#[cfg(feature = "schema")]
pub use schemars::{self, JsonSchema};
pub use state::{Document, Page, Prefetch, Scan, State};

/// What the macros of this crate expand to. Not for use by hand.
#[doc(hidden)]
pub mod macros {
    #[cfg(target_family = "wasm")]
    pub use crate::export::{ProjectionPlugin, bindings};
    pub use crate::json::from_bytes as from_json;
    pub use crate::projection::is_projection;
    pub use serde_json::Error as JsonError;
}
