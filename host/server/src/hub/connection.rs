//! What a client of the hub may call, and what it is called back with.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use wasmill_core::code::{Code, Problem};
use wasmill_core::event::Offset;
use wasmill_core::log::filter::{Filter, FilterTerm};
use wasmill_core::name::Pattern;
use wasmill_core::receipt::REMINDER_TYPE;

use super::Client;
use super::protocol::{self, Call, Messages, Said};
use crate::app::App;
use crate::convert::stream_name;
use crate::errors;
use crate::pages::{self, Bound, How, NUMBER_MAX};
use crate::push::followers::{Came, Encode, Follower, Followers, Tag};
use crate::push::{End, Frame, PAGE, SUBSCRIPTIONS_MAX, Talk};
use crate::{receipts, rights};

/// Stands among the subscriptions for reminders: no stream has such a name.
const REMINDERS: &str = "\u{1}reminders";

/// One client of the hub, over whatever transport.
pub(super) struct Connection {
    app: Arc<App>,
    transport: &'static str,
    client: Client,
    messages: Messages,
    greeted: bool,
    /// By the name of the stream.
    subscriptions: HashMap<Arc<str>, Tag>,
    followers: Followers,
    /// Of the next subscription.
    number: u64,
}

impl Connection {
    pub(super) fn new(app: Arc<App>, transport: &'static str, client: Client) -> Self {
        Self {
            app,
            transport,
            client,
            messages: Messages::default(),
            greeted: false,
            subscriptions: HashMap::new(),
            followers: Followers::new(),
            number: 0,
        }
    }

    async fn message(&mut self, message: &[u8], answers: &mut Frame) -> Result<(), End> {
        if !self.greeted {
            protocol::greeting(message).map_err(End::Broken)?;
            self.greeted = true;
            self.listen_for_reminders();
            answers.push(Bytes::from_static(protocol::GREETED));
            return Ok(());
        }
        match protocol::read(message).map_err(End::Broken)? {
            Said::Call(call) => self.call(call, answers).await,
            Said::Streaming(id) => {
                let problem = Problem::new(Code::InvalidArgument, "no method here takes or returns a stream");
                answers.push(failure(id.as_deref(), &problem));
            }
            Said::OfStream => {
                let problem = Problem::new(Code::InvalidArgument, "there is no stream under way to cancel or to feed");
                answers.push(failure(None, &problem));
            }
            Said::Ping | Said::Unknown => {}
            Said::Close => return Err(End::Gone),
        }
        Ok(())
    }

    async fn call(&mut self, Call { id, target, arguments }: Call, answers: &mut Frame) {
        // As in ASP.NET Core, the case of a method's name does not matter.
        let outcome = match target.to_ascii_lowercase().as_str() {
            "subscribetostream" => self.subscribe(&arguments, answers).await,
            "unsubscribefromstream" => self.unsubscribe(&arguments),
            "markasread" => self.mark_as_read(&arguments).await,
            _ => {
                let message = format!(
                    "there is no method `{}`; there are SubscribeToStream, UnsubscribeFromStream and MarkAsRead",
                    target.escape_debug()
                );
                Err(Problem::new(Code::NotFound, message))
            }
        };
        match (outcome, &id) {
            (Ok(result), Some(id)) => answers.push(protocol::completed(id, &result)),
            (Ok(_), None) => {}
            (Err(problem), id) => answers.push(failure(id.as_deref(), &problem)),
        }
    }

    /// `SubscribeToStream(streamName, startFromOffset)`; without an offset what comes from now on.
    async fn subscribe(&mut self, arguments: &[Value], answers: &mut Frame) -> Result<Value, Problem> {
        let (name, from) = match arguments {
            [name] => (name, &Value::Null),
            [name, from] => (name, from),
            _ => return Err(argument("SubscribeToStream takes a stream's name, and an offset or null")),
        };
        let name = text(name, "streamName")?;
        let from = offset(from)?.map(|offset| Bound::At(Offset(offset)));
        let stream = stream_name(name)?;
        rights::may_read(&self.app.host.stream_configs, &stream)?;
        if self.subscriptions.len() >= SUBSCRIPTIONS_MAX && !self.subscriptions.contains_key(name) {
            let message = format!("a connection has at most {SUBSCRIPTIONS_MAX} subscriptions; open another one");
            return Err(Problem::new(Code::LimitReached, message));
        }
        let from = pages::start_in_stream(&self.app, &stream, from).await.map_err(errors::report)?;
        self.number += 1;
        let tag = Tag { name: name.into(), number: self.number, over: CancellationToken::new() };
        if let Some(earlier) = self.subscriptions.insert(Arc::clone(&tag.name), tag.clone()) {
            earlier.over.cancel();
        }
        let (words, written) = (self.client.words, Arc::clone(&tag.name));
        let encode: Encode = Box::new(move |events| vec![protocol::events(words, &written, events)]);
        let how = How { via: self.transport, raw: false };
        let follower = Follower::of_stream(&self.app, how, (stream, from), Filter::default(), encode);
        self.followers.send(tag, follower.noting(self.client.consumer.clone()), PAGE.events);
        answers.push(protocol::callback("SubscriptionConfirmed", &json!([name])));
        Ok(json!({ "streamName": name, "nextOffset": from.0 }))
    }

