//! A saga: steps in order, each with what undoes it.

mod context;
mod outcome;
mod step;

use serde::de::DeserializeOwned;

use crate::descriptor::Kind;
use crate::{Descriptor, Failure};

pub(crate) use context::Called;
pub use context::{SagaData, StepContext};
pub use outcome::{Outcome, Wait};
pub(crate) use step::{Declared, millis};
pub use step::{Retry, Step};

/// A long-running process of declared steps, driven by the host: when one fails for good, those before it are undone
/// backwards. Export it with [`export_saga!`](crate::export_saga).
///
/// A step is called at least once: the host may have to call it again when it could not store that it was done. So
/// what it does outside has to bear that: [`http`](crate::http) sends the same idempotency key each time. What it
/// writes and emits is stored with its completion, or not at all.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use wasmill_guest::{Descriptor, Failure, Outcome, Saga, Step, StepContext, http};
///
/// #[derive(Deserialize, Serialize)]
/// struct Order { id: String, pence: u64 }
///
/// struct Fulfilment;
/// impl Saga for Fulfilment {
///     fn descriptor() -> Descriptor {
///         Descriptor::new("fulfilment", "1.0.0").sends("POST", "https://shop.example.com/*")
///     }
///     fn steps() -> Vec<Step> {
///         vec![
///             Step::new("reserve", reserve).undone_by(release),
///             Step::new("ship", ship).pivot(),
///         ]
///     }
/// }
///
/// fn reserve(context: &mut StepContext) -> Result<Outcome, Failure> {
///     let order: Order = context.input()?;
///     http::post_json("https://shop.example.com/reserve", &order)?.success()?;
///     Outcome::completed(&order.id)
/// }
///
/// fn release(context: &mut StepContext) -> Result<Outcome, Failure> {
///     let order: Order = context.input()?;
///     http::post_json("https://shop.example.com/release", &order)?.success()?;
///     Ok(Outcome::done())
/// }
///
/// fn ship(context: &mut StepContext) -> Result<Outcome, Failure> {
///     let id: Option<String> = context.output_of("reserve")?;
///     http::post_json("https://shop.example.com/ship", &id)?.success()?;
///     Ok(Outcome::done())
/// }
/// wasmill_guest::export_saga!(Fulfilment);
/// # fn main() {}
/// ```
pub trait Saga {
    /// What is said of it beside its steps.
    fn descriptor() -> Descriptor;

    /// Its steps, in order. A saga stays with the revision that it began with, so they may change freely.
    fn steps() -> Vec<Step>;
}

/// To name a saga is to use it, and saves its crate from warnings of dead code.
#[doc(hidden)]
pub fn is_saga<S: Saga>() {}

/// The descriptor of `S` as it leaves the component.
pub(crate) fn describe<S: Saga>() -> Descriptor {
    S::descriptor().of_kind(Kind::Saga).steps(&S::steps())
}

/// Doing a step, or undoing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Execute,
    Compensate,
}

/// One attempt. What it emits is handed over at its end, so that a failed one emits nothing.
pub(crate) fn attempt<S: Saga>(called: &Called, direction: Direction) -> Result<Outcome, Failure> {
    let steps = S::steps();
    let missing = || Failure::halt("saga.no-such-step", format!("the plugin has no step `{}`", called.step));
    let step = steps.iter().find(|step| step.name() == called.step).ok_or_else(missing)?;
    let mut context = StepContext::new(called);
    let outcome = step.call(direction, &mut context)?;
    context.write();
    Ok(outcome)
}

fn parse<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, Failure> {
    crate::json::from_bytes(bytes).map_err(|error| Failure::reject("saga.malformed", format!("{what}: {error}")))
}

/// Makes a component of a [`Saga`]. Once in a crate. On native targets it only checks the type, so that the crate can
/// be tested there.
#[macro_export]
#[rustfmt::skip]
macro_rules! export_saga {
    ($saga:ty) => {
        #[cfg(not(target_family = "wasm"))]
        const _: fn() = $crate::macros::is_saga::<$saga>;

        #[cfg(target_family = "wasm")]
        const _: () = {
            // Items of a macro are not hygienic: a plainer name could be the saga's own.
            type WasmillExports = $crate::macros::SagaPlugin<$saga>;
            $crate::macros::export_descriptor!(WasmillExports with_types_in $crate::macros::descriptor_world);
            $crate::macros::export_saga!(WasmillExports with_types_in $crate::macros::saga_world);
        };
    };
}
