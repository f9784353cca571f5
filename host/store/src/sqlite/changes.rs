//! The row changes of a group as statements, in the order of the units.

use wasmill_core::store::Change;

use super::configs;
use super::documents::{self, Pending};
use super::plugins::{self, Checkpoints};
use super::rows::Statement;

#[derive(Default)]
pub(super) struct Changes {
    pub(super) statements: Vec<Statement>,
    /// A statement whose row count belongs to a unit's answer, and that unit.
    pub(super) removals: Vec<(usize, usize)>,
}

impl Changes {
    /// Takes each change with the index of its unit. Documents and checkpoints, which are most of all
    /// changes, gather until a change of another kind comes: what is then written last is the newest.
    pub(super) fn of<'a>(changes: impl Iterator<Item = (usize, &'a Change)>) -> Self {
        let mut all = Self::default();
        let (mut puts, mut checkpoints) = (Pending::default(), Checkpoints::default());
        for (unit, change) in changes {
            let statement = match change {
                Change::PutDocuments { generation, documents } => {
                    puts.add(*generation, documents);
                    continue;
                }
                Change::Advance { generation, to, .. } => {
                    checkpoints.add(*generation, *to);
                    continue;
                }
                Change::Deploy { revision, component } => plugins::deploy(revision, component),
                Change::CreateGeneration(record) => plugins::create(record),
                Change::SetGenerationState { generation, state } => plugins::set_state(*generation, *state),
                Change::DropDocuments { generation, limit } => documents::drop_some(*generation, *limit),
                Change::DropGeneration { generation } => plugins::forget(*generation),
                Change::RemovePlugin { name } => plugins::remove(name),
                Change::PutStreamConfig { pattern, exact, config } => configs::put(pattern, *exact, config.as_deref()),
                Change::Revise => sqlx::query("update log_head set revision = revision + 1"),
                // Those stand alone and are prepared beforehand.
                Change::SetStream { .. } | Change::RemoveEvents { .. } | Change::ForgetRemoved { .. } => continue,
            };
            puts.flush(&mut all.statements);
            checkpoints.flush(&mut all.statements);
            if let Change::DropDocuments { .. } = change {
                all.removals.push((all.statements.len(), unit));
            }
            all.statements.push(statement);
        }
        puts.flush(&mut all.statements);
        checkpoints.flush(&mut all.statements);
        all
    }
}
