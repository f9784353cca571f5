//! Failures as gRPC statuses with rich details (`google.rpc`): the code in `ErrorInfo.reason`, what is
//! wrong as violations, and when to come back.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code as Grpc, Status};
use tonic_types::{ErrorDetails, FieldViolation, PreconditionViolation, QuotaViolation, StatusExt as _};
use wasmill_core::code::{Code, Detail, Problem};

use crate::errors::{self, RETRY_AFTER_MS};

/// Who defines the reasons.
const DOMAIN: &str = "wasmill";
/// A status travels in header fields, of which clients take 8 KiB and more; the rest is counted.
const DETAILS_MAX: usize = 16;

/// Logs and shows an error of core.
pub(crate) fn refuse<E: std::error::Error + Into<Problem>>(error: E) -> Status {
    status(&errors::report(error))
}

pub(crate) fn status(problem: &Problem) -> Status {
    let grpc = errors::face(problem.code).grpc;
    let shown = &problem.details[..problem.details.len().min(DETAILS_MAX)];
    let mut details = ErrorDetails::new();
    details.set_error_info(problem.code.as_str(), DOMAIN, facts(shown));
    if !shown.is_empty() {
        let more = problem.details.len() - shown.len();
        violations(&mut details, grpc, problem.code, shown, more);
    }
    if problem.code.retryable() {
        details.set_retry_info(Some(Duration::from_millis(RETRY_AFTER_MS)));
    }
    Status::with_error_details(grpc, &problem.message, details)
}

/// One map for all details: the facts of the first under their own names, those of the detail with
/// index 2 as `name[2]`.
fn facts(details: &[Detail]) -> HashMap<String, String> {
    let named = |(index, detail): (usize, &Detail)| {
        let name = move |name: &str| if index == 0 { name.to_owned() } else { format!("{name}[{index}]") };
        detail.facts.iter().map(move |(fact, value)| (name(fact), value.clone())).collect::<Vec<_>>()
    };
    details.iter().enumerate().flat_map(named).collect()
}

/// Each detail as the kind of violation that goes with the code.
fn violations(into: &mut ErrorDetails, grpc: Grpc, code: Code, details: &[Detail], more: usize) {
    let rest = (more > 0).then(|| (String::new(), format!("and {more} more")));
    let all = details.iter().map(|detail| (detail.at.clone(), detail.message.clone())).chain(rest);
    match grpc {
        Grpc::FailedPrecondition | Grpc::Aborted | Grpc::AlreadyExists => {
            let violation = |(subject, text)| PreconditionViolation::new(code.as_str(), subject, text);
            into.set_precondition_failure(all.map(violation).collect::<Vec<_>>());
        }
        Grpc::ResourceExhausted => {
            into.set_quota_failure(all.map(|(subject, text)| QuotaViolation::new(subject, text)).collect::<Vec<_>>());
        }
        _ => {
            into.set_bad_request(all.map(|(field, text)| FieldViolation::new(field, text)).collect::<Vec<_>>());
        }
    }
}

/// What is wrong with a request message that the gRPC framework could not read; `None` if the client
/// has gone, which nobody is told.
pub(crate) fn unreadable(error: &Status) -> Option<Problem> {
    let malformed = |what: &str| Some(Problem::new(Code::MalformedBody, format!("the message cannot be read: {what}")));
    match error.code() {
        // The message says how large it was and what the limit is.
        Grpc::OutOfRange | Grpc::ResourceExhausted => Some(Problem::new(Code::BodyTooLarge, error.message())),
        // A cause is a connection that broke; without one it is the decoder that complains.
        Grpc::Internal if std::error::Error::source(error).is_none() => malformed(error.message()),
        _ => None,
    }
}

/// What the gRPC framework answered by itself, with a code of ours. `None` if it is ours already, or
/// must stay as it is.
pub(crate) fn rewritten(status: &Status) -> Option<Status> {
    if !status.details().is_empty() {
        return None;
    }
    if let Some(problem) = unreadable(status) {
        return Some(self::status(&problem));
    }
    (status.code() == Grpc::Unimplemented && status.message().is_empty()).then(|| {
        let problem =
            Problem::new(Code::NotFound, "there is no such method; the reflection service lists what there is");
        let mut ours = self::status(&problem);
        // The code that the protocol asks for.
        ours = Status::with_details(Grpc::Unimplemented, ours.message(), ours.details().to_vec().into());
        ours
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_carries_code_facts_and_every_violation() {
        let detail = |at: &str, actual: &str| Detail {
            at: at.into(),
            message: "is elsewhere".into(),
            facts: vec![("actual_offset", actual.into())],
        };
        let problem = Problem::new(Code::WrongExpectedOffset, "not there")
            .with_detail(detail("a", "5"))
            .with_detail(detail("b", "7"));
        let status = status(&problem);
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!(
            (status.code(), info.reason.as_str(), info.domain.as_str()),
            (Grpc::FailedPrecondition, "wrong_expected_offset", DOMAIN)
        );
        assert_eq!((info.metadata["actual_offset"].as_str(), info.metadata["actual_offset[1]"].as_str()), ("5", "7"));
        let subjects: Vec<_> =
            details.precondition_failure().unwrap().violations.iter().map(|v| v.subject.as_str()).collect();
        assert_eq!(subjects, ["a", "b"]);
        assert!(details.retry_info().is_none());
    }

    #[test]
    fn a_thousand_mistakes_still_fit_into_header_fields() {
        let mut problem = Problem::new(Code::InvalidEvent, "all wrong");
        for index in 0..1000 {
            problem = problem.with(format!("events[{index}].type"), "it is empty");
        }
        let status = status(&problem);
        assert!(status.details().len() < 4096);
        let violations = status.get_error_details().bad_request().unwrap().field_violations.clone();
        assert_eq!((violations.len(), violations[16].description.as_str()), (17, "and 984 more"));
    }

    #[test]
    fn the_frameworks_own_answers_get_a_code_of_ours() {
        let reason = |status: Status| {
            let ours = rewritten(&status)?;
            Some((ours.code(), ours.get_error_details().error_info()?.reason.clone()))
        };
        let is = |code, reason: &str| Some((code, reason.to_owned()));
        assert_eq!(reason(Status::internal("failed to decode")), is(Grpc::InvalidArgument, "malformed_body"));
        assert_eq!(reason(Status::out_of_range("too large")), is(Grpc::ResourceExhausted, "body_too_large"));
        assert_eq!(reason(Status::unimplemented("")), is(Grpc::Unimplemented, "not_found"));
        assert_eq!(reason(status(&Problem::new(Code::Internal, "a defect"))), None);
        assert_eq!(reason(Status::ok("")), None);
    }

    #[test]
    fn what_can_be_retried_says_when() {
        let status = status(&Problem::new(Code::Overloaded, "busy"));
        let retry = status.get_error_details().retry_info().unwrap().retry_delay;
        assert_eq!(retry, Some(Duration::from_millis(RETRY_AFTER_MS)));
    }
}
