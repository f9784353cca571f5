//! Which databases are opened, and what is said of the others.

use std::sync::Arc;

use sqlx::postgres::PgPool;
use wasmill_core::clock::Timestamp;
use wasmill_core::store::conformance::{append, events};
use wasmill_core::store::{Expected, LogStore, PluginStore, Store};
use wasmill_test_postgres::shared;

use super::super::migrations::NEWEST;
use super::super::{OpenError, PostgresOptions, PostgresStore, schema_version};
use super::open;

async fn database() -> String {
    tokio::task::spawn_blocking(|| shared().create_database()).await.unwrap()
}

async fn tamper(url: &str, sql: &'static str) {
    let pool = PgPool::connect(url).await.unwrap();
    sqlx::raw_sql(sql).execute(&pool).await.unwrap();
    pool.close().await;
}

async fn refused(options: PostgresOptions) -> OpenError {
    match PostgresStore::open(options).await {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn of_hosts_that_start_together_one_migrates_and_the_others_wait() {
    let url: Arc<str> = database().await.into();
    let starting: Vec<_> = (0..4)
        .map(|_| {
            let url = Arc::clone(&url);
            tokio::spawn(async move { open(&url).await })
        })
        .collect();
    let mut logs = Vec::new();
    for store in starting {
        let store = store.await.unwrap();
        logs.push(store.head().await.unwrap().log_id);
        store.close().await;
    }
    logs.dedup();
    assert_eq!(logs.len(), 1, "there is one log");
    assert_eq!(schema_version(&url).await.unwrap().found, Some(NEWEST));
    tamper(&url, "do $$ begin if (select count(*) from host) > 0 then raise 'hosts left rows behind'; end if; end $$")
        .await;
}

#[tokio::test]
async fn a_database_is_not_migrated_unless_that_is_allowed() {
    let url = database().await;
    assert_eq!(schema_version(&url).await.unwrap().found, None);
    let error = refused(PostgresOptions { migrate: false, ..PostgresOptions::at(&url) }).await;
    assert!(matches!(error, OpenError::Outdated { found: 0, .. }), "{error}");
    assert!(error.to_string().contains("wasmill migrate"), "{error}");
    assert_eq!(schema_version(&url).await.unwrap().found, None, "nothing was written");
    open(&url).await.close().await;
    PostgresStore::open(PostgresOptions { migrate: false, ..PostgresOptions::at(&url) }).await.unwrap().close().await;
}

#[tokio::test]
async fn a_newer_or_an_altered_database_is_refused() {
    let url = database().await;
    open(&url).await.close().await;
    tamper(
        &url,
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
        values (99, 'later', true, '', 0)",
    )
    .await;
    for migrate in [true, false] {
        let error = refused(PostgresOptions { migrate, ..PostgresOptions::at(&url) }).await;
        assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error}");
    }
    tamper(
        &url,
        "delete from _sqlx_migrations where version = 99; update _sqlx_migrations set checksum = 'x' where version = 1",
    )
    .await;
    let error = refused(PostgresOptions::at(&url)).await;
    assert!(matches!(error, OpenError::Altered { version: 1, .. }), "{error}");
}

#[tokio::test]
async fn a_log_behind_its_read_models_or_its_chunks_is_refused() {
    let url = database().await;
    let store = open(&url).await;
    let unit = append("s", Expected::Any, events("s", 1, 3));
    store.commit(&[unit], Timestamp(1)).await.unwrap().remove(0).unwrap();
    store.close().await;
    tamper(
        &url,
        "insert into generation (id, plugin, revision, state, checkpoint, lifts, created_at)\
         values (1, 'p', 1, 'serving', 9, 0, 0)",
    )
    .await;
    let error = refused(PostgresOptions::at(&url)).await;
    assert!(matches!(error, OpenError::Behind { .. }) && error.to_string().contains("`p`"), "{error}");
    tamper(&url, "delete from generation; update log_head set next_position = 2").await;
    let error = refused(PostgresOptions::at(&url)).await;
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn what_cannot_be_reached_is_named_without_its_password() {
    let error = refused(PostgresOptions::at("postgres://user:geheim@127.0.0.1:1/events")).await;
    let text = wasmill_core::tasks::chain(&error);
    assert!(text.contains("127.0.0.1:1/events") && !text.contains("geheim"), "{text}");
    let error = refused(PostgresOptions::at("mysql://user:geheim@h/d")).await;
    assert!(matches!(error, OpenError::Url(_)) && !wasmill_core::tasks::chain(&error).contains("geheim"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_whose_runtime_has_no_sockets_may_read() {
    let store = Arc::new(open(&database().await).await);
    let reading = Arc::clone(&store);
    let read = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { reading.generations().await.map(|generations| generations.len()) })
    });
    assert_eq!(read.await.unwrap().unwrap(), 0, "plugins read in this way, and a connection has to be made first");
    store.close().await;
}
