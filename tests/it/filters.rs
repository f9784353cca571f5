//! What a reader asks for is what it gets: every filter and range, over both faces, against a full read
//! from which the client picks for itself.

use std::fmt::Write as _;

use wasmill_core::event::Event;
use wasmill_core::name::Pattern;
use wasmill_server::proto::{
    AppendRequest, Direction, Filter, FilterTerm, FollowLogRequest, GetStreamRequest, NewEvent, ReadLogRequest,
    ReadStreamRequest,
};

use crate::support::TestHost;
use crate::support::host::PATIENCE;
use crate::support::rng::Rng;

const EVENTS: u64 = 300;

/// What an event has is decided by its number, so that every list has events on both sides of it.
fn event(n: u64) -> NewEvent {
    NewEvent {
        r#type: ["order.placed", "order.paid", "seat.taken"][(n % 3) as usize].into(),
        key: (!n.is_multiple_of(4)).then(|| format!("k,{}", n % 5)),
        data: n.to_string().into(),
        tags: (0..3).filter(|tag| n & (1 << tag) != 0).map(|tag| format!("tag:{tag}")).collect(),
        correlation_id: n.is_multiple_of(2).then(|| format!("c-{}", n % 6)),
        ..NewEvent::default()
    }
}

/// A host with events in four streams, appended one to three at a time, so that their times differ.
async fn filled() -> TestHost {
    let host = TestHost::start().await;
    let (mut log, mut n) = (host.log().await, 0);
    while n < EVENTS {
        let events: Vec<NewEvent> = (n..(n + 1 + n % 3).min(EVENTS)).map(event).collect();
        let stream = ["order-1", "order-2", "seat-1", "k,1"][(n / 2 % 4) as usize];
        n += events.len() as u64;
        let request = AppendRequest { stream: stream.into(), events, ..AppendRequest::default() };
        log.append(request).await.expect("taken");
    }
    host
}

async fn read_log(host: &TestHost, request: ReadLogRequest) -> Vec<Event> {
    let mut pages = host.log().await.read_log(request).await.expect("read").into_inner();
    let mut events = Vec::new();
    while let Some(page) = pages.message().await.expect("a page") {
        events.extend(page.events.into_iter().map(|event| event.into_event().expect("an event")));
    }
    events
}

async fn read_stream(host: &TestHost, request: ReadStreamRequest) -> Vec<u64> {
    let mut pages = host.log().await.read_stream(request).await.expect("read").into_inner();
    let mut offsets = Vec::new();
    while let Some(page) = pages.message().await.expect("a page") {
        offsets.extend(page.events.into_iter().map(|event| event.into_event().expect("an event").offset().0));
    }
    offsets
}

/// The numbers of a field of the events at a path, page after page.
async fn over_http(host: &TestHost, path: &str, field: &str) -> Vec<u64> {
    let (mut numbers, mut from) = (Vec::new(), None);
    loop {
        let place = from.map_or_else(String::new, |from| format!("&from={from}"));
        let without_time = path.split('&').filter(|part| from.is_none() || !part.starts_with("fromTime"));
        let (status, page) = host.get(&format!("{}{place}", without_time.collect::<Vec<_>>().join("&"))).await;
        assert_eq!(status, 200, "{path}: {page}");
        let events = page["events"].as_array().expect("events");
        numbers.extend(events.iter().map(|event| event[field].as_u64().expect("a number")));
        match page["next"].as_u64() {
            Some(next) => from = Some(next),
            None => return numbers,
        }
    }
}

/// The rules of a term, in other words than the host's.
fn matches(term: &FilterTerm, event: &Event) -> bool {
    let glob = |globs: &[String], text: &str| {
        globs.is_empty() || globs.iter().any(|glob| Pattern::new(glob).expect("a glob").matches(text))
    };
    let one_of = |texts: &[String], text: Option<&str>| {
        texts.is_empty() || text.is_some_and(|text| texts.iter().any(|one| one == text))
    };
    glob(&term.streams, event.stream())
        && glob(&term.types, event.event_type())
        && one_of(&term.keys, Some(event.key().unwrap_or(event.stream())))
        && one_of(&term.correlation_ids, event.origin().correlation_id.as_deref())
        && term.tags.iter().all(|tag| event.tags().contains(&tag.as_str()))
}