    /// `UnsubscribeFromStream(streamName)`: whether there was a subscription.
    fn unsubscribe(&mut self, arguments: &[Value]) -> Result<Value, Problem> {
        let [name] = arguments else { return Err(argument("UnsubscribeFromStream takes a stream's name")) };
        let name = text(name, "streamName")?;
        stream_name(name)?;
        let removed = self.subscriptions.remove(name);
        if let Some(tag) = &removed {
            tag.over.cancel();
        }
        Ok(json!(removed.is_some()))
    }

    /// `MarkAsRead(streamName, offset)`, or several offsets; answered when it survives a power cut.
    async fn mark_as_read(&self, arguments: &[Value]) -> Result<Value, Problem> {
        let [name, offsets] = arguments else {
            return Err(argument("MarkAsRead takes a stream's name, and an offset or a list of offsets"));
        };
        let Some(consumer) = &self.client.consumer else {
            return Err(argument("say who reads, when you connect: /hubs/events?consumer=NAME"));
        };
        let name = text(name, "streamName")?;
        let whole = |offset: &Value| offset.as_u64().filter(|offset| *offset <= NUMBER_MAX);
        let read: Option<Vec<u64>> = match offsets {
            Value::Array(offsets) => offsets.iter().map(whole).collect(),
            one => whole(one).map(|offset| vec![offset]),
        };
        let wrong = || argument(format!("offset is a whole number from 0 to {NUMBER_MAX}, or a list, not {offsets}"));
        receipts::note(&self.app, name, consumer, Vec::new(), read.ok_or_else(wrong)?).await?;
        Ok(Value::Bool(true))
    }

    /// Who says its name hears of what it has not read in time: `EventUnread(streamName, reminder)`.
    fn listen_for_reminders(&mut self) {
        let Some(consumer) = self.client.consumer.clone() else { return };
        let term = FilterTerm {
            types: vec![Pattern::new(REMINDER_TYPE).expect("it is the name of a type")],
            keys: vec![consumer.to_string()],
            ..FilterTerm::default()
        };
        let encode: Encode = Box::new(|events| vec![protocol::reminders(events)]);
        let from = self.app.host.reader.tail().next();
        let how = How { via: self.transport, raw: false };
        let follower = Follower::of_log(&self.app, how, from, Filter::new(vec![term]), encode);
        self.number += 1;
        let tag = Tag { name: REMINDERS.into(), number: self.number, over: CancellationToken::new() };
        self.subscriptions.insert(Arc::clone(&tag.name), tag.clone());
        self.followers.send(tag, follower, PAGE.events);
    }

    fn is_current(&self, tag: &Tag) -> bool {
        self.subscriptions.get(&tag.name).is_some_and(|current| current.number == tag.number)
    }
}

impl Talk for Connection {
    async fn heard(&mut self, data: Bytes, answers: &mut Frame) -> Result<(), End> {
        self.messages.add(&data).map_err(End::Broken)?;
        while let Some(message) = self.messages.next() {
            self.message(&message, answers).await?;
        }
        Ok(())
    }

    async fn next(&mut self) -> Frame {
        loop {
            let Came { tag, follower, page } = self.followers.next().await;
            if !self.is_current(&tag) {
                continue;
            }
            match page {
                Ok(page) => {
                    self.followers.send(tag, follower, PAGE.events);
                    return page.take();
                }
                Err(error) => {
                    self.subscriptions.remove(&tag.name);
                    let mut problem = errors::report(error);
                    problem.message = format!("the subscription to `{}` has ended: {}", tag.name, problem.message);
                    return vec![failure(None, &problem)];
                }
            }
        }
    }

    fn ping(&self) -> Option<Bytes> {
        self.greeted.then(|| Bytes::from_static(protocol::PING))
    }

    fn goodbye(&self, end: &End) -> Option<Bytes> {
        let problem = end.problem()?;
        Some(match self.greeted {
            // A fault of the client's is not mended by coming again.
            true => protocol::close(&problem, !matches!(end, End::Broken(_))),
            false => protocol::not_greeted(&problem),
        })
    }

    async fn finish(self, _end: &End) {}
}

/// Told as the answer of a call, or through the callback `Error` if nobody waits for one.
fn failure(id: Option<&str>, problem: &Problem) -> Bytes {
    match id {
        Some(id) => protocol::failed(id, problem),
        None => protocol::callback("Error", &json!([protocol::in_words(problem)])),
    }
}

fn argument(message: impl Into<String>) -> Problem {
    Problem::new(Code::InvalidArgument, message)
}

fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str, Problem> {
    value.as_str().ok_or_else(|| argument(format!("{name} is a text, not {value}")))
}

fn offset(value: &Value) -> Result<Option<u64>, Problem> {
    match value {
        Value::Null => Ok(None),
        value => match value.as_u64().filter(|offset| *offset <= NUMBER_MAX) {
            Some(offset) => Ok(Some(offset)),
            None => {
                Err(argument(format!("startFromOffset is null or a whole number from 0 to {NUMBER_MAX}, not {value}")))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_a_number_or_left_out() {
        assert_eq!(offset(&Value::Null), Ok(None));
        assert_eq!(offset(&json!(0)), Ok(Some(0)));
        assert_eq!(offset(&json!(NUMBER_MAX)), Ok(Some(NUMBER_MAX)));
        for wrong in [json!(-1), json!(1.5), json!("0"), json!(NUMBER_MAX + 1), json!([]), json!(true)] {
            assert_eq!(offset(&wrong).unwrap_err().code, Code::InvalidArgument, "{wrong}");
        }
    }
}
