//! Damage in the file is found when it is read, and told with its place.

use std::path::Path;

use wasmill_core::event::{Offset, Position};
use wasmill_core::log::filter::Filter;
use wasmill_core::name::StreamName;
use wasmill_core::store::{Direction, LogStore, Store, StoreError};

use super::{ALL, NOW, SqliteStore, append, commit, event, open, options, scratch, tamper};
use crate::sqlite::OpenError;

/// Flips the lowest bit of the byte where `text` begins, which stands in the file once.
fn flip(path: &Path, text: &str) {
    let mut bytes = std::fs::read(path).unwrap();
    let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(text.as_bytes())).collect();
    assert_eq!(places.len(), 1, "`{text}` stands in the file once");
    bytes[places[0]] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// A closed database with three appends, at positions 0, 2 and 4; the second says "needle".
async fn write(path: &Path) {
    let store = open(path).await;
    for (n, data) in [(0, "first"), (2, "needle"), (4, "third")] {
        commit(&store, append("s", [event("s", n + 1, data), event("s", n + 2, "more")])).await.unwrap();
    }
    store.close().await;
}

fn damage<T>(answer: Result<T, StoreError>) -> String {
    match answer {
        Err(StoreError::Damaged { what }) => what,
        Err(other) => panic!("another error: {other:?}"),
        Ok(_) => panic!("the damage is not found"),
    }
}

#[tokio::test]
async fn a_flipped_bit_is_found_and_its_chunk_named() {
    let (_directory, path) = scratch();
    write(&path).await;
    flip(&path, "needle");
    let store = open(&path).await;
    let stream = StreamName::from_stored("s");
    let found = [
        damage(store.read_log(Position(0), Direction::Forward, &Filter::default(), ALL).await),
        damage(store.read_log(Position(5), Direction::Backward, &Filter::default(), ALL).await),
        damage(store.read_stream(&stream, Offset(3), Direction::Forward, ALL).await),
        damage(store.find_events(&[uuid::Uuid::from_u128(3)]).await),
    ];
    for what in found {
        let place = format!("{}: the chunk at position 2: its checksum is", path.display());
        assert!(what.starts_with(&place), "{what}");
    }
    let behind = store.read_log(Position(4), Direction::Forward, &Filter::default(), ALL).await.unwrap();
    assert_eq!(behind.events.len(), 2, "what is not damaged can be read");
}

#[tokio::test]
async fn a_chunk_that_changed_places_is_found() {
    let changes = ["first_position = 9", "stream_id = 2", "first_offset = 9", "crc = 9"];
    for change in changes {
        let (_directory, path) = scratch();
        write(&path).await;
        // The head behind it all, or the end would be found to be wrong at once.
        let sql = format!("update log_head set next_position = 20; update chunk set {change} where first_position = 2");
        tamper(&path, sql).await;
        let store = open(&path).await;
        let stream = StreamName::from_stored("s");
        let what = match change {
            "first_offset = 9" => damage(store.read_stream(&stream, Offset(0), Direction::Forward, ALL).await),
            _ => damage(store.read_log(Position(0), Direction::Forward, &Filter::default(), ALL).await),
        };
        assert!(what.contains("the chunk at position "), "{what}");
    }
}

#[tokio::test]
async fn an_id_without_its_event_is_damage_and_not_a_new_event() {
    let (_directory, path) = scratch();
    write(&path).await;
    tamper(&path, "delete from chunk where first_position = 2").await;
    let store = open(&path).await;
    let again = store.commit(&[append("s", [event("s", 3, "needle")])], NOW).await;
    assert!(damage(again).ends_with("an event id is known, but its event is not in the log"));
}

#[tokio::test]
async fn a_page_of_the_file_that_is_overwritten_is_damage() {
    let (_directory, path) = scratch();
    write(&path).await;
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096..].fill(0x55);
    std::fs::write(&path, bytes).unwrap();
    let Err(error) = SqliteStore::open(options(&path)).await else { panic!("it opens") };
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    assert!(error.to_string().contains("is damaged: "), "{error}");
}

#[tokio::test]
async fn chunks_behind_the_head_are_damage() {
    let (_directory, path) = scratch();
    write(&path).await;
    tamper(&path, "update log_head set next_position = 5").await;
    let Err(error) = SqliteStore::open(options(&path)).await else { panic!("it opens") };
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    assert!(error.to_string().ends_with("its chunks end at position 6, its head says 5"), "{error}");
}
