//! Plugins, their revisions and components, and the generations of their read models.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};
use wasmill_core::clock::Timestamp;
use wasmill_core::event::Position;
use wasmill_core::plugin::descriptor::Kind;
use wasmill_core::record::{GenerationId, GenerationRecord, GenerationState, PluginRecord, RevisionRecord};

use super::changes::Statement;
use crate::number::signed;

/// Checkpoints that wait to be written together: of each generation the last.
#[derive(Debug, Default)]
pub(super) struct Checkpoints(BTreeMap<GenerationId, Position>);

impl Checkpoints {
    pub(super) fn add(&mut self, generation: GenerationId, checkpoint: Position) {
        self.0.insert(generation, checkpoint);
    }

    pub(super) fn flush(&mut self, statements: &mut Vec<Statement>) {
        const MOVE: &str = "
            update generation set checkpoint = moved.checkpoint
            from unnest($1::bigint[], $2::bigint[]) moved (id, checkpoint) where generation.id = moved.id";
        if self.0.is_empty() {
            return;
        }
        let rows = std::mem::take(&mut self.0).into_iter();
        let (ids, checkpoints): (Vec<i64>, Vec<i64>) = rows.map(|(id, at)| (signed(id.0), signed(at.0))).unzip();
        statements.push(sqlx::query(MOVE).bind(ids).bind(checkpoints));
    }
}

pub(super) fn deploy(revision: &RevisionRecord, component: &Bytes) -> [Statement; 3] {
    const COMPONENT: &str = "insert into component (sha256, bytes) values ($1, $2) on conflict (sha256) do nothing";
    const PLUGIN: &str = "
        insert into plugin (name, kind, revision, created_at) values ($1, $2, $3, $4)
        on conflict (name) do update set kind = excluded.kind, revision = excluded.revision";
    const REVISION: &str = "
        insert into revision (plugin, number, kind, sha256, descriptor, setup, deployed_at)
        values ($1, $2, $3, $4, $5, $6, $7)
        on conflict (plugin, number) do update set
            kind = excluded.kind, sha256 = excluded.sha256,
            descriptor = excluded.descriptor, setup = excluded.setup, deployed_at = excluded.deployed_at";
    let RevisionRecord { plugin, kind, number, sha256, descriptor, setup, deployed_at } = revision.clone();
    let number = i64::from(number);
    let new = sqlx::query(PLUGIN).bind(plugin.clone()).bind(kind.as_str()).bind(number).bind(deployed_at.0);
    let row = sqlx::query(REVISION).bind(plugin).bind(number).bind(kind.as_str()).bind(sha256.clone());
    [
        sqlx::query(COMPONENT).bind(sha256).bind(component.to_vec()),
        new,
        row.bind(descriptor).bind(setup).bind(deployed_at.0),
    ]
}

/// Components that another plugin's revisions use stay.
pub(super) fn remove(plugin: &str) -> [Statement; 3] {
    [
        sqlx::query("delete from revision where plugin = $1").bind(plugin.to_owned()),
        sqlx::query("delete from plugin where name = $1").bind(plugin.to_owned()),
        sqlx::query("delete from component c where not exists (select from revision r where r.sha256 = c.sha256)"),
    ]
}

pub(super) fn create(generation: &GenerationRecord) -> Statement {
    const CREATE: &str = "
        insert into generation (id, plugin, revision, state, checkpoint, lifts, created_at)
        values ($1, $2, $3, $4, $5, $6, $7)
        on conflict (id) do update set
            plugin = excluded.plugin, revision = excluded.revision, state = excluded.state,
            checkpoint = excluded.checkpoint, lifts = excluded.lifts, created_at = excluded.created_at";
    let GenerationRecord { id, plugin, revision, state, checkpoint, lifts, created_at } = generation.clone();
    let statement = sqlx::query(CREATE).bind(signed(id.0)).bind(plugin).bind(i64::from(revision));
    statement.bind(state.as_str()).bind(signed(checkpoint.0)).bind(signed(lifts)).bind(created_at.0)
}

pub(super) fn set_state(generation: GenerationId, state: GenerationState) -> Statement {
    let statement = sqlx::query("update generation set state = $1 where id = $2");
    statement.bind(state.as_str()).bind(signed(generation.0))
}

