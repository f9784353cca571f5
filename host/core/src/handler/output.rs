//! From what a guest has emitted to a part of the commit unit.

use super::outbox::OutboxError;
use crate::code::Problem;
use crate::log::publish::{Append, AppendError, Publisher};
use crate::name::StreamName;
use crate::store::Unit;
use crate::stream::Caller;
use crate::stream::configs::StreamConfigs;

/// Why what was emitted cannot be appended.
pub(crate) enum OutputError {
    /// By the guest's fault.
    Guest(OutboxError),
    /// At the moment, and not by the guest's fault.
    Host(String),
}

/// The unit of what was emitted.
pub(crate) async fn output(
    publisher: &Publisher,
    configs: &StreamConfigs,
    appends: Vec<Append>,
) -> Result<Unit, OutputError> {
    if appends.is_empty() {
        return Ok(Unit::default());
    }
    let refused = |why: String| Err(OutputError::Guest(OutboxError::Refused { why }));
    for append in &appends {
        let stream = StreamName::from_stored(&append.stream);
        if !configs.may_publish(&stream, Caller::Plugin) {
            return refused(format!("the configuration of stream `{stream}` does not let plugins append"));
        }
    }
    match publisher.unit_of(appends).await {
        Ok(unit) => Ok(unit),
        Err(AppendError::Store(store)) => Err(OutputError::Host(store.to_string())),
        Err(AppendError::Commit(commit)) => Err(OutputError::Host(commit.to_string())),
        Err(error) => {
            let problem = Problem::from(error);
            let details = problem.details.iter().map(|detail| format!("; {}: {}", detail.at, detail.message));
            refused(format!("{}{}", problem.message, details.collect::<String>()))
        }
    }
}
