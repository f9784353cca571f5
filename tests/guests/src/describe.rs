use wasmill_guest::{Descriptor, Setting, Subscription};

use crate::{BOMBS, COUNTS, DETAILS, ECHOES, PROBES, STAMPS};

pub(crate) fn descriptor() -> Descriptor {
    if cfg!(feature = "describe-loops") {
        crate::harm::spin();
    }
    if cfg!(feature = "describe-gigabyte") {
        crate::harm::gigabyte();
    }
    Descriptor::new("test-guest", env!("CARGO_PKG_VERSION"))
        .describe("Does what it is told, mostly harm")
        .subscribe(Subscription::to_streams(["guest-*", "cdevents-*"]))
        .collection(&COUNTS)
        .collection(&ECHOES)
        .collection(&DETAILS)
        .collection(&PROBES)
        .collection(&BOMBS)
        .collection(&STAMPS)
        .setting(Setting::new("stamp").default("none"))
}

/// A descriptor that the SDK has no words for, exported by hand.
#[cfg(all(feature = "bad-descriptor", target_family = "wasm"))]
mod bad {
    use wasmill_guest::macros::{descriptor_world, projection_world};
    use wasmill_guest::{Event, Failure};

    struct BadDescriptor;

    impl descriptor_world::exports::wasmill::plugin::descriptor::Guest for BadDescriptor {
        fn describe() -> String {
            if cfg!(feature = "many-collections") {
                let collections: Vec<String> = (0..10_000).map(|n| format!(r#"{{"name":"c{n}"}}"#)).collect();
                let collections = collections.join(",");
                return format!(
                    r#"{{"name":"test-guest","version":"1.0.0","kind":"projection","collections":[{collections}]}}"#
                );
            }
            r#"{"name":"test-guest","version":"1.0.0","kind":"projection","colour":"red"}"#.to_owned()
        }
    }

    impl projection_world::exports::wasmill::plugin::projection::Guest for BadDescriptor {
        fn apply(_: Vec<Event>) -> Result<(), Failure> {
            Ok(())
        }
    }

    wasmill_guest::macros::export_descriptor!(BadDescriptor with_types_in descriptor_world);
    wasmill_guest::macros::export_projection!(BadDescriptor with_types_in projection_world);
}
