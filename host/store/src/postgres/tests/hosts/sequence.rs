//! A store that is wrong on purpose: each position comes from a sequence, as many an event store on
//! PostgreSQL has it. It hands positions out in order, and what commits in another order is late.

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::PgPool;
use wasmill_core::clock::Timestamp;
use wasmill_core::event::{Chunk, Position};
use wasmill_core::store::plan::Snapshot;
use wasmill_core::store::wrapped::Wrapped;
use wasmill_core::store::{Committed, Rejection, Store, StoreError, Unit};

use crate::heads::Heads;
use crate::postgres::log::Rows;
use crate::postgres::{PostgresStore, streams};

struct Sequence {
    store: PostgresStore,
    pool: PgPool,
}

/// Beside others on the same database.
pub(super) async fn over(store: PostgresStore, url: &str) -> Arc<dyn Store> {
    let pool = PgPool::connect(url).await.expect("it connects");
    let make = "create sequence if not exists place minvalue 0 start 0";
    sqlx::query(make).execute(&pool).await.expect("the sequence is made");
    Arc::new(Sequence { store, pool })
}

impl Sequence {
    /// Units of one event each, for streams that nobody else appends to. What a host writes for itself is rejected,
    /// as it is where another host has the lead.
    async fn append(&self, units: &[Unit], now: Timestamp) -> sqlx::Result<Vec<Result<Committed, Rejection>>> {
        let mut transaction = self.pool.begin().await?;
        let mut all = Vec::new();
        for unit in units {
            let place: i64 = sqlx::query_scalar("select nextval('place')").fetch_one(&mut *transaction).await?;
            // New streams need an id that is theirs alone: the place is.
            let mut heads = Heads::new(place + 1);
            let known = streams::heads(&mut transaction, &mut heads, unit.streams()).await?;
            let mut snapshot = Snapshot {
                next_position: Position(place.cast_unsigned()),
                streams: known.iter().map(|(name, head)| (name.clone(), head.stream)).collect(),
                ..Snapshot::default()
            };
            let plan = match snapshot.plan(unit, now) {
                Ok(plan) => plan,
                Err(rejection) => {
                    all.push(Err(rejection));
                    continue;
                }
            };
            let chunks: Vec<&Chunk> = plan.chunks.iter().collect();
            let rows = heads.after(&known, chunks.iter().copied());
            Rows::of(&chunks, rows, vec!["tested".into()]).write().execute(&mut *transaction).await?;
            sqlx::query("select pg_sleep(random() * 0.004)").execute(&mut *transaction).await?;
            all.push(Ok(Committed { appends: plan.appends, chunks: plan.chunks, removed: 0 }));
        }
        const HEAD: &str = "update log_head set next_position = greatest(next_position, $1)";
        let next =
            all.iter().flatten().flat_map(|unit: &Committed| &unit.appends).map(|at| at.first_position.0 + 1).max();
        sqlx::query(HEAD).bind(next.unwrap_or_default().cast_signed()).execute(&mut *transaction).await?;
        sqlx::query("select pg_notify('wasmill', '')").execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(all)
    }
}

#[async_trait]
impl Wrapped for Sequence {
    fn wrapped(&self) -> &dyn Store {
        &self.store
    }

    async fn commit(&self, units: &[Unit], now: Timestamp) -> Result<Vec<Result<Committed, Rejection>>, StoreError> {
        Ok(self.append(units, now).await.expect("the server answers"))
    }
}
