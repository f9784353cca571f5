//! The log as SQL sees it.

use bytes::Bytes;
use sqlx::postgres::PgPool;
use uuid::Uuid;
use wasmill_core::clock::Timestamp;
use wasmill_core::event::{NewEvent, Origin, PreparedEvent};
use wasmill_core::name::StreamName;
use wasmill_core::store::{Expected, Store, StreamAppend, Unit};
use wasmill_test_postgres::shared;

use super::open;

#[tokio::test]
async fn events_can_be_queried_as_json() {
    let url = tokio::task::spawn_blocking(|| shared().create_database()).await.unwrap();
    let store = open(&url).await;
    let stream = StreamName::from_stored("заказ-1");
    let event = |n: u128, data: &'static [u8], content_type: Option<&str>| NewEvent {
        id: Uuid::from_u128(n),
        event_type: "placed".into(),
        schema_version: 200,
        key: Some("k".into()),
        time: Some(Timestamp(1_700_000_000_000_000)),
        content_type: content_type.map(str::to_owned),
        data: Bytes::from_static(data),
        tags: vec!["a:1".into(), "ü".into()],
        headers: vec![("x".into(), "1".into()), ("n".repeat(200), "v".repeat(300)), ("empty".into(), String::new())],
        origin: Origin { correlation_id: Some("c".into()), ..Origin::default() },
    };
    let events = [
        event(1, br#"{"total": 7, "items": [1, 2]}"#, None),
        event(2, br"{not json", None),
        event(3, b"\0\xff", Some("application/octet-stream")),
        event(4, br#""\u0000""#, None),
    ];
    let events = events.iter().map(|event| PreparedEvent::encode(event, &stream, Timestamp(1))).collect();
    let unit = Unit::append(StreamAppend { stream, expected: Expected::Any, events });
    store.commit(&[unit], Timestamp(1_700_000_000_000_007)).await.unwrap().remove(0).unwrap();

    let pool = PgPool::connect(&url).await.unwrap();
    const JSON: &str = r#"select "position", json ->> 'total', data from event where stream = 'заказ-1' order by 1"#;
    let rows: Vec<(i64, Option<String>, Vec<u8>)> = sqlx::query_as(JSON).fetch_all(&pool).await.unwrap();
    assert_eq!(rows[0], (0, Some("7".into()), br#"{"total": 7, "items": [1, 2]}"#.to_vec()));
    assert_eq!(rows.iter().map(|row| row.1.is_some()).collect::<Vec<_>>(), [true, false, false, false]);
    assert_eq!(rows[2].2, b"\0\xff", "bytes are what they were");
    const FACTS: &str = r#"
        select id, type, schema_version, key, tags, correlation_id, headers ->> 'x', length(headers ->> repeat('n', 200)),
            headers ->> 'empty'
        from event where chunk_position between 0 and 10 and "offset" = 1
            and "time" = '2023-11-14 22:13:20+00' and recorded_at = '2023-11-14 22:13:20.000007+00'"#;
    type Facts = (Uuid, String, i32, String, Vec<String>, String, String, i32, String);
    let facts: Facts = sqlx::query_as(FACTS).fetch_one(&pool).await.unwrap();
    let expected: Facts = (
        Uuid::from_u128(2),
        "placed".into(),
        200,
        "k".into(),
        vec!["a:1".into(), "ü".into()],
        "c".into(),
        "1".into(),
        300,
        String::new(),
    );
    assert_eq!(facts, expected);
    let mut connection = pool.acquire().await.unwrap();
    for setting in
        ["set min_parallel_table_scan_size = 0", "set parallel_setup_cost = 0", "set parallel_tuple_cost = 0"]
    {
        sqlx::query(setting).execute(&mut *connection).await.unwrap();
    }
    let count: i64 = sqlx::query_scalar("select count(json) from event").fetch_one(&mut *connection).await.unwrap();
    assert_eq!(count, 1, "also where the planner would rather work in parallel");
    store.close().await;
}
