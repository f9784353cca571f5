use serde_json::Error;

/// The types of event that a plugin understands. [`events!`](crate::events) writes this for an enum.
pub trait EventSet: Sized {
    /// `None` for a type that is not in the set: the plugin skips such an event.
    fn decode(event_type: &str, data: &[u8]) -> Option<Result<Self, Error>>;
}

/// Every event, undecoded: for plugins that look at [`Context`](crate::Context) alone, or that decode
/// by hand with [`Context::decode`](crate::Context::decode), which can borrow from the event.
#[derive(Clone, Copy, Debug)]
pub struct AnyEvent;

impl EventSet for AnyEvent {
    fn decode(_: &str, _: &[u8]) -> Option<Result<Self, Error>> {
        Some(Ok(AnyEvent))
    }
}

/// Declares an enum of events, each variant with the type that holds its data (anything that serde
/// can deserialise) and the event type that it stands for.
///
/// ```
/// #[derive(serde::Deserialize)]
/// struct Departed { carrier: String }
///
/// wasmill_guest::events! {
///     enum Flight {
///         Departed(Departed) = "flight.departed",
///     }
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! events {
    (
        $(#[$attribute:meta])*
        $visibility:vis enum $name:ident {
            $( $(#[$variant_attribute:meta])* $variant:ident($data:ty) = $event_type:literal ),+ $(,)?
        }
    ) => {
        $(#[$attribute])*
        $visibility enum $name {
            $( $(#[$variant_attribute])* $variant($data) ),+
        }

        impl $crate::EventSet for $name {
            fn decode(
                event_type: &str,
                data: &[u8],
            ) -> Option<Result<Self, $crate::macros::JsonError>> {
                match event_type {
                    $( $event_type => {
                        Some($crate::macros::from_json(data).map($name::$variant))
                    } )+
                    _ => None,
                }
            }
        }
    };
}
