//! What stream configurations come to, and what the publisher makes of them.

use std::sync::Arc;

use bytes::Bytes;
use wasmill_core::code::{Code, Problem};
use wasmill_core::event::Offset;
use wasmill_core::log::publish::{Append, AppendError, Check, Transaction};
use wasmill_core::name::Pattern;
use wasmill_core::store::memory::MemoryStore;
use wasmill_core::store::{Expected, Store};
use wasmill_core::stream::Caller;
use wasmill_core::stream::config::{Scope, StreamConfig};
use wasmill_core::stream::configs::{ConfigError, Origin, Subject};

use super::support::{Random, TestHost, append, host, host_over, name};

fn pattern(glob: &str) -> Subject {
    Subject::Pattern(Pattern::new(glob).unwrap())
}

async fn put(test: &TestHost, subject: Subject, json: &str) {
    test.host.stream_configs.put(&subject, StreamConfig::parse(json).unwrap()).await.unwrap();
}

fn problem<T>(outcome: Result<T, AppendError>) -> Problem {
    Problem::from(outcome.err().expect("it is refused"))
}

#[tokio::test]
async fn the_most_specific_word_on_each_field_wins() {
    let test = host().await;
    let configs = &test.host.stream_configs;
    put(&test, pattern("*"), r#"{"retention":{"maxEvents":1,"maxBytes":1},"scope":"internal"}"#).await;
    put(&test, pattern("order-*"), r#"{"retention":{"maxEvents":2},"scope":"public"}"#).await;
    put(&test, pattern("*der-7"), r#"{"retention":{"maxEvents":3}}"#).await;
    put(&test, Subject::Stream(name("order-7")), r#"{"retention":{"maxAgeSeconds":9}}"#).await;
    let explained = configs.explain(&name("order-7"));
    let keep = explained.effective.keep();
    assert_eq!((keep.events, keep.bytes, keep.age.map(|age| age.as_secs())), (Some(2), Some(1), Some(9)));
    assert_eq!(explained.origin("retention.maxEvents"), Origin::Record(pattern("order-*")), "its literal is longer");
    assert_eq!(explained.origin("retention.maxBytes"), Origin::Record(pattern("*")));
    assert_eq!(explained.origin("retention.maxAgeSeconds"), Origin::Record(Subject::Stream(name("order-7"))));
    assert_eq!(explained.origin("deletion"), Origin::Default);
    assert_eq!(configs.effective(&name("order-7")).config(), explained.effective.config());
    assert_eq!(configs.effective(&name("other")).keep().events, Some(1));
    assert!(configs.remove(&pattern("order-*")).await.unwrap());
    assert!(!configs.remove(&pattern("order-*")).await.unwrap(), "it is gone");
    assert_eq!(configs.effective(&name("order-7")).keep().events, Some(3), "what was remembered is forgotten");
    put(&test, Subject::Stream(name("order-7")), r#"{"retention":{"maxEvents":0}}"#).await;
    assert_eq!(configs.effective(&name("order-7")).keep().events, None, "0 takes a bound back");
}

#[tokio::test]
async fn a_restart_knows_the_configurations() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let test = host_over(Arc::clone(&store)).await;
    put(&test, pattern("a*"), r#"{"autoCreate":false}"#).await;
    test.host.stop().await;
    let test = host_over(store).await;
    assert!(!test.host.stream_configs.effective(&name("ab")).auto_create());
    assert_eq!(test.host.stream_configs.list().len(), 1);
}

#[tokio::test]
async fn a_pattern_without_a_star_is_refused_and_so_is_one_too_many() {
    let test = host().await;
    let configs = &test.host.stream_configs;
    let refused = configs.put(&pattern("order"), StreamConfig::default()).await;
    assert!(matches!(refused, Err(ConfigError::NotAPattern(_))), "{refused:?}");
    for n in 0..1_000 {
        put(&test, pattern(&format!("{n}-*")), "{}").await;
    }
    let refused = configs.put(&pattern("one-more-*"), StreamConfig::default()).await;
    assert!(matches!(refused, Err(ConfigError::TooMany(1_000, _))), "{refused:?}");
    put(&test, pattern("7-*"), r#"{"kind":"ephemeral"}"#).await;
    put(&test, Subject::Stream(name("7-1")), "{}").await;
}

#[tokio::test]
async fn an_append_does_not_make_a_stream_that_is_guarded() {
    let test = host().await;
    let publisher = &test.host.publisher;
    put(&test, pattern("g-*"), r#"{"autoCreate":false}"#).await;
    put(&test, Subject::Stream(name("g-1")), r#"{"autoCreate":true}"#).await;
    publisher.append(append("g-1", 1)).await.unwrap();
    test.host.stream_configs.remove(&Subject::Stream(name("g-1"))).await.unwrap();
    let repeated = append("g-1", 1);
    publisher.append(repeated.clone()).await.expect("it exists");
    for expected in [Expected::Any, Expected::NoStream] {
        let refused = problem(publisher.append(Append { expected, ..append("g-2", 1) }).await);
        assert_eq!(refused.code, Code::StreamNotFound);
        assert!(refused.message.contains("`g-2`") && refused.message.contains("autoCreate: true"), "{refused:?}");
    }
    let refused = problem(publisher.append(Append { expected: Expected::NoStream, ..append("g-1", 1) }).await);
    assert_eq!(refused.code, Code::WrongExpectedOffset, "its own expectation is still checked");
    let checks = vec![Check { stream: "g-1".into(), expected: Expected::Exactly(Offset(9)) }];
    let both = Transaction { appends: vec![append("g-2", 1), append("x", 1)], checks, ..Transaction::default() };
    let refused = problem(publisher.transact(both).await);
    let at: Vec<_> = refused.details.iter().map(|detail| detail.at.as_str()).collect();
    assert_eq!((refused.code, at), (Code::StreamNotFound, vec!["g-2", "g-1"]), "with the other checks that fail");
    assert!(publisher.append(repeated).await.unwrap().duplicate);
    assert!(test.host.store.stream(&name("g-2")).await.unwrap().is_none());
}

#[tokio::test]
async fn a_stream_may_take_less_than_the_host() {
    let test = host().await;
    let publisher = &test.host.publisher;
    put(&test, pattern("s*"), r#"{"limits":{"maxEventBytes":4,"maxAppendEvents":2}}"#).await;
    let mut large = append("s", 2);
    large.events[1].data = Bytes::from_static(b"12345");
    let refused = problem(publisher.append(large.clone()).await);
    assert_eq!((refused.code, refused.details[0].at.as_str()), (Code::EventTooLarge, "events[1].data"));
    assert_eq!(refused.details[0].facts, [("bytes", "5".to_owned()), ("limit", "4".to_owned())]);
    let refused = problem(publisher.append(append("s", 3)).await);
    assert_eq!((refused.code, refused.details[0].at.as_str()), (Code::AppendTooLarge, "events"));
    assert_eq!(refused.details[0].facts, [("events", "3".to_owned()), ("limit", "2".to_owned())]);
    let appends = vec![append("other", 3), append("s", 3)];
    let refused = problem(publisher.transact(Transaction { appends, ..Transaction::default() }).await);
    assert_eq!((refused.code, refused.details[0].at.as_str()), (Code::AppendTooLarge, "appends[1].events"));
    publisher.append(Append { stream: "other".into(), ..large }).await.unwrap();
}

#[tokio::test]
async fn scope_and_access_say_who_may() {
    let test = host().await;
    let configs = &test.host.stream_configs;
    put(&test, pattern("in-*"), r#"{"scope":"internal"}"#).await;
    put(&test, pattern("out-*"), r#"{"scope":"cross_service","access":{"publish":"plugins"}}"#).await;
    let may =
        |stream: &str, caller| (configs.may_publish(&name(stream), caller), configs.may_read(&name(stream), caller));
    for caller in [Caller::Host, Caller::Plugin] {
        assert_eq!(
            (may("in-1", caller), may("out-1", caller), may("x", caller)),
            ((true, true), (true, true), (true, true))
        );
    }
    assert_eq!((may("in-1", Caller::Api), may("out-1", Caller::Api)), ((false, false), (false, true)));
    assert_eq!((may("x", Caller::Bridge), may("out-1", Caller::Bridge)), ((false, false), (false, true)));
    assert_eq!(may("x", Caller::Api), (true, true));
}

/// Against the plainest way to say it: all records that match, sorted, the first that says something.
#[tokio::test]
async fn any_order_of_changes_comes_to_the_same() {
    for seed in 0..50 {
        let mut random = Random::new(seed);
        let test = host().await;
        let configs = &test.host.stream_configs;
        let mut model: Vec<(Subject, Option<u64>, Option<Scope>)> = Vec::new();
        for _ in 0..40 {
            let globs = ["*", "a*", "*a", "ab*", "a*b", "b*", "ab*b", "**"];
            let streams = ["a", "ab", "abb", "b", "bab"];
            let subject = match random.below(3) {
                0 => Subject::Stream(name(streams[random.below(5)])),
                _ => pattern(globs[random.below(8)]),
            };
            model.retain(|(other, ..)| *other != subject);
            if random.below(4) == 0 {
                configs.remove(&subject).await.unwrap();
            } else {
                let events = (random.below(2) == 0).then(|| 1 + random.below(100) as u64);
                let scope = [None, Some(Scope::Internal), Some(Scope::CrossService)][random.below(3)];
                let mut config = StreamConfig { scope, ..StreamConfig::default() };
                config.retention.max_events = events;
                configs.put(&subject, config).await.unwrap();
                model.push((subject, events, scope));
            }
            let rank = |subject: &Subject| match subject {
                Subject::Pattern(p) => (0, p.as_str().replace('*', "").len(), p.as_str().to_owned()),
                Subject::Stream(_) => (1, 0, String::new()),
            };
            model.sort_by_key(|(subject, ..)| std::cmp::Reverse(rank(subject)));
            for stream in streams {
                let of_stream = || {
                    model.iter().filter(|(subject, ..)| match subject {
                        Subject::Pattern(p) => p.matches(stream),
                        Subject::Stream(own) => own.as_str() == stream,
                    })
                };
                let effective = configs.effective(&name(stream));
                let events = of_stream().find_map(|(_, events, _)| *events);
                let scope = of_stream().find_map(|(.., scope)| *scope).unwrap_or(Scope::Public);
                assert_eq!((effective.keep().events, effective.config().scope), (events, Some(scope)), "seed {seed}");
            }
        }
        assert_eq!(test.host.store.stream_configs().await.unwrap().len(), model.len(), "seed {seed}");
    }
}
