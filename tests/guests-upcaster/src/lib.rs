//! An upcaster that does what it is told: it lifts `versioned` from version 1 to 2 and from 2 to 3, where
//! `do` in an event's data says what else it does, mostly harm.

use serde_json::{Value, json};
use wasmill_guest::{Descriptor, Failure, Fields, Lift, Upcaster};

struct TestUpcaster;

impl Upcaster for TestUpcaster {
    fn descriptor() -> Descriptor {
        Descriptor::new("test-upcaster", env!("CARGO_PKG_VERSION")).describe("Lifts what it is told")
    }

    fn lifts() -> Vec<Lift> {
        vec![
            // `n` becomes `count`.
            Lift::json("versioned", 1, 2, |mut fields: Fields| {
                told(&fields)?;
                let count: u64 = fields.get("n").ok_or_else(|| Failure::reject("test.no-n", "there is no `n`"))?;
                fields.remove("n");
                fields.set("count", &count)?;
                Ok(fields)
            }),
            // The count is doubled, and it is said which version it was first.
            Lift::json("versioned", 2, 3, |mut fields: Fields| {
                let count: u64 = fields.get("count").unwrap_or(0);
                fields.set("doubled", &(2 * count))?;
                Ok(fields)
            }),
            Lift::json("old-name", 1, 2, |value: Value| Ok(json!({ "was": value }))).renamed("new-name"),
        ]
    }
}

fn told(fields: &Fields) -> Result<(), Failure> {
    let what: Option<String> = fields.get("do");
    match what.as_deref() {
        Some("loop") => loop {
            std::hint::black_box(());
        },
        Some("panic") => panic!("told to panic"),
        Some("fail") => Err(Failure::reject("test.failed", "told to fail")),
        Some("gigabyte") => {
            std::hint::black_box(vec![1_u8; 1 << 30]);
            Ok(())
        }
        _ => Ok(()),
    }
}

#[cfg(not(target_family = "wasm"))]
wasmill_guest::export_upcaster!(TestUpcaster);

/// Exported by hand, since the SDK always gives one answer for each event.
#[cfg(target_family = "wasm")]
mod export {
    use upcaster_world::exports::wasmill::plugin::upcaster::{Guest, Upcasted};
    use wasmill_guest::macros::{UpcasterPlugin, descriptor_world, upcaster_world};
    use wasmill_guest::{Event, Failure};

    type Whole = UpcasterPlugin<super::TestUpcaster>;
    struct TooFew;

    impl descriptor_world::exports::wasmill::plugin::descriptor::Guest for TooFew {
        fn describe() -> String {
            <Whole as descriptor_world::exports::wasmill::plugin::descriptor::Guest>::describe()
        }
    }

    impl Guest for TooFew {
        fn upcast(events: Vec<Event>) -> Result<Vec<Upcasted>, Failure> {
            let too_few = events.iter().any(|event| event.event_type == "too-few");
            let mut answers = <Whole as Guest>::upcast(events)?;
            if too_few {
                answers.pop();
            }
            Ok(answers)
        }
    }

    wasmill_guest::macros::export_descriptor!(TooFew with_types_in descriptor_world);
    wasmill_guest::macros::export_upcaster!(TooFew with_types_in upcaster_world);
}