pub(super) fn forget(generation: GenerationId) -> Statement {
    sqlx::query("delete from generation where id = $1").bind(signed(generation.0))
}

/// Checkpoints of those generations that exist, locked until the transaction ends.
pub(super) async fn lock(
    connection: &mut PgConnection,
    generations: Vec<i64>,
) -> sqlx::Result<HashMap<GenerationId, Position>> {
    const LOCK: &str = "select id, checkpoint from generation where id = any($1) order by id for update";
    let rows: Vec<(i64, i64)> = sqlx::query_as(LOCK).bind(generations).fetch_all(connection).await?;
    let checkpoint = |(id, at): (i64, i64)| (GenerationId(id.cast_unsigned()), Position(at.cast_unsigned()));
    Ok(rows.into_iter().map(checkpoint).collect())
}

pub(super) async fn plugins(connection: &mut PgConnection) -> sqlx::Result<Vec<PluginRecord>> {
    const LIST: &str = "
        select revision.plugin, number, revision.kind, sha256, descriptor, setup, deployed_at, plugin.kind, created_at
        from plugin join revision on revision.plugin = plugin.name and revision.number = plugin.revision
        order by plugin.name";
    let plugin = |row: &PgRow| -> sqlx::Result<PluginRecord> {
        let current = revision(row)?;
        let kind = known(row.try_get(7)?, Kind::from_stored)?;
        Ok(PluginRecord { name: current.plugin.clone(), kind, created_at: Timestamp(row.try_get(8)?), current })
    };
    sqlx::query(LIST).fetch_all(connection).await?.iter().map(plugin).collect()
}

pub(super) async fn revisions(connection: &mut PgConnection) -> sqlx::Result<Vec<RevisionRecord>> {
    const LIST: &str = "
        select plugin, number, kind, sha256, descriptor, setup, deployed_at from revision order by plugin, number";
    sqlx::query(LIST).fetch_all(connection).await?.iter().map(revision).collect()
}

/// A row that begins with a revision's columns in the order of the record.
fn revision(row: &PgRow) -> sqlx::Result<RevisionRecord> {
    Ok(RevisionRecord {
        plugin: row.try_get(0)?,
        number: count(row, 1)?,
        kind: known(row.try_get(2)?, Kind::from_stored)?,
        sha256: row.try_get(3)?,
        descriptor: row.try_get(4)?,
        setup: row.try_get(5)?,
        deployed_at: Timestamp(row.try_get(6)?),
    })
}

pub(super) async fn generations(connection: &mut PgConnection) -> sqlx::Result<Vec<GenerationRecord>> {
    const LIST: &str = "select id, plugin, revision, state, checkpoint, lifts, created_at from generation order by id";
    let generation = |row: &PgRow| -> sqlx::Result<GenerationRecord> {
        Ok(GenerationRecord {
            id: GenerationId(row.try_get::<i64, _>(0)?.cast_unsigned()),
            plugin: row.try_get(1)?,
            revision: count(row, 2)?,
            state: known(row.try_get(3)?, GenerationState::from_stored)?,
            checkpoint: Position(row.try_get::<i64, _>(4)?.cast_unsigned()),
            lifts: row.try_get::<i64, _>(5)?.cast_unsigned(),
            created_at: Timestamp(row.try_get(6)?),
        })
    };
    sqlx::query(LIST).fetch_all(connection).await?.iter().map(generation).collect()
}

pub(super) async fn component(connection: &mut PgConnection, sha256: &str) -> sqlx::Result<Option<Bytes>> {
    let query = sqlx::query_scalar("select bytes from component where sha256 = $1").bind(sha256);
    let bytes: Option<Vec<u8>> = query.fetch_optional(connection).await?;
    Ok(bytes.map(Bytes::from))
}

fn count(row: &PgRow, column: usize) -> sqlx::Result<u32> {
    u32::try_from(row.try_get::<i64, _>(column)?).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// A word that stands for one of a few things.
pub(super) fn known<T>(word: &str, read: impl Fn(&str) -> Option<T>) -> sqlx::Result<T> {
    read(word).ok_or_else(|| sqlx::Error::Decode(format!("`{word}` is not known here").into()))
}
