//! Stream configurations.

use sqlx::postgres::PgConnection;
use wasmill_core::record::StreamConfigRecord;

use super::changes::Statement;

pub(super) fn put(pattern: &str, exact: bool, config: Option<&str>) -> Statement {
    const PUT: &str = "
        insert into stream_config (exact, pattern, config) values ($1, $2, $3)
        on conflict (exact, pattern) do update set config = excluded.config";
    const REMOVE: &str = "delete from stream_config where exact = $1 and pattern = $2";
    let pattern = pattern.to_owned();
    match config {
        Some(config) => sqlx::query(PUT).bind(exact).bind(pattern).bind(config.to_owned()),
        None => sqlx::query(REMOVE).bind(exact).bind(pattern),
    }
}

pub(super) async fn all(connection: &mut PgConnection) -> sqlx::Result<Vec<StreamConfigRecord>> {
    const ALL: &str = "select pattern, exact, config from stream_config order by exact, pattern";
    let rows: Vec<(String, bool, String)> = sqlx::query_as(ALL).fetch_all(connection).await?;
    let record = |(pattern, exact, config)| StreamConfigRecord { pattern, exact, config };
    Ok(rows.into_iter().map(record).collect())
}
