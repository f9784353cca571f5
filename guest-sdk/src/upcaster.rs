use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::descriptor::Kind;
use crate::{Context, Descriptor, Event, Failure, batch};

/// A plugin that lifts events of an old schema version to the next, for every reader. Export it with
/// [`export_upcaster!`](crate::export_upcaster).
///
/// An event that is lifted stays stored as it was published. So a lift has to be a function of the event
/// and the configuration alone, and has to stay the same for as long as its plugin is deployed.
pub trait Upcaster {
    /// What is said of it beside its lifts.
    fn descriptor() -> Descriptor;

    /// Its steps, at most 256. They chain by themselves: what takes version 1 to 2 and what takes 2 to 3 take
    /// 1 to 3.
    fn lifts() -> Vec<Lift>;
}

/// One step of an upcaster: which events it takes, what they become, and how.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use wasmill_guest::Lift;
///
/// #[derive(Deserialize)]
/// struct PlacedV1 { amount: f64 }
/// #[derive(Serialize)]
/// struct PlacedV2 { pence: i64 }
///
/// Lift::json("order.placed", 1, 2, |old: PlacedV1| Ok(PlacedV2 { pence: (old.amount * 100.0) as i64 }));
/// ```
///
/// Where most fields stay as they are, [`Fields`](crate::Fields) is both the old type and the new one.
pub struct Lift {
    event_type: &'static str,
    version: u32,
    to_type: &'static str,
    to_version: u32,
    lift: Box<Step>,
}

/// The new data of an event.
type Step = dyn Fn(&Context) -> Result<Vec<u8>, Failure>;

/// What became of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upcasted {
    Unchanged,
    Replaced(Lifted),
    Failed(Failure),
}

/// An event in its next version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifted {
    pub event_type: String,
    pub schema_version: u32,
    pub data: Vec<u8>,
}

impl Lift {
    /// From one serde type to the next. An event whose data is not of the old type fails as
    /// `event.malformed`.
    pub fn json<Old: DeserializeOwned, New: Serialize>(
        event_type: &'static str,
        version: u32,
        to_version: u32,
        lift: impl Fn(Old) -> Result<New, Failure> + 'static,
    ) -> Self {
        Self::bytes(event_type, version, to_version, move |context| {
            let new = lift(context.decode()?)?;
            serde_json::to_vec(&new).map_err(|error| Failure::halt("event.unwritable", error.to_string()))
        })
    }

    /// With all that is known of the event at hand, and data that need not be JSON.
    pub fn bytes(
        event_type: &'static str,
        version: u32,
        to_version: u32,
        lift: impl Fn(&Context) -> Result<Vec<u8>, Failure> + 'static,
    ) -> Self {
        Self { event_type, version, to_type: event_type, to_version, lift: Box::new(lift) }
    }

    /// It gets another event type too.
    #[must_use]
    pub fn renamed(mut self, to_type: &'static str) -> Self {
        self.to_type = to_type;
        self
    }

    pub(crate) fn from(&self) -> (&'static str, u32) {
        (self.event_type, self.version)
    }

    pub(crate) fn to(&self) -> (&'static str, u32) {
        (self.to_type, self.to_version)
    }

    fn upcast(&self, context: &Context) -> Upcasted {
        match (self.lift)(context) {
            Ok(data) => Upcasted::Replaced(Lifted {
                event_type: self.to_type.to_owned(),
                schema_version: self.to_version,
                data,
            }),
            Err(failure) => Upcasted::Failed(failure),
        }
    }
}

impl fmt::Debug for Lift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { event_type, version, to_type, to_version, lift: _ } = self;
        write!(f, "Lift({event_type} {version} -> {to_type} {to_version})")
    }
}

/// To name an upcaster is to use it, and saves its crate from warnings of dead code.
#[doc(hidden)]
pub fn is_upcaster<U: Upcaster>() {}

/// The descriptor of `U` as it leaves the component.
pub(crate) fn describe<U: Upcaster>() -> Descriptor {
    U::descriptor().of_kind(Kind::Upcaster).lifts(&U::lifts())
}

/// Takes every event of a batch one step on.
pub(crate) fn upcast<U: Upcaster>(events: &[Event]) -> Vec<Upcasted> {
    let lifts = U::lifts();
    let upcast = |context: Context| {
        let from = (context.event_type(), context.schema_version());
        let lift = lifts.iter().find(|lift| lift.from() == from);
        lift.map_or(Upcasted::Unchanged, |lift| lift.upcast(&context))
    };
    batch::contexts(events).map(upcast).collect()
}

/// Makes a component of an [`Upcaster`]. Once in a crate. On native targets it only checks the type, so
/// that the crate can be tested there.
#[macro_export]
#[rustfmt::skip]
macro_rules! export_upcaster {
    ($upcaster:ty) => {
        #[cfg(not(target_family = "wasm"))]
        const _: fn() = $crate::macros::is_upcaster::<$upcaster>;

        #[cfg(target_family = "wasm")]
        const _: () = {
            // Items of a macro are not hygienic: a plainer name could be the upcaster's own.
            type WasmillExports = $crate::macros::UpcasterPlugin<$upcaster>;
            $crate::macros::export_descriptor!(WasmillExports with_types_in $crate::macros::descriptor_world);
            $crate::macros::export_upcaster!(WasmillExports with_types_in $crate::macros::upcaster_world);
        };
    };
}
