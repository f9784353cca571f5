//! One client of the plain WebSocket: its subscriptions and its members of groups.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use tokio_util::sync::CancellationToken;
use wasmill_core::code::{Code, Problem};
use wasmill_core::event::{Offset, Position};
use wasmill_core::group::{Answer, GroupError, Settled};
use wasmill_core::limits::group as limits;

use super::member::{Back, Member, Pulls};
use super::protocol::{self, About, Ack, Ask, CREDIT, CREDIT_MAX, Extend, Join, Nack, Read, Subscribe, wrong};
use super::subscription::{By, Window};
use crate::app::App;
use crate::convert::{self, Term, stream_name};
use crate::errors;
use crate::http::consume::Wrong;
use crate::pages::{self, Bound, How, NUMBER_MAX};
use crate::push::followers::{Came, Encode, Follower, Followers, Tag};
use crate::push::{End, Frame, SUBSCRIPTIONS_MAX, Talk};
use crate::{receipts, rights};

/// How it is called in metrics.
pub(super) const WEBSOCKET: &str = "websocket";
/// Settlements that may be on their way; beyond, no more are read from the client.
const SETTLING_MAX: usize = 256;

/// What a client has under one of its names.
enum Entry {
    Subscription { tag: Tag, by: By, window: Window, resting: Option<Box<Follower>> },
    Member(Member),
}

impl Entry {
    fn tag(&self) -> &Tag {
        match self {
            Entry::Subscription { tag, .. } | Entry::Member(Member { tag, .. }) => tag,
        }
    }
}

type Settlement = BoxFuture<'static, (About, Result<Vec<Settled>, GroupError>)>;

pub(super) struct Session {
    app: Arc<App>,
    entries: HashMap<Arc<str>, Entry>,
    followers: Followers,
    pulls: Pulls,
    settling: FuturesOrdered<Settlement>,
    /// Of the next entry.
    number: u64,
}

impl Session {
    pub(super) fn new(app: Arc<App>) -> Self {
        Self {
            app,
            entries: HashMap::new(),
            followers: Followers::new(),
            pulls: Pulls::default(),
            settling: FuturesOrdered::new(),
            number: 0,
        }
    }

    /// What is answered at once, if anything is.
    async fn answer(&mut self, about: &About, ask: Ask) -> Result<Option<Bytes>, Problem> {
        let id = about.id.as_deref().unwrap_or_default();
        match ask {
            Ask::Ping => return Ok(Some(about.pong())),
            Ask::Read(Read { consumer, stream, offsets }) => {
                receipts::note(&self.app, &stream, &consumer, Vec::new(), offsets).await?;
                return Ok(Some(about.noted()));
            }
            Ask::Subscribe(subscribe) => return self.subscribe(about, id, subscribe).await.map(Some),
            Ask::Join(join) => return self.join(about, id, join).await.map(Some),
            Ask::Credit(events) => self.credit(id, events)?,
            Ask::Ack(ack) => self.ack(about, id, ack).await?,
            Ask::Nack(Nack { tokens, refusal }) => {
                let mut mistakes = Wrong::new();
                mistakes.tokens(&tokens);
                let refusal = refusal.read(&mut mistakes);
                mistakes.finish()?;
                let (member, count) = (self.member(id)?, tokens.len());
                let answer = member.membership.submit_nack(tokens, refusal).await.map_err(errors::report)?;
                member.settled(count);
                self.settling.push_back(settlement(about, answer));
            }
            Ask::Extend(Extend { tokens, ms }) => {
                let mut mistakes = Wrong::new();
                mistakes.tokens(&tokens);
                mistakes.range("ms", ms, 1, limits::TIMEOUT_MS_MAX);
                mistakes.finish()?;
                let answer = self.member(id)?.membership.submit_extend(tokens, ms).await.map_err(errors::report)?;
                self.settling.push_back(settlement(about, answer));
            }
            Ask::Unsubscribe => {
                let entry = self.entries.remove(id).ok_or_else(|| unknown(id))?;
                entry.tag().over.cancel();
                if let Entry::Member(member) = entry {
                    member.membership.leave().await.map_err(errors::report)?;
                }
                return Ok(Some(about.unsubscribed()));
            }
        }
        Ok(None)
    }

    /// A name for something new.
    fn tag(&mut self, id: &str) -> Result<Tag, Problem> {
        if self.entries.contains_key(id) {
            return Err(wrong("id", format!("`{}` is in use; unsubscribe it first", id.escape_debug())));
        }
        if self.entries.len() >= SUBSCRIPTIONS_MAX {
            let message = format!("a connection has at most {SUBSCRIPTIONS_MAX} subscriptions; open another one");
            return Err(Problem::new(Code::LimitReached, message));
        }
        self.number += 1;
        Ok(Tag { name: id.into(), number: self.number, over: CancellationToken::new() })
    }

