//! A saga in the native harness: what it may rely on.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use wasmill_guest::http::{self, Request, Response};
use wasmill_guest::testing::{Rest, SagaHarness, TestEvent};
use wasmill_guest::{
    Descriptor, Failure, NewEvent, Outcome, Retry, Saga, Setting, StartsOn, Step, StepContext, Wait, config,
};

#[derive(Deserialize, Serialize)]
struct Trip {
    to: String,
    nights: u32,
}

/// Books a room, waits for an approval, and pays.
struct Travel;

impl Saga for Travel {
    fn descriptor() -> Descriptor {
        Descriptor::new("travel", "1.0.0")
            .setting(Setting::new("hotel").default("https://hotel.example"))
            .sends("POST", "{hotel}/*")
            .secret("hotel-key")
            .appends_to("trips")
            .saga_timeout(Duration::from_secs(3_600))
            .keep_ended(Duration::from_secs(60))
            .starts_on(StartsOn::types(["trip.wanted"]).in_streams(["trip-*"]).correlated_by("data.id"))
    }

    fn steps() -> Vec<Step> {
        vec![
            Step::new("book", book)
                .undone_by(cancel)
                .retry(Retry::attempts(3).base(Duration::from_millis(50)).jitter_percent(0))
                .attempt_timeout(Duration::from_secs(5)),
            Step::new("approve", approve).timeout(Duration::from_secs(60)).pauses_when_exhausted(),
            Step::new("pay", pay).pivot(),
        ]
    }
}

fn hotel(what: &str) -> String {
    format!("{}/{what}", config::get("hotel").unwrap_or_default())
}

fn book(context: &mut StepContext) -> Result<Outcome, Failure> {
    let trip: Trip = context.input()?;
    context.data().put("attempts", &context.attempt())?;
    let booked = Request::new("POST", hotel("book")).bearer_secret("hotel-key").json(&trip)?.send()?.success()?;
    Outcome::completed(&booked.json::<u64>()?)
}

fn cancel(context: &mut StepContext) -> Result<Outcome, Failure> {
    let room: Option<u64> = context.output()?;
    http::post_json(hotel("cancel"), &room)?.success()?;
    context.emit("trips", NewEvent::new("trip.cancelled", &context.correlation_id())?);
    Ok(Outcome::done())
}

fn approve(context: &mut StepContext) -> Result<Outcome, Failure> {
    #[derive(Deserialize)]
    struct Answer {
        yes: bool,
    }
    let Some(event) = context.woken_by() else {
        return Ok(Wait::for_event("trip.answered").but_a_while(context, Duration::from_secs(1)).into());
    };
    if event.decode::<Answer>()?.yes {
        Ok(Outcome::done())
    } else {
        Err(Failure::reject("trip.declined", "somebody said no"))
    }
}

fn pay(context: &mut StepContext) -> Result<Outcome, Failure> {
    let room: Option<u64> = context.output_of("book")?;
    for (bill, cents) in [("room", 100), ("tax", 7)] {
        let key = context.key_for(bill);
        let body = json!({ "room": room, "cents": cents });
        Request::new("POST", hotel("pay")).idempotency_key(key).json(&body)?.send()?.success()?;
    }
    context.emit("trips", NewEvent::new("trip.paid", &room)?);
    Ok(Outcome::done())
}

fn answer(status: u16, body: &str) -> Result<Response, http::Error> {
    Ok(Response { status, body: body.into(), ..Response::default() })
}

fn travel(mut statuses: Vec<u16>) -> SagaHarness<Travel> {
    statuses.reverse();
    SagaHarness::<Travel>::new().answering(move |_| answer(statuses.pop().unwrap_or(200), "17"))
}

fn trip() -> Trip {
    Trip { to: "Vienna".into(), nights: 2 }
}

fn answered(yes: bool) -> TestEvent {
    TestEvent::new("trip.answered", &json!({ "yes": yes }))
}

fn sent(travel: &SagaHarness<Travel>) -> Vec<(&str, &str)> {
    let key = |request: &Request| request.headers.iter().position(|(name, _)| name == "idempotency-key").unwrap();
    travel.sent().iter().map(|request| (request.url.as_str(), request.headers[key(request)].1.as_str())).collect()
}

#[test]
fn steps_run_in_order_wait_and_know_what_was_before() {
    let mut travel = travel(vec![]);
    travel.set_now_us(5);
    let wait = Wait::for_event("trip.answered").but_until_us(1_000_005);
    assert_eq!(travel.start(&trip()), Rest::Waiting(wait));
    assert_eq!((travel.output("book"), travel.data("attempts")), (Some(17), Some(1)));
    assert_eq!(travel.wake(answered(true)), Rest::Completed);
    assert_eq!(
        sent(&travel),
        [
            ("https://hotel.example/book", "saga-1/book/execute"),
            ("https://hotel.example/pay", "saga-1/pay/execute/room"),
            ("https://hotel.example/pay", "saga-1/pay/execute/tax"),
        ]
    );
    let bearer = ("authorization".to_owned(), "Bearer {{secret:hotel-key}}".to_owned());
    assert!(travel.sent()[0].headers.contains(&bearer));
    let types: Vec<_> = travel.emitted().iter().map(|emitted| emitted.event.event_type.as_str()).collect();
    assert_eq!(types, ["trip.paid"]);
}

