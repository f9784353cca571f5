//! What a host answers when it refuses, as a failure of the command.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetail, StatusExt as _};
use wasmill_core::code::Code as Reason;

use super::exit::{Detail, Exit, Failure};
use crate::errors;
use crate::proto::Problem;

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let mut failure = Failure::failed("", status.message());
        let mut facts = HashMap::new();
        for detail in status.get_error_details_vec() {
            match detail {
                ErrorDetail::ErrorInfo(info) => (failure.code, facts) = (info.reason, info.metadata),
                detail => failure.add(detail),
            }
        }
        failure.exit = exit(&failure.code);
        if failure.code.is_empty() {
            // No reason in the details: it is not the host that speaks but the wire.
            failure.describe_bare(&status);
        }
        failure.add_facts(facts);
        failure.help = help(&failure.code).map(str::to_owned);
        failure
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let help = help(&problem.code).map(str::to_owned);
        let detail = |detail: crate::proto::ProblemDetail| Detail {
            at: detail.at,
            message: detail.message,
            facts: detail.facts.into_iter().collect(),
        };
        Self {
            exit: exit(&problem.code),
            code: problem.code,
            message: problem.message,
            retryable: problem.retryable,
            details: problem.details.into_iter().map(detail).collect(),
            help,
            facts: None,
        }
    }
}

impl Failure {
    fn add(&mut self, detail: ErrorDetail) {
        let mut add = |at: String, message: String| self.details.push(Detail { at, message, ..Detail::default() });
        match detail {
            ErrorDetail::BadRequest(bad) => {
                bad.field_violations.into_iter().for_each(|violation| add(violation.field, violation.description));
            }
            ErrorDetail::PreconditionFailure(failed) => {
                failed.violations.into_iter().for_each(|violation| add(violation.subject, violation.description));
            }
            ErrorDetail::QuotaFailure(quota) => {
                quota.violations.into_iter().for_each(|violation| add(violation.subject, violation.description));
            }
            ErrorDetail::RetryInfo(_) => self.retryable = true,
            // A host sends no others; a proxy's would not be about the command.
            _ => {}
        }
    }

    /// The facts of all details come in one map: those of the first detail under their own names, those
    /// of the detail with index 2 as `name[2]`.
    fn add_facts(&mut self, facts: HashMap<String, String>) {
        for (name, value) in facts {
            let indexed = name.strip_suffix(']').and_then(|name| name.split_once('['));
            let (name, index) = indexed.map_or((name.as_str(), 0), |(name, index)| (name, index.parse().unwrap_or(0)));
            while self.details.len() <= index {
                self.details.push(Detail::default());
            }
            self.details[index].facts.insert(name.to_owned(), value);
        }
    }

    fn describe_bare(&mut self, status: &Status) {
        (self.exit, self.code, self.retryable) = match status.code() {
            Code::Unavailable => (Exit::Unreachable, "unreachable".into(), true),
            // A connection that breaks in the middle of a call.
            Code::Unknown | Code::Cancelled | Code::Internal if is_transport(status) => {
                (Exit::Unreachable, "connection_lost".into(), true)
            }
            code => (Exit::Failed, format!("grpc_{code:?}").to_lowercase(), false),
        };
        if self.message.is_empty() {
            self.message = status.code().description().to_owned();
        }
        // The layers between say that there is an error; the first cause says which.
        let first = std::iter::successors(std::error::Error::source(status), |cause| cause.source()).last();
        if self.exit == Exit::Unreachable {
            let cause = first.map_or_else(|| self.message.clone(), ToString::to_string);
            self.message = format!("the connection to the host broke: {cause}");
        } else if let Some(cause) = first.map(ToString::to_string)
            && !self.message.contains(&cause)
        {
            self.message = format!("{}: {cause}", self.message);
        }
    }
}

/// A host that is about to go is as good as gone.
fn exit(code: &str) -> Exit {
    if code == Reason::Draining.as_str() { Exit::Unreachable } else { Exit::Failed }
}

fn is_transport(status: &Status) -> bool {
    std::error::Error::source(status).is_some() || status.message().contains("transport")
}

/// What to do about it: the host's own table, which this binary holds too.
fn help(code: &str) -> Option<&'static str> {
    match code {
        "unreachable" | "connection_lost" => {
            Some("See whether the host still runs. Events that have ids can be sent again; they are not stored twice.")
        }
        "unauthenticated" => Some("Give the host's token with --token or WASMILL_TOKEN."),
        code => errors::by_name(code).map(|code| errors::face(code).advice),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmill_core::code as problem;

    #[test]
    fn every_detail_of_a_status_is_shown() {
        let facts =
            |pairs: &[(&'static str, &str)]| pairs.iter().map(|(name, value)| (*name, (*value).into())).collect();
        let detail = |at: &str, facts| problem::Detail { at: at.into(), message: "is elsewhere".into(), facts };
        let problem = problem::Problem::new(problem::Code::WrongExpectedOffset, "not where it was expected")
            .with_detail(detail("order-1", facts(&[("actual_offset", "5")])))
            .with_detail(detail("order-2", facts(&[("actual_offset", "7")])));
        let failure = Failure::from(crate::grpc::status::status(&problem));
        assert_eq!((failure.code.as_str(), failure.exit), ("wrong_expected_offset", Exit::Failed));
        assert_eq!(failure.details[0].facts["actual_offset"], "5");
        let text = failure.to_text();
        for part in
            ["not where", "order-1: is elsewhere", "order-2", "actual_offset = 7", "help: Someone else appended"]
        {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }

    #[test]
    fn a_host_that_went_away_is_not_an_answer() {
        let failure = Failure::from(Status::unavailable("tcp connect error"));
        assert_eq!((failure.exit, failure.retryable), (Exit::Unreachable, true));
        let failure = Failure::from(Status::unimplemented("no such call"));
        assert_eq!((failure.exit, failure.code.as_str()), (Exit::Failed, "grpc_unimplemented"));
        let draining = problem::Problem::new(problem::Code::Draining, "the host is stopping");
        assert_eq!(Failure::from(crate::grpc::status::status(&draining)).exit, Exit::Unreachable);
    }
}