fn some_of(rng: &mut Rng, choices: &[&str]) -> Vec<String> {
    let count = [0, 0, 1, 2][rng.below(4) as usize];
    (0..count).map(|_| choices[rng.below(choices.len() as u64) as usize].to_owned()).collect()
}

fn query(term: &FilterTerm) -> String {
    let lists = [
        ("streams", &term.streams),
        ("types", &term.types),
        ("keys", &term.keys),
        ("tags", &term.tags),
        ("correlationIds", &term.correlation_ids),
    ];
    let mut query = String::new();
    for (name, list) in lists.iter().filter(|(_, list)| !list.is_empty()) {
        let escaped: Vec<String> = list.iter().map(|text| text.replace(',', "%5C,")).collect();
        let _ = write!(query, "&{name}={}", escaped.join(","));
    }
    query
}

#[tokio::test]
async fn every_filter_hands_out_what_a_client_would_pick() {
    let (host, mut rng) = (filled().await, Rng::printed("every_filter_hands_out_what_a_client_would_pick"));
    let all = read_log(&host, ReadLogRequest::default()).await;
    assert_eq!(all.len() as u64, EVENTS);
    let mut found = 0;
    for round in 0..60 {
        let term = FilterTerm {
            streams: some_of(&mut rng, &["order-*", "seat-1", "k,1", "*-2", "nothing"]),
            types: some_of(&mut rng, &["order.*", "seat.taken", "*paid", "nothing"]),
            keys: some_of(&mut rng, &["k,1", "k,2", "seat-1", "nothing"]),
            tags: some_of(&mut rng, &["tag:0", "tag:1", "tag:2", "nothing"]),
            correlation_ids: some_of(&mut rng, &["c-0", "c-2", "nothing"]),
        };
        let backward = round % 2 == 1;
        let mut expected: Vec<u64> =
            all.iter().filter(|event| matches(&term, event)).map(|event| event.position().0).collect();
        if backward {
            expected.reverse();
        }
        let direction = if backward { Direction::Backward } else { Direction::Forward };
        let filter = Some(Filter { terms: vec![term.clone()] });
        let request = ReadLogRequest { direction: direction.into(), filter, ..ReadLogRequest::default() };
        let read: Vec<u64> = read_log(&host, request).await.iter().map(|event| event.position().0).collect();
        assert_eq!(read, expected, "{direction:?} {term:?}");
        let direction = if backward { "backward" } else { "forward" };
        let path = format!("/api/events?direction={direction}&limit=7{}", query(&term));
        assert_eq!(over_http(&host, &path, "position").await, expected, "{path}");
        found += expected.len();
    }
    assert!(found > 0, "some filter has found something");

    // Terms are alternatives.
    let terms: Vec<FilterTerm> = [["tag:0", "tag:1"], ["tag:1", "tag:2"]]
        .map(|tags| FilterTerm { tags: tags.map(str::to_owned).into(), ..FilterTerm::default() })
        .into();
    let either = |event: &&Event| terms.iter().any(|term| matches(term, event));
    let expected: Vec<u64> = all.iter().filter(either).map(|event| event.position().0).collect();
    let request = ReadLogRequest { filter: Some(Filter { terms: terms.clone() }), ..ReadLogRequest::default() };
    let read: Vec<u64> = read_log(&host, request).await.iter().map(|event| event.position().0).collect();
    assert_eq!(read, expected);
}

/// When each event was recorded, as HTTP writes it.
async fn times(host: &TestHost) -> Vec<String> {
    let (_, page) = host.get("/api/events?limit=1000").await;
    let events = page["events"].as_array().expect("events").iter();
    events.map(|event| event["recordedAt"].as_str().expect("a time").to_owned()).collect()
}

