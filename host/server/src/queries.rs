//! Queries and followers of read models, as every face makes them.

use std::sync::Arc;

use wasmill_core::code::{Code, Problem};
use wasmill_core::limits::read as limits;
use wasmill_core::projection::follow::{Follower, Place, Update, Wanted};
use wasmill_core::projection::query::QueryError;
use wasmill_core::projection::query::condition::Condition;
use wasmill_core::projection::query::find::{Cursor, Query};
use wasmill_core::projection::query::parse;
use wasmill_core::projection::query::plan::Sort;

use crate::app::App;
use crate::errors;

/// A query as it was sent.
pub(crate) struct Asked<'a> {
    pub(crate) short: &'a [String],
    pub(crate) json: Option<&'a str>,
    pub(crate) prefix: &'a str,
    pub(crate) sort: Option<&'a str>,
    pub(crate) limit: usize,
    pub(crate) cursor: Option<&'a [u8]>,
    pub(crate) count: bool,
}

/// `at` says how the two forms of conditions are called. All mistakes are told at once.
pub(crate) fn query(asked: Asked<'_>, at: [&str; 2]) -> Result<Query, Problem> {
    let mut problem = Problem::new(Code::InvalidArgument, "the query is not as it should be");
    let json = asked.json.map(|text| {
        if text.len() > limits::CONDITION_BYTES_MAX {
            return Err(format!("it has more than {} bytes", limits::CONDITION_BYTES_MAX));
        }
        serde_json::from_str(text).map_err(|error| error.to_string())
    });
    let json = json.transpose().unwrap_or_else(|mistake| {
        problem = problem.clone().with(at[1], mistake);
        None
    });
    let condition = parse::condition(asked.short, json.as_ref(), at).unwrap_or_else(|mistakes| {
        let add = |problem: Problem, (at, mistake): parse::Mistake| problem.with(at, mistake);
        problem = mistakes.into_iter().fold(problem.clone(), add);
        Condition::default()
    });
    let sort = asked.sort.map(Sort::parse).transpose().unwrap_or_else(|mistake| {
        problem = problem.clone().with("sort", mistake);
        None
    });
    let cursor = asked.cursor.map(|bytes| Cursor::from_bytes(bytes).ok_or("it is not one that was answered here"));
    let cursor = cursor.transpose().unwrap_or_else(|mistake| {
        problem = problem.clone().with("cursor", mistake);
        None
    });
    if !problem.details.is_empty() {
        return Err(problem);
    }
    let (prefix, sort) = (asked.prefix.to_owned(), sort.unwrap_or_default());
    Ok(Query { condition, prefix, sort, limit: asked.limit, cursor, count: asked.count })
}

/// Follows a read model until the host stops. Counted among the followers for as long as it lives.
pub(crate) struct Updates {
    app: Arc<App>,
    follower: Follower,
    via: &'static str,
}

pub(crate) fn follow(
    app: &Arc<App>,
    wanted: Wanted,
    after: Option<Place>,
    via: &'static str,
) -> Result<Updates, QueryError> {
    let follower = app.host.projections.follow(wanted, after)?;
    app.host.metrics.change_followers.inc();
    Ok(Updates { app: Arc::clone(app), follower, via })
}

impl Updates {
    pub(crate) async fn next(&mut self) -> Result<Update, Problem> {
        let update = tokio::select! {
            biased;
            () = self.app.drain.cancelled() => return Err(App::draining()),
            update = self.follower.next() => update.map_err(errors::report)?,
        };
        if let Update::Changes { changes, .. } = &update {
            let delivered = &self.app.host.metrics.document_changes_delivered;
            delivered.with_label_values(&[self.via]).inc_by(changes.len() as u64);
        }
        Ok(update)
    }

    /// Every change before it was handed out.
    pub(crate) fn place(&self) -> Place {
        self.follower.place()
    }
}

impl Drop for Updates {
    fn drop(&mut self) {
        self.app.host.metrics.change_followers.dec();
    }
}