#[test]
fn what_is_rejected_undoes_what_was_done() {
    let mut travel = travel(vec![]);
    assert!(matches!(travel.start(&trip()), Rest::Waiting(_)));
    let declined = Failure::reject("trip.declined", "somebody said no");
    assert_eq!(travel.wake(answered(false)), Rest::Compensated(declined));
    assert_eq!(sent(&travel)[1], ("https://hotel.example/cancel", "saga-1/book/compensate"));
    assert_eq!(travel.sent()[1].body, b"17");
    assert_eq!(travel.emitted()[0].event.event_type, "trip.cancelled");
}

#[test]
fn a_failed_attempt_leaves_nothing_and_is_repeated() {
    let mut travel = travel(vec![503]);
    let Rest::Retrying(failure) = travel.start(&trip()) else { panic!("it was not retried") };
    assert_eq!(failure.code, "http.503");
    assert_eq!(travel.data::<u32>("attempts"), None);
    assert!(matches!(travel.go_on(), Rest::Waiting(_)));
    assert_eq!(travel.data("attempts"), Some(2));
    assert_eq!(sent(&travel)[0], sent(&travel)[1]);
}

#[test]
fn what_can_never_work_ends_at_once() {
    assert!(matches!(travel(vec![402]).start(&trip()), Rest::Compensated(failure) if failure.code == "http.402"));
    let mut travel = travel(vec![]);
    assert!(matches!(travel.start(&"not a trip"), Rest::Compensated(failure) if failure.code == "saga.malformed"));
    assert!(travel.sent().is_empty());
}

#[test]
fn a_saga_that_is_cancelled_is_undone() {
    let mut travel = travel(vec![]);
    assert!(matches!(travel.start(&trip()), Rest::Waiting(_)));
    assert!(matches!(travel.cancel(), Rest::Compensated(failure) if failure.code == "saga.cancelled"));
    assert_eq!(sent(&travel).len(), 2);
}

#[test]
fn what_an_answer_means_follows_from_its_status() {
    let failure = |status, headers: &[(&str, &str)]| {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Response { status, headers, body: b"why".to_vec() }.success().unwrap_err()
    };
    assert_eq!(failure(429, &[("Retry-After", "3")]).retry_after_ms, Some(3_000));
    assert_eq!(failure(404, &[]), Failure::reject("http.404", "the answer is 404: why"));
    let refused = http::Error { code: "http.refused".into(), message: "no".into() };
    assert_eq!(Failure::from(refused), Failure::reject("http.refused", "no"));
    let broken = http::Error { code: "http.broken".into(), message: "no".into() };
    assert_eq!(Failure::from(broken), Failure::retry("http.broken", "no"));
}

#[test]
fn the_descriptor_says_what_the_steps_are() {
    let json: serde_json::Value = serde_json::from_str(&travel(vec![]).descriptor_json()).unwrap();
    assert_eq!(
        json,
        json!({
            "name": "travel",
            "version": "1.0.0",
            "kind": "saga",
            "config": [{ "name": "hotel", "default": "https://hotel.example" }],
            "steps": [
                {
                    "name": "book",
                    "compensate": true,
                    "retry": { "attempts": 3, "baseMs": 50, "jitterPercent": 0 },
                    "attemptTimeoutMs": 5000,
                },
                { "name": "approve", "compensate": false, "timeoutMs": 60000, "exhausted": "pause" },
                { "name": "pay", "compensate": false, "pivot": true },
            ],
            "saga": {
                "timeoutMs": 3_600_000,
                "keepEndedMs": 60_000,
                "startsOn": [{ "streams": ["trip-*"], "types": ["trip.wanted"], "correlation": "data.id" }],
            },
            "capabilities": ["http:POST {hotel}/*", "secret:hotel-key", "append:trips"],
        })
    );
    let schema: serde_json::Value = serde_json::from_str(include_str!("../../wit/descriptor.schema.json")).unwrap();
    let known = |of: &serde_json::Value, fields: &serde_json::Value| {
        for field in fields.as_object().unwrap().keys() {
            assert!(of["properties"].get(field).is_some(), "{field}");
        }
    };
    let defs = &schema["$defs"];
    known(&schema, &json);
    json["steps"].as_array().unwrap().iter().for_each(|step| known(&defs["step"], step));
    known(&defs["retry"], &json["steps"][0]["retry"]);
    known(&defs["saga"], &json["saga"]);
    known(&defs["start"], &json["saga"]["startsOn"][0]);
}

#[test]
#[should_panic(expected = "the descriptor: at most one step is the pivot")]
fn a_descriptor_that_a_host_would_refuse_ends_the_test() {
    struct Twice;
    impl Saga for Twice {
        fn descriptor() -> Descriptor {
            Descriptor::new("twice", "1")
        }
        fn steps() -> Vec<Step> {
            let step = |name| Step::new(name, |_| Ok(Outcome::done())).pivot();
            vec![step("a"), step("b")]
        }
    }
    SagaHarness::<Twice>::new();
}
