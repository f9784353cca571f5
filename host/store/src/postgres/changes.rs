//! The row changes of a group as statements, in the order of the units.

use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::Query;
use wasmill_core::store::Change;

use super::configs;
use super::documents::{self, Pending};
use super::plugins::{self, Checkpoints};

/// A statement with its parameters.
pub(super) type Statement = Query<'static, Postgres, PgArguments>;

#[derive(Default)]
pub(super) struct Changes {
    pub(super) statements: Vec<Statement>,
    /// A statement whose row count belongs to a unit's answer, and that unit.
    pub(super) removals: Vec<(usize, usize)>,
    /// Other hosts have to be told.
    pub(super) revises: bool,
}

impl Changes {
    /// Takes each change with the index of its unit. Documents and checkpoints, which are most of all
    /// changes, gather until a change of another kind comes: what is then written last is the newest.
    pub(super) fn of<'a>(changes: impl Iterator<Item = (usize, &'a Change)>) -> Self {
        let mut all = Self::default();
        let (mut puts, mut checkpoints) = (Pending::default(), Checkpoints::default());
        for (unit, change) in changes {
            let statements = match change {
                Change::PutDocuments { generation, documents } => {
                    puts.add(*generation, documents);
                    continue;
                }
                Change::Advance { generation, to, .. } => {
                    checkpoints.add(*generation, *to);
                    continue;
                }
                Change::Deploy { revision, component } => plugins::deploy(revision, component).into(),
                Change::CreateGeneration(record) => vec![plugins::create(record)],
                Change::SetGenerationState { generation, state } => vec![plugins::set_state(*generation, *state)],
                Change::DropDocuments { generation, limit } => vec![documents::drop_some(*generation, *limit)],
                Change::DropGeneration { generation } => vec![plugins::forget(*generation)],
                Change::RemovePlugin { name } => plugins::remove(name).into(),
                Change::PutStreamConfig { pattern, exact, config } => {
                    all.revises = true;
                    let revise = sqlx::query("update log_head set revision = revision + 1");
                    vec![configs::put(pattern, *exact, config.as_deref()), revise]
                }
                Change::Revise => {
                    all.revises = true;
                    vec![sqlx::query("update log_head set revision = revision + 1")]
                }
                // Those stand alone and are prepared beforehand.
                Change::SetStream { .. } | Change::RemoveEvents { .. } | Change::ForgetRemoved { .. } => continue,
            };
            puts.flush(&mut all.statements);
            checkpoints.flush(&mut all.statements);
            if let Change::DropDocuments { .. } = change {
                all.removals.push((all.statements.len(), unit));
            }
            all.statements.extend(statements);
        }
        puts.flush(&mut all.statements);
        checkpoints.flush(&mut all.statements);
        all
    }
}