    async fn subscribe(&mut self, about: &About, id: &str, asked: Subscribe) -> Result<Bytes, Problem> {
        let Subscribe { stream, streams, types, keys, tags, correlation_ids, from, credit, raw, consumer } = asked;
        let consumer = consumer.map(|consumer| receipts::consumer(&consumer)).transpose()?;
        let tag = self.tag(id)?;
        let credit = check_credit(credit)?;
        if from.is_some_and(|from| from > NUMBER_MAX) {
            return Err(wrong("from", format!("it is a whole number from 0 to {NUMBER_MAX}")));
        }
        if stream.is_some() && !streams.is_empty() {
            return Err(wrong("streams", "there is `stream` as well; give one of the two"));
        }
        let term = Term { streams, types, keys, tags, correlation_ids };
        let mut mistakes = Problem::new(Code::InvalidArgument, "the filter is not as it should be");
        let at = |_, list: &str, index| match list {
            "correlation_ids" => format!("correlationIds[{index}]"),
            list => format!("{list}[{index}]"),
        };
        let filter = convert::filter(&[term], "filter", at, &mut mistakes.details);
        if !mistakes.details.is_empty() {
            return Err(mistakes);
        }
        let (app, name, how) = (&self.app, Arc::clone(&tag.name), How { via: WEBSOCKET, raw });
        let encode: Encode = Box::new(move |events| events.iter().map(|event| protocol::event(&name, event)).collect());
        let (by, next, follower) = match stream {
            Some(name) => {
                let stream = stream_name(&name)?;
                rights::may_read(&app.host.stream_configs, &stream)?;
                let from = from.map(|from| Bound::At(Offset(from)));
                let from = pages::start_in_stream(app, &stream, from).await.map_err(errors::report)?;
                (By::Offset, from.0, Follower::of_stream(app, how, (stream, from), filter, encode))
            }
            None => {
                let from = from.map(|from| Bound::At(Position(from)));
                let from = pages::start_in_log(app, from).await.map_err(errors::report)?;
                (By::Position, from.0, Follower::of_log(app, how, from, filter, encode))
            }
        };
        let (window, resting) = (Window::new(credit, next), Some(follower.noting(consumer)));
        let name = Arc::clone(&tag.name);
        self.entries.insert(Arc::clone(&name), Entry::Subscription { tag, by, window, resting });
        self.go_on(&name);
        Ok(about.subscribed(by.next(), next))
    }

    async fn join(&mut self, about: &About, id: &str, asked: Join) -> Result<Bytes, Problem> {
        let Join { group, member, credit } = asked;
        let (tag, credit) = (self.tag(id)?, check_credit(credit)?);
        let name = Arc::clone(&tag.name);
        let joined = Member::join(&self.app, tag, &group, member.as_deref(), credit).await;
        let mut member = joined.map_err(errors::report)?;
        self.pulls.send(&self.app, &mut member);
        let session = member.membership.session().to_string();
        self.entries.insert(name, Entry::Member(member));
        Ok(about.joined(&session))
    }

    fn credit(&mut self, id: &str, events: u64) -> Result<(), Problem> {
        match self.entries.get_mut(id).ok_or_else(|| unknown(id))? {
            Entry::Subscription { window, .. } => window.add(events)?,
            Entry::Member(member) => member.add(events)?,
        }
        self.go_on(id);
        Ok(())
    }

    async fn ack(&mut self, about: &About, id: &str, Ack { offset, position, tokens }: Ack) -> Result<(), Problem> {
        match (self.entries.get_mut(id).ok_or_else(|| unknown(id))?, offset, position, tokens) {
            (Entry::Subscription { by: By::Offset, window, .. }, Some(place), None, None) => {
                window.ack(By::Offset.word(), place)?;
            }
            (Entry::Subscription { by: By::Position, window, .. }, None, Some(place), None) => {
                window.ack(By::Position.word(), place)?;
            }
            (Entry::Member(member), None, None, Some(tokens)) => {
                let mut mistakes = Wrong::new();
                mistakes.tokens(&tokens);
                mistakes.finish()?;
                let count = tokens.len();
                let answer = member.membership.submit_ack(tokens).await.map_err(errors::report)?;
                member.settled(count);
                self.settling.push_back(settlement(about, answer));
            }
            (entry, ..) => {
                let word = match entry {
                    Entry::Subscription { by, .. } => by.word(),
                    Entry::Member(_) => "tokens",
                };
                return Err(wrong(word, "what is acknowledged here is said by this, and by nothing else"));
            }
        }
        self.go_on(id);
        Ok(())
    }

