//! Receipts hold what was said, and act when nothing was.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use wasmill_core::clock::{Clock, Timestamp};
use wasmill_core::code::{Code, Problem};
use wasmill_core::event::{NewEvent, Offset};
use wasmill_core::group::{GroupConfig, Handing, Nack, Start};
use wasmill_core::log::publish::Append;
use wasmill_core::name::Pattern;
use wasmill_core::random::{Random, seeds};
use wasmill_core::receipt::{Mark, REMINDER_TYPE, Receipt};
use wasmill_core::store::Store;
use wasmill_core::store::memory::MemoryStore;
use wasmill_core::stream::config::StreamConfig;
use wasmill_core::stream::configs::Subject;

use super::support::{PAGE, TestHost, append, event, host, host_later, host_over, name};

fn marks(mark: Mark, offsets: impl IntoIterator<Item = Offset>) -> Vec<(Offset, Mark)> {
    offsets.into_iter().map(|offset| (offset, mark)).collect()
}

const SECOND_US: i64 = 1_000_000;

async fn configure(test: &TestHost, json: &str) {
    let config = StreamConfig::parse(json).unwrap();
    test.host.stream_configs.put(&Subject::Stream(name("s")), config).await.unwrap();
}

async fn all_of(test: &TestHost, consumer: &str, unread: bool) -> Vec<Receipt> {
    let (mut found, mut from) = (Vec::new(), None);
    loop {
        let page = test.host.receipts.of_consumer(consumer, from, false, unread, 7).await.unwrap();
        found.extend(page.receipts);
        match page.next {
            None => return found,
            next => from = next,
        }
    }
}

#[tokio::test]
async fn what_is_noted_is_found_by_event_and_by_consumer() {
    let test = host().await;
    test.host.publisher.append(append("s", 100)).await.unwrap();
    test.host.publisher.append(append("t", 1)).await.unwrap();
    let receipts = &test.host.receipts;
    let at = test.clock.now();
    receipts.note(&name("s"), "ann", marks(Mark::Delivered, vec![Offset(3), Offset(70)])).await.unwrap();
    receipts.note(&name("s"), "bob", marks(Mark::Delivered, vec![Offset(3)])).await.unwrap();
    receipts.note(&name("t"), "ann", marks(Mark::Delivered, vec![Offset(0)])).await.unwrap();
    test.clock.advance_us(5);
    receipts.note(&name("s"), "ann", marks(Mark::Read, vec![Offset(3)])).await.unwrap();
    let (of_event, more) = receipts.of_event(&name("s"), Offset(3), None, 10).await.unwrap();
    let seen: Vec<_> =
        of_event.iter().map(|found| (found.consumer.as_str(), found.delivered_at, found.read_at)).collect();
    assert_eq!(seen, [("ann", at, Some(Timestamp(at.0 + 5))), ("bob", at, None)]);
    assert!(!more);
    let places =
        |found: Vec<Receipt>| found.iter().map(|one| (one.stream.to_string(), one.offset.0)).collect::<Vec<_>>();
    let place = |stream: &str, offset: u64| (stream.to_owned(), offset);
    assert_eq!(places(all_of(&test, "ann", false).await), [place("s", 3), place("s", 70), place("t", 0)]);
    assert_eq!(places(all_of(&test, "ann", true).await), [place("s", 70), place("t", 0)]);
    let consumers = receipts.consumers(&name("s"), None, 10).await.unwrap().consumers;
    let progress: Vec<_> = consumers.iter().map(|(who, p)| (who.as_str(), p.delivered, p.read, p.last_read)).collect();
    assert_eq!(progress, [("ann", 2, 1, Some(3)), ("bob", 1, 0, None)]);
}

#[tokio::test]
async fn what_cannot_have_been_read_is_refused() {
    let test = host().await;
    test.host.publisher.append(append("s", 1)).await.unwrap();
    let receipts = &test.host.receipts;
    let code = |outcome: Result<(), _>| Problem::from(outcome.unwrap_err()).code;
    assert_eq!(code(receipts.note(&name("s"), "ann", marks(Mark::Read, vec![Offset(1)])).await), Code::InvalidArgument);
    assert_eq!(code(receipts.note(&name("s"), "", marks(Mark::Read, vec![Offset(0)])).await), Code::InvalidArgument);
    assert_eq!(code(receipts.note(&name("s"), "ann", marks(Mark::Read, vec![])).await), Code::InvalidArgument);
    assert_eq!(code(receipts.note(&name("u"), "ann", marks(Mark::Read, vec![Offset(0)])).await), Code::StreamNotFound);
    assert!(all_of(&test, "ann", false).await.is_empty());
}

