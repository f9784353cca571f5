//! Plugins, their revisions and components, and the generations of their read models.

use std::collections::BTreeMap;

use bytes::Bytes;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use wasmill_core::clock::Timestamp;
use wasmill_core::event::Position;
use wasmill_core::plugin::descriptor::Kind;
use wasmill_core::record::{GenerationId, GenerationRecord, GenerationState, PluginRecord, RevisionRecord};

use super::rows::{Rows, Statement};
use crate::number::signed;

/// Checkpoints that wait to be written together: of each generation the last.
#[derive(Debug, Default)]
pub(super) struct Checkpoints(BTreeMap<GenerationId, Position>);

impl Checkpoints {
    pub(super) fn add(&mut self, generation: GenerationId, checkpoint: Position) {
        self.0.insert(generation, checkpoint);
    }

    pub(super) fn flush(&mut self, statements: &mut Vec<Statement>) {
        // No bytes here, but every set of rows is bound in the same way.
        const MOVE: &str = "
            update generation set checkpoint = moved.value ->> 1
            from (select ? as packed), jsonb_each(?) moved where generation.id = moved.value ->> 0";
        let mut rows = Rows::new();
        for (generation, checkpoint) in std::mem::take(&mut self.0) {
            rows.push(&[signed(generation.0), signed(checkpoint.0)]);
        }
        if !rows.is_empty() {
            statements.push(rows.bind_to(sqlx::query(MOVE)));
        }
    }
}

pub(super) fn deploy(revision: &RevisionRecord, component: &Bytes) -> Statement {
    const DEPLOY: &str = "
        insert into component (sha256, bytes) values (?, ?) on conflict (sha256) do nothing;
        insert into plugin (name, kind, revision, created_at) values (?, ?, ?, ?)
        on conflict (name) do update set kind = excluded.kind, revision = excluded.revision;
        insert into revision (plugin, number, kind, sha256, descriptor, setup, deployed_at)
        values (?, ?, ?, ?, ?, ?, ?)
        on conflict (plugin, number) do update set
            kind = excluded.kind, sha256 = excluded.sha256,
            descriptor = excluded.descriptor, setup = excluded.setup, deployed_at = excluded.deployed_at;";
    let RevisionRecord { plugin, kind, number, sha256, descriptor, setup, deployed_at } = revision;
    let statement = sqlx::query(DEPLOY).bind(sha256.as_str()).bind(&component[..]);
    let statement = statement.bind(plugin.as_str()).bind(kind.as_str()).bind(*number).bind(deployed_at.0);
    let statement = statement.bind(plugin.as_str()).bind(*number).bind(kind.as_str());
    statement.bind(sha256.as_str()).bind(descriptor.as_str()).bind(setup.as_str()).bind(deployed_at.0)
}

/// Components that another plugin's revisions use stay.
pub(super) fn remove(plugin: &str) -> Statement {
    const REMOVE: &str = "
        delete from revision where plugin = ?;
        delete from plugin where name = ?;
        delete from component where sha256 not in (select sha256 from revision);";
    sqlx::query(REMOVE).bind(plugin).bind(plugin)
}

pub(super) fn create(generation: &GenerationRecord) -> Statement {
    const CREATE: &str = "
        insert into generation (id, plugin, revision, state, checkpoint, lifts, created_at)
        values (?, ?, ?, ?, ?, ?, ?)
        on conflict (id) do update set
            plugin = excluded.plugin, revision = excluded.revision, state = excluded.state,
            checkpoint = excluded.checkpoint, lifts = excluded.lifts, created_at = excluded.created_at";
    let GenerationRecord { id, plugin, revision, state, checkpoint, lifts, created_at } = generation;
    let statement = sqlx::query(CREATE).bind(signed(id.0)).bind(plugin.as_str()).bind(*revision);
    statement.bind(state.as_str()).bind(signed(checkpoint.0)).bind(signed(*lifts)).bind(created_at.0)
}

pub(super) fn set_state(generation: GenerationId, state: GenerationState) -> Statement {
    sqlx::query("update generation set state = ? where id = ?").bind(state.as_str()).bind(signed(generation.0))
}

pub(super) fn forget(generation: GenerationId) -> Statement {
    sqlx::query("delete from generation where id = ?").bind(signed(generation.0))
}

pub(super) async fn plugins(connection: &mut SqliteConnection) -> sqlx::Result<Vec<PluginRecord>> {
    const LIST: &str = "
        select revision.plugin, number, revision.kind, sha256, descriptor, setup, deployed_at, plugin.kind, created_at
        from plugin join revision on revision.plugin = plugin.name and revision.number = plugin.revision
        order by plugin.name";
    let plugin = |row: &SqliteRow| -> sqlx::Result<PluginRecord> {
        let current = revision(row)?;
        let kind = known(row.try_get(7)?, Kind::from_stored)?;
        Ok(PluginRecord { name: current.plugin.clone(), kind, created_at: Timestamp(row.try_get(8)?), current })
    };
    sqlx::query(LIST).fetch_all(connection).await?.iter().map(plugin).collect()
}

pub(super) async fn revisions(connection: &mut SqliteConnection) -> sqlx::Result<Vec<RevisionRecord>> {
    const LIST: &str = "
        select plugin, number, kind, sha256, descriptor, setup, deployed_at from revision order by plugin, number";
    sqlx::query(LIST).fetch_all(connection).await?.iter().map(revision).collect()
}

/// A row that begins with a revision's columns in the order of the record.
fn revision(row: &SqliteRow) -> sqlx::Result<RevisionRecord> {
    Ok(RevisionRecord {
        plugin: row.try_get(0)?,
        number: row.try_get(1)?,
        kind: known(row.try_get(2)?, Kind::from_stored)?,
        sha256: row.try_get(3)?,
        descriptor: row.try_get(4)?,
        setup: row.try_get(5)?,
        deployed_at: Timestamp(row.try_get(6)?),
    })
}

pub(super) async fn generations(connection: &mut SqliteConnection) -> sqlx::Result<Vec<GenerationRecord>> {
    const LIST: &str = "select id, plugin, revision, state, checkpoint, lifts, created_at from generation order by id";
    let generation = |row: &SqliteRow| -> sqlx::Result<GenerationRecord> {
        Ok(GenerationRecord {
            id: GenerationId(row.try_get::<i64, _>(0)?.cast_unsigned()),
            plugin: row.try_get(1)?,
            revision: row.try_get(2)?,
            state: known(row.try_get(3)?, GenerationState::from_stored)?,
            checkpoint: Position(row.try_get::<i64, _>(4)?.cast_unsigned()),
            lifts: row.try_get::<i64, _>(5)?.cast_unsigned(),
            created_at: Timestamp(row.try_get(6)?),
        })
    };
    sqlx::query(LIST).fetch_all(connection).await?.iter().map(generation).collect()
}

pub(super) async fn component(connection: &mut SqliteConnection, sha256: &str) -> sqlx::Result<Option<Bytes>> {
    let query = sqlx::query_scalar("select bytes from component where sha256 = ?").bind(sha256);
    let bytes: Option<Vec<u8>> = query.fetch_optional(connection).await?;
    Ok(bytes.map(Bytes::from))
}

/// A word that stands for one of a few things.
fn known<T>(word: &str, read: impl Fn(&str) -> Option<T>) -> sqlx::Result<T> {
    read(word).ok_or_else(|| sqlx::Error::Decode(format!("`{word}` is not known here").into()))
}
