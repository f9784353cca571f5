//! Groups on the wire.

use std::time::Duration;

use uuid::Uuid;
use wasmill_core::clock::Timestamp;
use wasmill_core::code::{Code, Problem};
use wasmill_core::event::Position;
use wasmill_core::group::{DeadLetter, GroupStatus, Handing, Nack, Settled, Start, Which};
use wasmill_core::limits::group as limits;

use crate::proto::{self, dead_letter_selection, group_start, refusal};
use crate::wire;

const PULL_DEFAULT: u32 = 100;

fn invalid(at: &str, text: impl Into<String>) -> Problem {
    let text = text.into();
    Problem::new(Code::InvalidArgument, format!("{at}: {text}")).with(at, text)
}

pub(in crate::grpc) fn session(text: &str) -> Result<Uuid, Problem> {
    Uuid::try_parse(text).map_err(|_| invalid("session", "it is no session: JoinGroup gives one"))
}

pub(in crate::grpc) fn start(start: Option<proto::GroupStart>) -> Start {
    match start.and_then(|start| start.kind) {
        None | Some(group_start::Kind::First(_)) => Start::First,
        Some(group_start::Kind::Last(_)) => Start::Last,
        Some(group_start::Kind::Position(position)) => Start::Position(position),
        Some(group_start::Kind::Offset(offset)) => Start::Offset(offset),
        Some(group_start::Kind::TimeUs(time)) => Start::Time(time),
    }
}

/// `at` is what the field is called.
pub(in crate::grpc) fn required_start(given: Option<proto::GroupStart>, at: &str) -> Result<Start, Problem> {
    match given {
        Some(proto::GroupStart { kind: Some(_) }) => Ok(start(given)),
        _ => Err(invalid(at, "say which place: first, last, position, offset or time_us")),
    }
}

pub(in crate::grpc) fn pull_limit(limit: Option<u32>) -> Result<usize, Problem> {
    let limit = limit.unwrap_or(PULL_DEFAULT) as usize;
    let max = limits::PULL_EVENTS_MAX;
    if (1..=max).contains(&limit) { Ok(limit) } else { Err(invalid("limit", format!("{limit} is not 1 to {max}"))) }
}

pub(in crate::grpc) fn letters_limit(limit: Option<u32>) -> Result<usize, Problem> {
    let max = limits::LETTERS_PAGE;
    let limit = limit.map_or(max, |limit| limit as usize);
    if (1..=max).contains(&limit) { Ok(limit) } else { Err(invalid("limit", format!("{limit} is not 1 to {max}"))) }
}

pub(in crate::grpc) fn wait(ms: u32) -> Result<Duration, Problem> {
    let (ms, max) = (u64::from(ms), limits::PULL_WAIT_MS_MAX);
    if ms <= max { Ok(Duration::from_millis(ms)) } else { Err(invalid("wait_ms", format!("{ms} is not 0 to {max}"))) }
}

pub(in crate::grpc) fn check_lease(ms: Option<u64>) -> Result<(), Problem> {
    let (min, max) = (limits::TIMEOUT_MS_MIN, limits::TIMEOUT_MS_MAX);
    match ms.filter(|ms| !(min..=max).contains(ms)) {
        None => Ok(()),
        Some(ms) => Err(invalid("visibility_ms", format!("{ms} is not {min} to {max}"))),
    }
}

pub(in crate::grpc) fn check_tokens(tokens: &[u64]) -> Result<(), Problem> {
    let max = limits::TOKENS_MAX;
    match tokens.len() {
        0 => Err(invalid("tokens", "there are none: which deliveries are meant?")),
        count if count <= max => Ok(()),
        count => Err(invalid("tokens", format!("there are {count}; one call has at most {max}"))),
    }
}

pub(in crate::grpc) fn nack(refusal: Option<proto::Refusal>) -> Result<Nack, Problem> {
    match refusal.and_then(|refusal| refusal.kind) {
        Some(refusal::Kind::Retry(error)) => Ok(Nack::Retry { error, after_ms: None }),
        Some(refusal::Kind::DelayMs(ms)) if ms <= limits::RETRY_MS_MAX => Ok(Nack::Delay { ms }),
        Some(refusal::Kind::DelayMs(ms)) => {
            Err(invalid("refusal.delay_ms", format!("{ms} is more than {}", limits::RETRY_MS_MAX)))
        }
        Some(refusal::Kind::Park(error)) => Ok(Nack::Park { error }),
        Some(refusal::Kind::Skip(_)) => Ok(Nack::Skip),
        None => Err(invalid("refusal", "say what is to be done: retry, delay_ms, park or skip")),
    }
}

pub(in crate::grpc) fn which(selection: Option<proto::DeadLetterSelection>) -> Result<Which, Problem> {
    let max = limits::LETTERS_PAGE;
    match selection.and_then(|selection| selection.kind) {
        Some(dead_letter_selection::Kind::All(_)) => Ok(Which::All),
        Some(dead_letter_selection::Kind::Key(key)) => Ok(Which::Key(key)),
        Some(dead_letter_selection::Kind::Positions(list)) if list.positions.len() <= max => {
            Ok(Which::Positions(list.positions.into_iter().map(Position).collect()))
        }
        Some(dead_letter_selection::Kind::Positions(list)) => {
            let count = list.positions.len();
            Err(invalid("selection.positions", format!("there are {count}; one call has at most {max}")))
        }
        None => Err(invalid("selection", "say which: all, key or positions")),
    }
}

pub(in crate::grpc) fn outcomes(answers: &[Settled]) -> Vec<i32> {
    let outcome = |answer: &Settled| match answer {
        Settled::Durable => proto::Outcome::Durable,
        Settled::Noted => proto::Outcome::Noted,
        Settled::Superseded => proto::Outcome::Superseded,
    };
    answers.iter().map(|answer| outcome(answer).into()).collect()
}

pub(in crate::grpc) fn delivery(one: &Handing) -> proto::Delivery {
    proto::Delivery {
        token: one.token,
        event: Some(wire::Event::from(&one.event)),
        refused: one.tries.refused,
        lost: one.tries.lost,
    }
}

pub(in crate::grpc) fn dead_letter(letter: &DeadLetter) -> proto::DeadLetter {
    let why = letter.why.clone();
    proto::DeadLetter {
        event: Some(wire::Event::from(&letter.event)),
        reason: why.reason.as_str().into(),
        refused: why.refused,
        lost: why.lost,
        error: why.error,
        member: why.member,
        parked_at_us: why.parked_at_us,
    }
}

pub(in crate::grpc) fn group(status: &GroupStatus, now: Timestamp) -> proto::Group {
    let record = &status.record;
    let member = |member: &wasmill_core::group::MemberStatus| proto::GroupMember {
        name: member.name.to_string(),
        joined_at_us: member.joined_at.0,
        in_flight: member.in_flight as u64,
        stands_by: member.stands_by,
    };
    proto::Group {
        name: record.name.clone(),
        config_json: record.config.to_json(),
        paused: record.paused,
        start_position: record.start,
        created_at_us: record.created_at_us,
        position: status.position.0,
        lag_events: status.lag(),
        lag_us: status.oldest_recorded_at.map(|oldest| now.0.saturating_sub(oldest.0).max(0)),
        unsettled: status.unsettled as u64,
        in_flight: status.in_flight as u64,
        parked_keys: status.parked_keys as u64,
        members: status.members.iter().map(member).collect(),
    }
}
