//! What a publisher does, and what it remembers of the answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use uuid::Uuid;
use wasmill_core::event::{NewEvent, Offset};
use wasmill_core::host::Host;
use wasmill_core::log::commit::CommitError;
use wasmill_core::log::filter::{Filter, FilterTerm};
use wasmill_core::log::publish::{Append, AppendError, Transaction};
use wasmill_core::name::StreamName;
use wasmill_core::store::{AppendCondition, Appended, Expected, Rejection};

use super::{Campaign, SHARED};
use wasmill_core::random::Random;

/// About how many publishers want the same seat.
pub(super) const CLAIMS_PER_SEAT: u64 = 6;
/// Appends that are remembered to be sent again.
const NEWEST: usize = 64;

enum Answer {
    Appended(Appended),
    Rejected(Rejection),
    /// It was not committed.
    Unavailable,
    Unknown,
}

struct Publisher {
    n: u64,
    host: Arc<Host>,
    other: Arc<Host>,
    random: Random,
    next_id: u128,
    /// Of its own stream.
    next_offset: u64,
}

pub(super) async fn publish(campaign: &Campaign, n: u64) {
    let (here, there) = ((n % 2) as usize, ((n + 1) % 2) as usize);
    let mut publisher = Publisher {
        n,
        host: Arc::clone(&campaign.hosts[here]),
        other: Arc::clone(&campaign.hosts[there]),
        random: Random::new(campaign.seed.wrapping_add(n)),
        next_id: u128::from(n + 1) << 64,
        next_offset: 0,
    };
    while !campaign.stops() {
        match publisher.random.below(100) {
            _ if campaign.plain => publisher.append_own(campaign, 1).await,
            0..40 => publisher.append_shared(campaign).await,
            40..60 => {
                let count = 1 + publisher.random.below(4);
                publisher.append_own(campaign, count).await;
            }
            60..75 => publisher.append_where_it_believes(campaign).await,
            75..85 => publisher.claim_a_seat(campaign).await,
            _ => publisher.repeat_at_the_other_host(campaign).await,
        }
    }
}

impl Publisher {
    fn append(&mut self, stream: String, count: u64, tag: Option<String>) -> Append {
        let event = |n| NewEvent {
            id: Uuid::from_u128(self.next_id + u128::from(n)),
            event_type: "tested".into(),
            tags: tag.iter().cloned().collect(),
            data: b"{}"[..].into(),
            ..NewEvent::default()
        };
        let append = Append { stream, expected: Expected::Any, events: (0..count).map(event).collect() };
        self.next_id += u128::from(count);
        append
    }

    async fn append_shared(&mut self, campaign: &Campaign) {
        let (stream, count) = (format!("shared-{}", self.random.below(SHARED)), 1 + self.random.below(3));
        let append = self.append(stream, count, None);
        match self.send(&append, Vec::new()).await {
            Answer::Appended(at) => note(campaign, append, at),
            Answer::Rejected(rejection) => panic!("nothing was expected: {rejection:?}"),
            Answer::Unavailable => campaign.sent().lost += 1,
            Answer::Unknown if self.random.percent(50) => {
                let mut sent = campaign.sent();
                sent.unsure += 1;
                sent.unknown.extend(append.events.iter().map(|event| event.id));
            }
            Answer::Unknown => {
                campaign.sent().unsure += 1;
                let at = self.until_answered(campaign, &append).await;
                note(campaign, append, at);
            }
        }
    }

    /// Nobody else appends there: what it expects is so.
    async fn append_own(&mut self, campaign: &Campaign, count: u64) {
        let mut append = self.append(format!("own-{}", self.n), count, None);
        append.expected = self.next_offset.checked_sub(1).map_or(Expected::NoStream, |n| Expected::Exactly(Offset(n)));
        let at = self.until_answered(campaign, &append).await;
        assert_eq!(at.first_offset, Offset(self.next_offset), "own streams have no other events");
        self.next_offset += count;
        note(campaign, append, at);
    }

