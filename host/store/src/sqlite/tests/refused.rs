//! Files that are not opened: each is named for what it is, and nothing is written to it.

use std::error::Error;
use std::path::Path;

use wasmill_core::store::{Change, Store, Unit};

use super::{append, commit, event, generation, open, options, scratch, stranger, tamper};
use crate::sqlite::{OpenError, SqliteStore};

/// Opens what must not open, and gives the error with its message and those of its sources.
async fn refusal(path: &Path) -> (OpenError, String) {
    let Err(error) = SqliteStore::open(options(path)).await else { panic!("it opens") };
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        message += &format!(": {error}");
        source = error.source();
    }
    assert!(message.contains(path.to_str().unwrap()), "the file is named: {message}");
    (error, message)
}

/// A closed database with two events.
async fn write(path: &Path) {
    let store = open(path).await;
    commit(&store, append("s", [event("s", 1, "a"), event("s", 2, "b")])).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
    let (_directory, path) = scratch();
    write(&path).await;
    tamper(&path, "insert into _sqlx_migrations values (99, 'later', '2030-01-01', true, x'00', 0)").await;
    let (error, message) = refusal(&path).await;
    assert!(matches!(error, OpenError::Newer { found: 99, known: 1, .. }), "{error:?}");
    assert!(message.ends_with("was written by a newer Wasmill: it has version 99, this binary knows up to 1"));
}

#[tokio::test]
async fn a_database_whose_migration_was_altered_is_refused() {
    let (_directory, path) = scratch();
    write(&path).await;
    tamper(&path, "update _sqlx_migrations set checksum = x'00'").await;
    let (error, message) = refusal(&path).await;
    assert!(matches!(error, OpenError::Altered { version: 1, .. }), "{error:?}");
    assert!(
        message.starts_with("version 1 of the database") && message.ends_with("not the one that this binary knows")
    );
}

#[tokio::test]
async fn databases_of_other_programs_are_refused_and_left_as_they_were() {
    let made = [
        "create table customer (name text)",
        "pragma application_id = 7",
        // The migrator's own table does not make it ours: others use the same library.
        "create table _sqlx_migrations (version bigint primary key, description text not null,
            installed_on timestamp not null default current_timestamp, success boolean not null,
            checksum blob not null, execution_time bigint not null);
        insert into _sqlx_migrations values (20250101000000, 'init', '2025-01-01', true, x'00', 0);
        create table customer (name text)",
    ];
    for sql in made {
        let (_directory, path) = scratch();
        tamper(&path, sql).await;
        let before = std::fs::read(&path).unwrap();
        let (error, message) = refusal(&path).await;
        assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
        assert!(message.ends_with("is not a database of Wasmill"), "{message}");
        assert!(std::fs::read(&path).unwrap() == before, "it was not touched");
    }
}

#[tokio::test]
async fn files_that_are_no_database_are_refused_and_left_as_they_were() {
    for content in ["short".to_owned(), "not a database ".repeat(100)] {
        let (_directory, path) = scratch();
        std::fs::write(&path, &content).unwrap();
        let (error, _) = refusal(&path).await;
        assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), content, "it was not touched");
    }
}

#[tokio::test]
async fn an_empty_file_is_a_new_database() {
    let (_directory, path) = scratch();
    std::fs::write(&path, "").unwrap();
    write(&path).await;
}

#[tokio::test]
async fn a_path_that_cannot_be_opened_is_told_with_its_reason() {
    let (directory, path) = scratch();
    for path in [directory.path().join("missing").join("wasmill.db"), directory.path().into()] {
        let (error, message) = refusal(&path).await;
        assert!(matches!(error, OpenError::Inaccessible { .. }), "{error:?}");
        assert!(message.contains("cannot be opened: "), "{message}");
    }
    assert!(!path.exists());
}

#[tokio::test]
async fn a_locked_database_is_refused() {
    let (_directory, path) = scratch();
    write(&path).await;
    let mut connection = stranger(&path).await;
    let lock = "pragma locking_mode = exclusive; begin exclusive; create table held (id integer)";
    sqlx::raw_sql(lock).execute(&mut connection).await.unwrap();
    let (error, message) = refusal(&path).await;
    assert!(matches!(error, OpenError::Locked { .. }), "{error:?}");
    assert!(message.contains("is locked by another process: "), "{message}");
    drop(connection);
}

#[tokio::test]
async fn a_file_system_without_write_ahead_log_is_refused() {
    // SQLite keeps no such log beside a database in memory, as it keeps none where memory cannot be
    // shared.
    let (error, message) = refusal(Path::new(":memory:")).await;
    assert!(matches!(error, OpenError::Inaccessible { .. }), "{error:?}");
    assert!(message.contains("cannot keep a write-ahead log beside it, only a journal of mode `memory`"), "{message}");
}

#[tokio::test]
async fn a_log_behind_its_read_models_is_refused() {
    let (_directory, path) = scratch();
    write(&path).await;
    let store = open(&path).await;
    commit(&store, Unit::change(vec![Change::CreateGeneration(generation(5))])).await.unwrap();
    store.close().await;
    tamper(&path, "update generation set checkpoint = 3").await;
    let (error, message) = refusal(&path).await;
    assert!(matches!(error, OpenError::Behind { .. }), "{error:?}");
    assert!(message.contains("ends at position 2, but generation 5 of plugin `flights` has read up to 3"), "{message}");
}
