//! A host in memory, to test plugins with on the machine at hand: no Wasm, no server.
//!
//! ```
//! # use serde::{Deserialize, Serialize};
//! # use wasmill_guest::{AnyEvent, Collection, Context, Descriptor, Failure, Projection, State};
//! # const COUNTS: Collection<u64> = Collection::new("counts");
//! # struct Counts;
//! # impl Projection for Counts {
//! #     type Event = AnyEvent;
//! #     fn descriptor() -> Descriptor { Descriptor::new("counts", "1.0.0").collection(&COUNTS) }
//! #     fn apply(_: AnyEvent, context: &Context, state: &mut State) -> Result<(), Failure> {
//! #         state.update(&COUNTS, context.event_type(), |count| *count += 1)
//! #     }
//! # }
//! use wasmill_guest::testing::{Harness, TestEvent};
//!
//! let mut harness = Harness::<Counts>::new();
//! harness.apply([
//!     TestEvent::new("order.placed", &serde_json::json!({ "pence": 120 })).stream("order-1"),
//!     TestEvent::new("order.paid", &serde_json::json!({})).stream("order-1"),
//! ])?;
//! assert_eq!(harness.get(&COUNTS, "order.placed"), Some(1));
//! # Ok::<(), Failure>(())
//! ```

mod bench;
mod event;
mod harness;
pub(crate) mod host;
mod saga;
mod saga_host;
mod time;

pub use bench::Bench;
pub use event::TestEvent;
pub use harness::{HandlerHarness, Harness, UpcasterHarness};
pub use host::{Emitted, LogLine};
pub use saga::{Rest, SagaHarness};