    /// Another publisher may be faster, but never does the host know less than this one has read there.
    async fn append_where_it_believes(&mut self, campaign: &Campaign) {
        let stream = format!("shared-{}", self.random.below(SHARED));
        let Ok(info) = self.host.reader.stream(&StreamName::from_stored(&stream)).await else { return };
        let last = Offset(info.next_offset.0 - 1);
        let mut append = self.append(stream, 1, None);
        append.expected = Expected::Exactly(last);
        match self.send(&append, Vec::new()).await {
            Answer::Appended(at) => note(campaign, append, at),
            Answer::Rejected(Rejection::ChecksFailed { offsets, .. }) => {
                assert!(offsets[0].actual > Some(last), "it was at {last} before, and is now at {:?}", offsets[0]);
                campaign.sent().rejected += 1;
            }
            Answer::Rejected(rejection) => panic!("{rejection:?}"),
            Answer::Unavailable => campaign.sent().lost += 1,
            Answer::Unknown => {
                let mut sent = campaign.sent();
                sent.unsure += 1;
                sent.unknown.insert(append.events[0].id);
            }
        }
    }

    async fn claim_a_seat(&mut self, campaign: &Campaign) {
        let seat = format!("seat:{}", campaign.seats.fetch_add(1, Ordering::SeqCst) / CLAIMS_PER_SEAT);
        let query = Filter::new(vec![FilterTerm { tags: vec![seat.clone()], ..FilterTerm::default() }]);
        let append = self.append("seats".into(), 1, Some(seat));
        match self.send(&append, vec![AppendCondition { query, after: None }]).await {
            Answer::Appended(at) => note(campaign, append, at),
            Answer::Rejected(_) => campaign.sent().rejected += 1,
            Answer::Unavailable => campaign.sent().lost += 1,
            Answer::Unknown => {
                let mut sent = campaign.sent();
                sent.unsure += 1;
                sent.unknown.insert(append.events[0].id);
            }
        }
    }

    async fn repeat_at_the_other_host(&mut self, campaign: &Campaign) {
        let newest = campaign.sent().newest.clone();
        if newest.is_empty() {
            return;
        }
        let (append, first) = self.random.pick(&newest).clone();
        match send(&self.other, &append, Vec::new()).await {
            Answer::Appended(at) => {
                assert_eq!(at, Appended { duplicate: true, ..first }, "a repetition gets the first answer");
                campaign.sent().repeated += 1;
            }
            Answer::Rejected(rejection) => panic!("it was appended before: {rejection:?}"),
            Answer::Unavailable | Answer::Unknown => campaign.sent().lost += 1,
        }
    }

    async fn until_answered(&self, campaign: &Campaign, append: &Append) -> Appended {
        loop {
            match self.send(append, Vec::new()).await {
                Answer::Appended(at) => return Appended { duplicate: false, ..at },
                Answer::Rejected(rejection) => panic!("what was expected is so: {rejection:?}"),
                Answer::Unavailable => campaign.sent().lost += 1,
                Answer::Unknown => campaign.sent().unsure += 1,
            }
        }
    }

    async fn send(&self, append: &Append, conditions: Vec<AppendCondition>) -> Answer {
        send(&self.host, append, conditions).await
    }
}

async fn send(host: &Host, append: &Append, conditions: Vec<AppendCondition>) -> Answer {
    let one = Transaction { appends: vec![append.clone()], conditions, ..Transaction::default() };
    match host.publisher.transact(one).await {
        Ok(mut appended) => Answer::Appended(appended.remove(0)),
        Err(AppendError::Commit(CommitError::Rejected(rejection))) => Answer::Rejected(rejection),
        Err(AppendError::Commit(error)) if error.is_unknown() => Answer::Unknown,
        Err(AppendError::Commit(CommitError::Store(_) | CommitError::Overloaded)) => Answer::Unavailable,
        Err(error) => panic!("{error:?}"),
    }
}

fn note(campaign: &Campaign, append: Append, at: Appended) {
    let mut sent = campaign.sent();
    let at = Appended { duplicate: false, ..at };
    sent.answered.push((append.events[0].id.as_u128(), at.clone()));
    if sent.newest.len() == NEWEST {
        sent.newest.remove(0);
    }
    sent.newest.push((append, at));
}