#[tokio::test]
async fn ranges_by_place_and_by_time_include_their_beginning_and_not_their_end() {
    let host = filled().await;
    let all = read_log(&host, ReadLogRequest::default()).await;
    let times = times(&host).await;
    let time = |position: usize| all[position].recorded_at().0;
    // The first of an append and the middle of one, the same time more than once, and no event's time.
    for (from, until) in [(0, 299), (40, 41), (41, 200), (7, 7), (250, 20)] {
        let (from_us, until_us) = (time(from), time(until));
        let forward: Vec<u64> =
            (0..).zip(&all).filter(|(_, e)| (from_us..until_us).contains(&e.recorded_at().0)).map(|(n, _)| n).collect();
        let mut backward: Vec<u64> = (0..)
            .zip(&all)
            .filter(|(_, e)| e.recorded_at().0 <= from_us && e.recorded_at().0 > until_us)
            .map(|(n, _)| n)
            .collect();
        backward.reverse();
        let places: [Vec<u64>; 2] =
            [(from as u64..until as u64).collect(), ((until as u64 + 1)..=(from as u64)).rev().collect()];
        for (direction, name, by_time, by_place) in [
            (Direction::Forward, "forward", forward, &places[0]),
            (Direction::Backward, "backward", backward, &places[1]),
        ] {
            let base = ReadLogRequest { direction: direction.into(), ..ReadLogRequest::default() };
            let request = ReadLogRequest { from_time_us: Some(from_us), until_time_us: Some(until_us), ..base.clone() };
            let read: Vec<u64> = read_log(&host, request).await.iter().map(|event| event.position().0).collect();
            assert_eq!(read, by_time, "{name} by time {from}..{until}");
            let (from_time, until_time) = (&times[from], &times[until]);
            let path = format!("/api/events?direction={name}&limit=9&fromTime={from_time}&untilTime={until_time}");
            assert_eq!(over_http(&host, &path, "position").await, by_time, "{path}");
            let (from_position, until_position) = (Some(from as u64), Some(until as u64));
            let request = ReadLogRequest { from_position, until_position, ..base };
            let read: Vec<u64> = read_log(&host, request).await.iter().map(|event| event.position().0).collect();
            assert_eq!(&read, by_place, "{name} {from}..{until}");
        }
    }
    let path = format!("/api/events?from=3&fromTime={}", times[3]);
    let (status, problem) = host.get(&path).await;
    assert_eq!((status, problem["details"][0]["at"].as_str()), (400, Some("fromTime")), "{problem}");
    let request = ReadLogRequest { from_position: Some(3), from_time_us: Some(3), ..ReadLogRequest::default() };
    let status = host.log().await.read_log(request).await.expect_err("it is refused");
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
}

#[tokio::test]
async fn a_stream_is_read_between_offsets_or_times_too() {
    let host = filled().await;
    let all = read_log(&host, ReadLogRequest::default()).await;
    let of_stream: Vec<&Event> = all.iter().filter(|event| event.stream() == "order-2").collect();
    let (from, until) = (5, of_stream.len() as u64 - 5);
    let (from_us, until_us) = (of_stream[from as usize].recorded_at().0, of_stream[until as usize].recorded_at().0);
    let base = ReadStreamRequest { stream: "order-2".into(), ..ReadStreamRequest::default() };
    let places = ReadStreamRequest { from_offset: Some(from), until_offset: Some(until), ..base.clone() };
    assert_eq!(read_stream(&host, places).await, (from..until).collect::<Vec<_>>());
    let path = format!("/api/event-streams/order-2/events?direction=backward&from={until}&until={from}");
    assert_eq!(over_http(&host, &path, "offset").await, (from + 1..=until).rev().collect::<Vec<_>>());
    let in_time = |event: &&&Event| (from_us..until_us).contains(&event.recorded_at().0);
    let expected: Vec<u64> = of_stream.iter().filter(in_time).map(|event| event.offset().0).collect();
    let in_time = ReadStreamRequest { from_time_us: Some(from_us), until_time_us: Some(until_us), ..base };
    assert_eq!(read_stream(&host, in_time).await, expected);
    let times = times(&host).await;
    let time = |offset: u64| &times[of_stream[offset as usize].position().0 as usize];
    let (from_time, until_time) = (time(from), time(until));
    let path = format!("/api/event-streams/order-2/events?limit=4&fromTime={from_time}&untilTime={until_time}");
    assert_eq!(over_http(&host, &path, "offset").await, expected, "{path}");
    for empty in ["from=5&until=5", "direction=backward&from=3&until=9"] {
        let (status, page) = host.get(&format!("/api/event-streams/order-2/events?{empty}")).await;
        assert_eq!((status, page["events"].as_array().map(Vec::len)), (200, Some(0)), "{page}");
        let (status, _) = host.get(&format!("/api/event-streams/nothing/events?{empty}")).await;
        assert_eq!(status, 404, "an empty range of a stream that does not exist");
    }
}