#[tokio::test]
async fn who_does_not_read_is_reminded_until_it_is_enough() {
    let test = host().await;
    configure(&test, r#"{"receipts":{"unreadAfterSeconds":60,"maxReminders":2,"stream":"reminders"}}"#).await;
    test.host.publisher.append(append("s", 3)).await.unwrap();
    let receipts = &test.host.receipts;
    receipts.note(&name("s"), "ann", marks(Mark::Delivered, vec![Offset(0), Offset(1)])).await.unwrap();
    receipts.note(&name("s"), "ann", marks(Mark::Read, vec![Offset(1)])).await.unwrap();
    let mut reminders = test.host.reader.follow_stream(name("reminders"), Offset(0));
    for n in 1..=2_u64 {
        test.clock.advance_us(60 * SECOND_US);
        let reminder = reminders.next_page(PAGE).await.unwrap().remove(0);
        assert_eq!((reminder.event_type(), reminder.key()), (REMINDER_TYPE, Some("ann")));
        let data: serde_json::Value = serde_json::from_slice(reminder.data()).unwrap();
        assert_eq!((&data["stream"], &data["offset"], &data["reminder"]), (&"s".into(), &0.into(), &n.into()));
    }
    // It was enough. Whoever is delivered something later is reminded of that.
    test.clock.advance_us(600 * SECOND_US);
    receipts.note(&name("s"), "bob", marks(Mark::Delivered, vec![Offset(2)])).await.unwrap();
    test.clock.advance_us(60 * SECOND_US);
    assert_eq!(reminders.next_page(PAGE).await.unwrap()[0].key(), Some("bob"));
    let (of_event, _) = receipts.of_event(&name("s"), Offset(0), None, 10).await.unwrap();
    assert_eq!((of_event[0].reminders, of_event[0].read_at), (2, None));
}

#[tokio::test]
async fn what_is_not_read_in_time_becomes_a_dead_letter_where_that_is_wanted() {
    let test = host().await;
    configure(
        &test,
        r#"{"receipts":{"unreadAfterSeconds":60,"onUnread":"dead_letter"},"deadLetter":{"stream":"unread-orders"}}"#,
    )
    .await;
    test.host.publisher.append(append("s", 2)).await.unwrap();
    test.host.receipts.note(&name("s"), "ann", marks(Mark::Delivered, vec![Offset(1)])).await.unwrap();
    test.clock.advance_us(60 * SECOND_US);
    let mut letters = test.host.reader.follow_stream(name("unread-orders"), Offset(0));
    let letter = letters.next_page(PAGE).await.unwrap().remove(0);
    assert!(letter.headers().contains(&("wasmill-dead-letter-consumer", "ann")), "{letter:?}");
    let found = loop {
        let found = all_of(&test, "ann", false).await.remove(0);
        if found.dead_letter {
            break found;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(found.read_at, None);
    // That it is read after all is noted.
    test.host.receipts.note(&name("s"), "ann", marks(Mark::Read, vec![Offset(1)])).await.unwrap();
    assert!(all_of(&test, "ann", true).await.is_empty());
}

#[tokio::test]
async fn old_receipts_are_forgotten_with_their_consumer() {
    let test = host().await;
    configure(&test, r#"{"receipts":{"keepSeconds":100}}"#).await;
    test.host.publisher.append(append("s", 200)).await.unwrap();
    let receipts = &test.host.receipts;
    receipts.note(&name("s"), "ann", marks(Mark::Read, (0..150).map(Offset))).await.unwrap();
    test.clock.advance_us(60 * SECOND_US);
    receipts.note(&name("s"), "ann", marks(Mark::Read, vec![Offset(150)])).await.unwrap();
    test.clock.advance_us(60 * SECOND_US);
    while all_of(&test, "ann", false).await.len() > 1 {
        tokio::task::yield_now().await;
    }
    test.clock.advance_us(60 * SECOND_US);
    while !receipts.consumers(&name("s"), None, 10).await.unwrap().consumers.is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(all_of(&test, "ann", false).await.is_empty());
    // Nothing is left behind of it.
    for collection in ["receipt", "receipt-progress", "receipt-consumer", "timer"] {
        let count = test.host.store.count(wasmill_core::record::GenerationId::HOST, collection, "").await.unwrap();
        assert_eq!(count, 0, "{collection}");
    }
}

/// Random marks of several consumers over several streams, with hosts that end in between, beside a plain map.
#[tokio::test]
async fn receipts_are_what_was_said_and_nothing_else() {
    for seed in seeds(30) {
        let mut random = Random::new(seed);
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let mut test = host_over(Arc::clone(&store)).await;
        for stream in ["s", "t"] {
            test.host.publisher.append(append(stream, 300)).await.unwrap();
        }
        let mut said: BTreeMap<(&str, &str, u64), (Timestamp, Option<Timestamp>)> = BTreeMap::new();
        for _ in 0..60 {
            test.clock.advance_us(1 + random.below(1_000) as i64);
            let now = test.clock.now();
            let mut together = Vec::new();
            for _ in 0..1 + random.below(4) {
                let (stream, consumer) = (*random.pick(&["s", "t"]), *random.pick(&["ann", "bob", "s"]));
                let mark = *random.pick(&[Mark::Delivered, Mark::Read]);
                let first = random.below(300);
                let offsets: Vec<u64> = (first..300).take(1 + random.below(90) as usize).collect();
                for offset in &offsets {
                    let one = said.entry((consumer, stream, *offset)).or_insert((now, None));
                    if mark == Mark::Read {
                        one.1.get_or_insert(now);
                    }
                }
                let offsets: Vec<_> = offsets.into_iter().map(Offset).collect();
                let noted = test.host.receipts.submit(name(stream), consumer.into(), marks(mark, offsets)).await;
                together.push(noted.unwrap());
            }
            for noted in together {
                noted.outcome().await.unwrap();
            }
            if random.percent(10) {
                test.host.stop().await;
                test = host_later(Arc::clone(&store), now).await;
            }
        }
        for consumer in ["ann", "bob", "s"] {
            for unread in [false, true] {
                let found: Vec<_> = all_of(&test, consumer, unread)
                    .await
                    .into_iter()
                    .map(|one| ((one.stream.to_string(), one.offset.0), (one.delivered_at, one.read_at)))
                    .collect();
                let expected: Vec<_> = said
                    .iter()
                    .filter(|((who, ..), (_, read))| *who == consumer && !(unread && read.is_some()))
                    .map(|((_, stream, offset), times)| (((*stream).to_owned(), *offset), *times))
                    .collect();
                assert_eq!(found, expected);
            }
        }
        for offset in 0..300 {
            let (found, _) = test.host.receipts.of_event(&name("t"), Offset(offset), None, 10).await.unwrap();
            let found: Vec<_> = found.into_iter().map(|one| (one.consumer, one.delivered_at, one.read_at)).collect();
            let expected: Vec<_> = said
                .iter()
                .filter(|((_, stream, at), _)| *stream == "t" && *at == offset)
                .map(|((who, ..), (delivered, read))| ((*who).to_owned(), *delivered, *read))
                .collect();
            assert_eq!(found, expected);
        }
        let consumers = test.host.receipts.consumers(&name("s"), None, 10).await.unwrap().consumers;
        for (who, progress) in consumers {
            let its: Vec<_> = said.iter().filter(|((w, s, _), _)| *w == who && *s == "s").collect();
            assert_eq!(progress.delivered, its.len() as u64);
            assert_eq!(progress.read, its.iter().filter(|(_, (_, read))| read.is_some()).count() as u64);
        }
        test.host.stop().await;
    }
}

#[tokio::test]
async fn what_a_group_acknowledges_it_has_read_if_that_is_wanted() {
    let test = host().await;
    configure(&test, r#"{"receipts":{"groups":true}}"#).await;
    test.host.publisher.append(append("s", 3)).await.unwrap();
    test.host.publisher.append(append("t", 1)).await.unwrap();
    test.host.groups.create("g", GroupConfig::default(), Start::First).await.unwrap();
    let member = test.host.groups.join("g", "ann").await.unwrap();
    let handed = member.pull(PAGE, test.clock.now()).await.unwrap();
    let token = |stream: &str, offset: u64| {
        let wanted = |one: &&Handing| one.event.stream() == stream && one.event.offset().0 == offset;
        handed.iter().find(wanted).unwrap().token
    };
    member.ack(vec![token("s", 0), token("t", 0)]).await.unwrap();
    member.nack(vec![token("s", 1)], Nack::Skip).await.unwrap();
    // Answered is noted: nothing is waited for.
    let read = all_of(&test, "g", false).await;
    let read: Vec<_> = read.iter().map(|one| (one.stream.as_str(), one.offset.0, one.read_at.is_some())).collect();
    assert_eq!(read, [("s", 0, true)]);
}

/// The highest block went first, and took the consumer's progress with it: what was read later, of lower
/// offsets, was no longer found by consumer.
#[tokio::test]
async fn receipts_of_lower_events_outlive_those_of_higher_ones() {
    let test = host().await;
    configure(&test, r#"{"receipts":{"keepSeconds":100}}"#).await;
    test.host.publisher.append(append("s", 400)).await.unwrap();
    let receipts = &test.host.receipts;
    for offset in [350, 3, 150] {
        receipts.note(&name("s"), "ann", marks(Mark::Read, [Offset(offset)])).await.unwrap();
        test.clock.advance_us(30 * SECOND_US);
    }
    let left = async |offsets: &[u64]| {
        loop {
            let found: Vec<u64> = all_of(&test, "ann", false).await.iter().map(|one| one.offset.0).collect();
            if found == offsets {
                break;
            }
            assert!(found.len() > offsets.len(), "{found:?}");
            tokio::task::yield_now().await;
        }
    };
    left(&[3, 150, 350]).await;
    for offsets in [&[3, 150][..], &[150], &[]] {
        test.clock.advance_us(30 * SECOND_US);
        left(offsets).await;
    }
    while !receipts.consumers(&name("s"), None, 10).await.unwrap().consumers.is_empty() {
        tokio::task::yield_now().await;
    }
}

/// All that was late of a block went into one append: where that was too large, nothing was published, and every
/// event counted as reminded of.
#[tokio::test]
async fn what_one_append_does_not_hold_is_reminded_of_next() {
    for limits in ["", r#""limits":{"maxAppendEvents":5},"#] {
        let test = host().await;
        let json = r#"{"receipts":{"unreadAfterSeconds":60,"onUnread":"dead_letter"},"deadLetter":{"stream":"late"}}"#;
        configure(&test, json).await;
        let of_late = StreamConfig::parse(&format!("{{{limits}\"kind\":\"persistent\"}}")).unwrap();
        test.host.stream_configs.put(&Subject::Stream(name("late")), of_late).await.unwrap();
        for n in 0..64 {
            let data = Bytes::from(format!("\"{}\"", "x".repeat(90_000)));
            let events = vec![NewEvent { data, ..event(n + 1) }];
            test.host.publisher.append(Append { events, ..append("s", 0) }).await.unwrap();
        }
        let delivered = marks(Mark::Delivered, (0..64).map(Offset));
        test.host.receipts.note(&name("s"), "ann", delivered).await.unwrap();
        test.clock.advance_us(60 * SECOND_US);
        let mut letters = test.host.reader.follow_stream(name("late"), Offset(0));
        let mut found = Vec::new();
        while found.len() < 64 {
            let page = letters.next_page(PAGE).await.unwrap();
            found.extend(page.iter().map(|letter| letter.origin().causation_id.unwrap()));
        }
        let expected: Vec<String> = (0..64).map(|n| uuid::Uuid::from_u128(n + 1).to_string()).collect();
        assert_eq!(found, expected, "each once, in order");
        test.host.stop().await;
    }
}

#[tokio::test]
async fn a_reminder_does_not_make_a_stream_that_no_append_may_make() {
    let test = host().await;
    configure(&test, r#"{"receipts":{"unreadAfterSeconds":60,"stream":"reminders"}}"#).await;
    let closed = StreamConfig::parse(r#"{"autoCreate":false}"#).unwrap();
    test.host.stream_configs.put(&Subject::Pattern(Pattern::new("remind*").unwrap()), closed).await.unwrap();
    test.host.publisher.append(append("s", 1)).await.unwrap();
    test.host.receipts.note(&name("s"), "ann", marks(Mark::Delivered, [Offset(0)])).await.unwrap();
    test.clock.advance_us(60 * SECOND_US);
    let timers = async || test.host.store.count(wasmill_core::record::GenerationId::HOST, "timer", "").await.unwrap();
    // It is given up: what is left is the time when the receipt is forgotten.
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(timers().await, 1);
    assert!(test.host.reader.stream(&name("reminders")).await.is_err());
    assert_eq!(all_of(&test, "ann", true).await[0].reminders, 0);
}
