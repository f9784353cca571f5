//! What `plugins/README.md` says of `user-statistics`.
#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};
use user_statistics::{STATISTICS, Statistics, USERS, UserStatistics};
use wasmill_guest::testing::{Harness, TestEvent};

fn added(data: Value) -> TestEvent {
    TestEvent::new("user.added", &data)
}

fn removed(id: &str) -> TestEvent {
    TestEvent::new("user.removed", &json!({ "id": id }))
}

#[test]
fn users_are_counted_in_all_and_by_country() {
    for batch in [1, 2, 256] {
        let mut users = Harness::<UserStatistics>::new().batches_of(batch);
        let events = [
            added(json!({ "id": "ada", "country": "GB" })),
            added(json!({ "id": "ada", "country": "NO" })),
            added(json!({ "id": "grace" })),
            added(json!({ "id": "kay", "country": null })),
            removed("grace"),
            removed("grace"),
            removed("nobody"),
            TestEvent::from_bytes("user.pictured", vec![0xff]),
        ];
        users.apply(events).unwrap();
        let statistics = |added, removed| Statistics { added, removed, current: added - removed };
        let expected =
            [("all", statistics(3, 1)), ("country.GB", statistics(1, 0)), ("country.unknown", statistics(2, 1))];
        assert_eq!(users.scan(&STATISTICS, ""), expected.map(|(key, document)| (key.to_owned(), document)));
        let ids: Vec<_> = users.scan(&USERS, "").into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, ["ada", "kay"]);
        assert_eq!(users.get_bytes("statistics", "all"), Some(&br#"{"added":3,"removed":1,"current":2}"#[..]));
    }
}

#[test]
fn what_is_not_a_user_is_rejected() {
    let bad = [json!({}), json!({ "id": "" }), json!({ "id": 7 }), json!(["ada", "GB"]), json!(null), json!("ada")];
    let bad_country = [json!({ "id": "a", "country": "" }), json!({ "id": "a", "country": 47 })];
    for data in bad.into_iter().chain(bad_country) {
        let mut users = Harness::<UserStatistics>::new();
        let failure = users.apply([added(json!({ "id": "ada" })), added(data.clone())]).unwrap_err();
        assert_eq!((failure.code.as_str(), failure.event_index), ("user.malformed", Some(1)), "{data}");
        assert_eq!(users.documents().count(), 0);
    }
}