#[tokio::test]
async fn a_follower_begins_at_a_time_and_gets_what_matches() {
    let host = filled().await;
    let all = read_log(&host, ReadLogRequest::default()).await;
    let from_us = all[100].recorded_at().0;
    let term = FilterTerm { tags: vec!["tag:0".into(), "tag:2".into()], ..FilterTerm::default() };
    let wanted = |event: &&Event| event.recorded_at().0 >= from_us && matches(&term, event);
    let expected: Vec<u64> = all.iter().filter(wanted).map(|event| event.position().0).collect();
    let filter = Some(Filter { terms: vec![term.clone()] });
    let request = FollowLogRequest { from_time_us: Some(from_us), filter, ..FollowLogRequest::default() };
    let mut pages = host.log().await.follow_log(request).await.expect("followed").into_inner();
    let mut followed = Vec::new();
    while followed.len() < expected.len() {
        let page = tokio::time::timeout(PATIENCE, pages.message()).await.expect("in time").expect("read");
        let events = page.expect("a page").events.into_iter();
        followed.extend(events.map(|event| event.into_event().expect("an event").position().0));
    }
    assert_eq!(followed, expected);

    let path = format!("/api/events/live?fromTime={}&tags=tag:0,tag:2", times(&host).await[100]);
    let mut response = reqwest::get(host.path(&path)).await.expect("an answer");
    let mut text = String::new();
    while text.matches("\ndata: ").count() < expected.len() {
        let piece = tokio::time::timeout(PATIENCE, response.chunk()).await.expect("in time").expect("read");
        text.push_str(std::str::from_utf8(&piece.expect("more")).expect("ASCII"));
    }
    let ids = text.split("\n\n").filter(|part| part.contains("\ndata: "));
    let ids: Vec<u64> = ids.filter_map(|part| part.strip_prefix("id: ")?.lines().next()?.parse().ok()).collect();
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn the_facts_of_a_stream_are_those_of_its_events() {
    let host = filled().await;
    let all = read_log(&host, ReadLogRequest::default()).await;
    let of_stream: Vec<&Event> = all.iter().filter(|event| event.stream() == "seat-1").collect();
    let (first, last) = (of_stream[0], of_stream[of_stream.len() - 1]);
    let request = GetStreamRequest { name: "seat-1".into() };
    let stream = host.log().await.get_stream(request).await.expect("found").into_inner().stream.expect("a stream");
    assert_eq!((stream.length, stream.first_offset, stream.next_offset), (of_stream.len() as u64, 0, stream.length));
    assert_eq!(
        (stream.first_recorded_at_us, stream.last_recorded_at_us),
        (first.recorded_at().0, last.recorded_at().0)
    );
    let (_, view) = host.get("/api/event-streams/seat-1").await;
    assert_eq!((view["state"].as_str(), view["length"].as_u64()), (Some("live"), Some(stream.length)), "{view}");
}
