//! Several stores on one database: none goes by what it knew before another one wrote.

use wasmill_core::event::Offset;
use wasmill_core::name::StreamName;
use wasmill_core::record::GenerationId;
use wasmill_core::store::{
    Change, DocumentChange, DocumentStore, Expected, Guard, Rejection, Store, StreamCheck, Unit,
};

use super::super::PostgresStore;
use super::{NOW, append, expecting, fresh_url, open, place};

/// What was found by a review: an expected offset was judged by a head that the writer had kept from its
/// own last append, and with every unit of the group turned away nothing made it look again. A publisher
/// that had read the other host's event was told that it expected too much.
#[tokio::test]
async fn expected_offsets_are_judged_by_what_other_hosts_have_appended() {
    let url = fresh_url().await;
    let (a, b) = (open(&url).await, open(&url).await);
    place(&a, &append("s", 1, 1)).await.unwrap();
    place(&b, &append("s", 2, 1)).await.unwrap();
    let unit = expecting(append("s", 3, 1), Expected::Exactly(Offset(1)));
    assert_eq!(place(&a, &unit).await.unwrap().first_offset, Offset(2));
    place(&b, &append("s", 4, 1)).await.unwrap();
    let unit = expecting(append("s", 5, 1), Expected::Exactly(Offset(2)));
    let Err(Rejection::ChecksFailed { offsets, .. }) = a.commit(&[unit], NOW).await.unwrap().remove(0) else {
        panic!("it is turned away")
    };
    assert_eq!(offsets[0].actual, Some(Offset(3)), "the actual offset is told");
}

#[tokio::test]
async fn a_unit_that_only_checks_sees_what_other_hosts_have_appended() {
    let url = fresh_url().await;
    let (a, b) = (open(&url).await, open(&url).await);
    place(&a, &append("s", 1, 1)).await.unwrap();
    place(&b, &append("s", 2, 1)).await.unwrap();
    for (offset, holds) in [(0, false), (1, true)] {
        let check = StreamCheck { stream: StreamName::from_stored("s"), expected: Expected::Exactly(Offset(offset)) };
        let unit = Unit { checks: vec![check], ..Unit::default() };
        assert_eq!(a.commit(&[unit], NOW).await.unwrap()[0].is_ok(), holds, "at {offset}");
    }
}

#[tokio::test]
async fn an_id_that_another_host_has_stored_is_known() {
    let url = fresh_url().await;
    let (a, b) = (open(&url).await, open(&url).await);
    place(&a, &append("s", 1, 1)).await.unwrap();
    let unit = append("s", 2, 2);
    let first = place(&b, &unit).await.unwrap();
    let again = place(&a, &unit).await.unwrap();
    assert!(again.duplicate);
    assert_eq!((again.first_position, again.first_offset), (first.first_position, first.first_offset));
}

#[tokio::test]
async fn of_two_hosts_that_count_under_a_guard_none_loses_a_count() {
    let url = fresh_url().await;
    let count = async |store: PostgresStore| {
        let mut passed = 0;
        while passed < 20 {
            let value = store.document(GenerationId::HOST, "own", "count").await.unwrap();
            let old: u64 = value.as_deref().map_or(0, |value| std::str::from_utf8(value).unwrap().parse().unwrap());
            let guards = vec![Guard { collection: "own".into(), key: "count".into(), value }];
            let value = Some((old + 1).to_string().into());
            let documents = vec![DocumentChange { collection: "own".into(), key: "count".into(), value }];
            let changes = vec![Change::PutDocuments { generation: GenerationId::HOST, documents }];
            let unit = Unit { guards, changes, ..Unit::default() };
            passed += usize::from(store.commit(&[unit], NOW).await.unwrap()[0].is_ok());
        }
        store
    };
    let (a, _) = tokio::join!(count(open(&url).await), count(open(&url).await));
    let counted = a.document(GenerationId::HOST, "own", "count").await.unwrap();
    assert_eq!(counted.as_deref(), Some(&b"40"[..]));
}