    fn member(&mut self, id: &str) -> Result<&mut Member, Problem> {
        match self.entries.get_mut(id).ok_or_else(|| unknown(id))? {
            Entry::Member(member) => Ok(member),
            Entry::Subscription { .. } => Err(wrong("id", "it is a subscription, not a member of a group")),
        }
    }

    /// Sends the follower of a subscription on its way if it rests and there is credit.
    fn go_on(&mut self, id: &str) {
        if let Some(Entry::Subscription { tag, window, resting, .. }) = self.entries.get_mut(id)
            && window.room() > 0
            && let Some(follower) = resting.take()
        {
            self.followers.send(tag.clone(), follower, window.room());
        }
    }

    fn current(&mut self, tag: &Tag) -> Option<&mut Entry> {
        self.entries.get_mut(&tag.name).filter(|entry| entry.tag().number == tag.number)
    }

    fn came(&mut self, Came { tag, follower, page }: Came) -> Frame {
        let Some(Entry::Subscription { window, resting, .. }) = self.current(&tag) else { return Frame::new() };
        match page {
            Ok(page) => {
                page.places.iter().for_each(|place| window.send(*place));
                *resting = Some(follower);
                self.go_on(&tag.name);
                page.take()
            }
            Err(error) => self.ended(&tag, &errors::report(error)),
        }
    }

    fn back(&mut self, Back { tag, handed }: Back) -> Frame {
        let app = Arc::clone(&self.app);
        let Some(Entry::Member(member)) = self.current(&tag) else { return Frame::new() };
        match handed {
            Ok(handed) => {
                app.host.metrics.events_delivered.with_label_values(&[WEBSOCKET]).inc_by(handed.len() as u64);
                member.handed(handed.len());
                let frame = handed.iter().map(|one| protocol::handed(&tag.name, one)).collect();
                if let Some(Entry::Member(member)) = self.entries.get_mut(&tag.name) {
                    self.pulls.send(&app, member);
                }
                frame
            }
            Err(error) => self.ended(&tag, &errors::report(error)),
        }
    }

    /// A subscription or a member that cannot go on.
    fn ended(&mut self, tag: &Tag, problem: &Problem) -> Frame {
        self.entries.remove(&tag.name);
        let about = About { id: Some(tag.name.to_string()), mark: None };
        vec![about.error(problem), about.unsubscribed()]
    }
}

fn settled((about, settled): (About, Result<Vec<Settled>, GroupError>)) -> Bytes {
    match settled {
        Ok(settled) => about.settled(&settled),
        Err(error) => about.error(&errors::report(error)),
    }
}

fn settlement(about: &About, answer: Answer<Vec<Settled>>) -> Settlement {
    let about = about.clone();
    Box::pin(async { (about, answer.outcome().await) })
}

fn check_credit(credit: Option<u64>) -> Result<u64, Problem> {
    match credit.unwrap_or(CREDIT) {
        credit if credit <= CREDIT_MAX => Ok(credit),
        credit => Err(wrong("credit", format!("{credit} is not 0 to {CREDIT_MAX}"))),
    }
}

fn unknown(id: &str) -> Problem {
    wrong("id", format!("there is no subscription `{}` on this connection", id.escape_debug()))
}

impl Talk for Session {
    async fn heard(&mut self, data: Bytes, answers: &mut Frame) -> Result<(), End> {
        while self.settling.len() >= SETTLING_MAX
            && let Some(done) = self.settling.next().await
        {
            answers.push(settled(done));
        }
        let (about, ask) = protocol::read(&data);
        let answered = match ask {
            Ok(ask) => self.answer(&about, ask).await,
            Err(problem) => Err(problem),
        };
        answers.extend(answered.unwrap_or_else(|problem| Some(about.error(&problem))));
        Ok(())
    }

    async fn next(&mut self) -> Frame {
        tokio::select! {
            biased;
            Some(done) = self.settling.next() => vec![settled(done)],
            back = self.pulls.next() => self.back(back),
            came = self.followers.next() => self.came(came),
        }
    }

    fn ping(&self) -> Option<Bytes> {
        None
    }

    fn goodbye(&self, end: &End) -> Option<Bytes> {
        end.problem().map(|problem| About::default().error(&problem))
    }

    async fn finish(mut self, end: &End) {
        for (_, entry) in self.entries.drain() {
            entry.tag().over.cancel();
            let Entry::Member(member) = entry else { continue };
            // The group may be gone by now, and then there is nothing to give back.
            let _ = match end {
                End::Draining => member.membership.leave().await,
                End::Gone | End::Silent | End::Stalled | End::Broken(_) => member.membership.lost().await,
            };
        }
    }
}
