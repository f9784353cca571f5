//! From what a guest has emitted to a part of the commit unit.

use super::outbox::OutboxError;
use super::runner::{Context, Interruption};
use crate::code::Problem;
use crate::guest::GuestError;
use crate::log::publish::{Append, AppendError};
use crate::name::StreamName;
use crate::store::Unit;
use crate::stream::Caller;

/// The unit of what was emitted; or why it cannot be, by the guest's fault or the host's.
pub(super) async fn output(context: &Context, appends: Vec<Append>) -> Result<Unit, Result<GuestError, Interruption>> {
    if appends.is_empty() {
        return Ok(Unit::default());
    }
    let refused = |why: String| Err(Ok(GuestError::Outbox(OutboxError::Refused { why })));
    for append in &appends {
        let stream = StreamName::from_stored(&append.stream);
        if !context.configs.may_publish(&stream, Caller::Plugin) {
            return refused(format!("the configuration of stream `{stream}` does not let plugins append"));
        }
    }
    match context.publisher.unit_of(appends).await {
        Ok(unit) => Ok(unit),
        Err(AppendError::Store(store)) => Err(Err(Interruption::Host { reason: store.to_string() })),
        Err(AppendError::Commit(commit)) => Err(Err(Interruption::Host { reason: commit.to_string() })),
        Err(error) => {
            let problem = Problem::from(error);
            let details = problem.details.iter().map(|detail| format!("; {}: {}", detail.at, detail.message));
            refused(format!("{}{}", problem.message, details.collect::<String>()))
        }
    }
}
