//! What `plugins/README.md` says of `user-v1-to-v3`.
#![allow(clippy::unwrap_used, reason = "tests")]

use user_v1_to_v3::UserV1ToV3;
use wasmill_guest::Failure;
use wasmill_guest::testing::{TestEvent, UpcasterHarness};

fn lifted(version: u32, data: &str) -> Result<(u32, String), Failure> {
    let event = TestEvent::from_bytes("user.added", data.into()).schema_version(version);
    let lifted = UpcasterHarness::<UserV1ToV3>::new().lift(event)?;
    Ok((lifted.schema_version, String::from_utf8(lifted.data).unwrap()))
}

#[test]
fn every_version_becomes_the_newest() {
    for (version, data, expected) in [
        (
            1,
            r#"{"name":"Ada Lovelace","id":"u1"}"#,
            r#"{"id":"u1","firstName":"Ada","lastName":"Lovelace","country":"unknown"}"#,
        ),
        (
            1,
            r#"{"id":"u1","name":" Ada  King ","country":"GB"}"#,
            r#"{"id":"u1","country":"GB","firstName":"Ada","lastName":" King"}"#,
        ),
        (1, r#"{"name":"Plato"}"#, r#"{"firstName":"Plato","lastName":"","country":"unknown"}"#),
        (
            2,
            r#"{"firstName":"Ada","country":null,"score":1.50}"#,
            r#"{"firstName":"Ada","country":"unknown","score":1.50}"#,
        ),
        (3, r#"{"anything":1}"#, r#"{"anything":1}"#),
    ] {
        assert_eq!(lifted(version, data).unwrap(), (3, expected.to_owned()));
    }
}

#[test]
fn what_cannot_be_lifted_says_so() {
    for (version, data) in [(1, "{}"), (1, r#"{"name":7}"#), (1, "[]"), (2, "null"), (2, "")] {
        assert_eq!(lifted(version, data).unwrap_err().code, "user.malformed", "{data}");
    }
}

#[test]
fn other_types_are_left_alone() {
    let event = TestEvent::from_bytes("user.removed", b"{}".to_vec());
    let lifted = UpcasterHarness::<UserV1ToV3>::new().lift(event).unwrap();
    assert_eq!((lifted.event_type.as_str(), lifted.schema_version), ("user.removed", 1));
}

#[test]
fn the_descriptor_tells_its_lifts() {
    let descriptor = UpcasterHarness::<UserV1ToV3>::new().descriptor_json();
    let lifts =
        r#""lifts":[{"type":"user.added","version":1,"toVersion":2},{"type":"user.added","version":2,"toVersion":3}]"#;
    assert!(descriptor.contains(r#""kind":"upcaster""#) && descriptor.contains(lifts), "{descriptor}");
}
