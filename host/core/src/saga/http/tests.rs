//! The way out of an attempt, over a client that answers from a script.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::*;
use crate::clock::{ManualClock, Timestamp};
use crate::limits::saga as limits;

type Answer = Result<HttpResponse, HttpError>;

/// Answers in order, and remembers what it was asked. Each exchange takes a second.
struct Script {
    answers: Mutex<VecDeque<Answer>>,
    asked: Mutex<Vec<(HttpRequest, HttpRules)>>,
    clock: ManualClock,
}

#[async_trait]
impl HttpClient for Script {
    async fn send(&self, request: HttpRequest, rules: &HttpRules) -> Answer {
        self.asked.lock().unwrap().push((request, *rules));
        self.clock.advance_us(1_000_000);
        let answer = self.answers.lock().unwrap().pop_front();
        match answer {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}

struct Keys;

impl Secrets for Keys {
    fn secret(&self, name: &str) -> Option<String> {
        (name == "key").then(|| "s3cret".into())
    }
}

struct Scene {
    script: Arc<Script>,
    out: Outgoing,
}

const GRANTS: [&str; 5] = [
    "http:GET,POST https://pay.example.com/v1/*",
    "http:GET https://cdn.example/*",
    "http:POST http://partner.internal:8080/*",
    "secret:key",
    "append:x",
];

fn scene(answers: impl IntoIterator<Item = Answer>) -> Scene {
    let clock = ManualClock::at(Timestamp(0));
    let answers = Mutex::new(answers.into_iter().collect());
    let script = Arc::new(Script { answers, asked: Mutex::default(), clock: clock.clone() });
    let network = Network {
        client: Some(Arc::<Script>::clone(&script)),
        secrets: Some(Arc::new(Keys)),
        private_hosts: vec!["*.internal".to_owned()].into(),
    };
    let gate = Arc::new(Gate::new(network, GRANTS.into_iter()));
    let out = gate.open("saga-1/pay".into(), Timestamp(30_000_000), Arc::new(clock));
    Scene { script, out }
}

fn request(method: &str, url: &str) -> HttpRequest {
    HttpRequest { method: method.into(), url: url.into(), ..HttpRequest::default() }
}

fn with_header(mut request: HttpRequest, name: &str, value: &str) -> HttpRequest {
    request.headers.push((name.into(), value.into()));
    request
}

fn ok() -> Answer {
    Ok(HttpResponse { status: 200, ..HttpResponse::default() })
}

fn redirect(status: u16, location: &str) -> Answer {
    let headers = vec![("Location".to_owned(), location.to_owned())];
    Ok(HttpResponse { status, headers, body: Bytes::new() })
}

impl Scene {
    async fn get(&self, url: &str) -> Answer {
        self.out.send(request("GET", url)).await
    }

    async fn refused(&self, request: HttpRequest) -> HttpError {
        self.out.send(request).await.unwrap_err()
    }

    /// Header `name` of each request that went out.
    fn sent(&self, name: &str) -> Vec<Option<String>> {
        let asked = self.script.asked.lock().unwrap();
        let value = |request: &HttpRequest| {
            let found = request.headers.iter().find(|(other, _)| other == name);
            found.map(|(_, value)| value.clone())
        };
        asked.iter().map(|(request, _)| value(request)).collect()
    }

    fn urls(&self) -> Vec<String> {
        self.script.asked.lock().unwrap().iter().map(|(request, _)| request.url.clone()).collect()
    }
}

const PAY: &str = "https://pay.example.com/v1/charge";

#[tokio::test]
async fn what_was_granted_is_sent_and_recorded() {
    let scene = scene([ok()]);
    assert_eq!(scene.get("https://PAY.example.com:443/v1/a?token=1#x").await, ok());
    assert_eq!(scene.urls(), ["https://pay.example.com/v1/a?token=1"]);
    let record = HttpRecord {
        method: "GET".into(),
        url: "https://pay.example.com/v1/a".into(),
        status: Some(200),
        error: None,
        took_us: 1_000_000,
    };
    assert_eq!(scene.out.records(), [record]);
}

#[tokio::test]
async fn what_was_not_granted_is_not_sent_and_is_recorded_as_well() {
    let scene = scene([]);
    let large = Bytes::from(vec![0; limits::REQUEST_BYTES_MAX + 1]);
    for (request, code) in [
        (request("DELETE", PAY), code::REFUSED),
        (request("POST", "https://pay.example.com/admin"), code::REFUSED),
        (request("POST", "https://evil.example/?token=1"), code::REFUSED),
        (request("CONNECT", PAY), code::INVALID),
        (request("GET", "/v1/a"), code::INVALID),
        (request("GET", "https://me:pw@pay.example.com/v1/a"), code::INVALID),
        (HttpRequest { body: large, ..request("POST", PAY) }, code::TOO_LARGE),
        (with_header(request("POST", PAY), "host", "evil.example"), code::INVALID),
        (with_header(request("POST", PAY), "a", "{{secret:other}}"), code::REFUSED),
    ] {
        assert_eq!(scene.refused(request).await.code, code);
    }
    assert!(scene.urls().is_empty());
    let records = scene.out.records();
    assert_eq!(records.len(), 9);
    let told = serde_json::to_string(&records).unwrap();
    assert!(told.contains("was not granted (granted: GET,POST https://pay.example.com:443/v1/*"), "{told}");
    assert!(!told.contains("token") && !told.contains("pw"), "{told}");
}

#[tokio::test]
async fn a_host_without_a_network_sends_nothing() {
    let gate = Arc::new(Gate::new(Network::default(), GRANTS.into_iter()));
    let out = gate.open("k".into(), Timestamp(1), Arc::new(ManualClock::default()));
    assert_eq!(out.send(request("GET", PAY)).await.unwrap_err().code, code::REFUSED);
    let nothing = Arc::new(Gate::default()).open("k".into(), Timestamp(1), Arc::new(ManualClock::default()));
    assert!(nothing.send(request("GET", PAY)).await.unwrap_err().message.contains("granted: nothing"));
}

#[tokio::test]
async fn each_request_has_one_idempotency_key_however_often_it_is_repeated() {
    let scene = scene((0..6).map(|_| ok()));
    let body = |text: &'static str| HttpRequest { body: Bytes::from_static(text.as_bytes()), ..request("POST", PAY) };
    for request in [body("a"), body("a"), body("b"), body("a"), request("get", PAY)] {
        scene.out.send(request).await.unwrap();
    }
    scene.out.send(with_header(body("a"), "Idempotency-Key", "mine")).await.unwrap();
    let key = |key: &str| Some(key.to_owned());
    let first = || key("saga-1/pay");
    assert_eq!(scene.sent("idempotency-key"), [first(), first(), key("saga-1/pay.2"), first(), None, key("mine")]);
}

#[tokio::test]
async fn secrets_go_out_and_are_never_told() {
    let scene = scene([ok(), ok()]);
    let secret = |url: &str| with_header(request("POST", url), "authorization", "Bearer {{secret:key}}");
    scene.out.send(secret(PAY)).await.unwrap();
    // Within its own network an operator may do without TLS.
    scene.out.send(secret("http://partner.internal:8080/x")).await.unwrap();
    let bearer = Some("Bearer s3cret".to_owned());
    assert_eq!(scene.sent("authorization"), [bearer.clone(), bearer]);
    let asked = scene.script.asked.lock().unwrap();
    let told = format!("{:?} {:?}", scene.out.records(), asked[0].0);
    assert!(!told.contains("s3cret"), "{told}");
    assert_eq!([asked[0].1.private, asked[1].1.private], [false, true]);
}

#[tokio::test]
async fn a_secret_is_not_sent_in_the_clear() {
    let clock: Arc<ManualClock> = Arc::default();
    let grants = ["http:* http://open.example/*", "secret:key"];
    let network = Network { secrets: Some(Arc::new(Keys)), ..Network::default() };
    let out = Arc::new(Gate::new(network, grants.into_iter())).open("k".into(), Timestamp(1), clock);
    let error = out.send(with_header(request("GET", "http://open.example/"), "a", "{{secret:key}}")).await.unwrap_err();
    assert!(error.message.contains("over https"), "{error}");
}

#[tokio::test]
async fn a_redirect_is_checked_as_the_request_was() {
    let scene = scene([redirect(302, "/v1/b"), redirect(301, "https://cdn.example/c?x"), ok()]);
    let request = with_header(request("GET", "https://pay.example.com/v1/a"), "authorization", "{{secret:key}}");
    scene.out.send(with_header(request, "accept", "*/*")).await.unwrap();
    assert_eq!(
        scene.urls(),
        ["https://pay.example.com/v1/a", "https://pay.example.com/v1/b", "https://cdn.example/c?x"]
    );
    let secret = Some("s3cret".to_owned());
    assert_eq!(scene.sent("authorization"), [secret.clone(), secret, None]);
    assert_eq!(scene.sent("accept"), vec![Some("*/*".to_owned()); 3]);
    let statuses: Vec<_> = scene.out.records().iter().map(|record| record.status).collect();
    assert_eq!(statuses, [Some(302), Some(301), Some(200)]);
}

#[tokio::test]
async fn a_redirect_elsewhere_ends_the_request() {
    for (location, code) in [
        ("https://evil.example/", code::REFUSED),
        ("http://pay.example.com/v1/a", code::REFUSED),
        ("https://pay.example.com/admin", code::REFUSED),
        ("https://169.254.169.254/v1/", code::REFUSED),
        ("file:///etc/passwd", code::REFUSED),
        ("https://me@pay.example.com/v1/", code::REFUSED),
    ] {
        let scene = scene([redirect(307, location)]);
        let error = scene.get("https://pay.example.com/v1/a").await.unwrap_err();
        assert_eq!((error.code, scene.urls().len()), (code, 1), "{location}");
        let records = scene.out.records();
        assert_eq!((records[0].status, records.len()), (Some(307), 2), "{location}");
        assert!(records[1].error.as_ref().unwrap().starts_with("http.refused: "), "{location}");
    }
}

#[tokio::test]
async fn a_redirect_that_would_change_the_method_is_the_guests_to_see() {
    for status in [301, 302, 303] {
        let scene = scene([redirect(status, "/v1/b")]);
        assert_eq!(scene.out.send(request("POST", PAY)).await.unwrap().status, status);
    }
    let scene = scene([redirect(308, "/v1/b"), ok()]);
    let post = HttpRequest { body: Bytes::from_static(b"x"), ..request("POST", PAY) };
    scene.out.send(post).await.unwrap();
    let asked = scene.script.asked.lock().unwrap();
    assert_eq!((asked[1].0.method.as_str(), &asked[1].0.body[..]), ("POST", &b"x"[..]));
    drop(asked);
    let key = Some("saga-1/pay".to_owned());
    assert_eq!(scene.sent("idempotency-key"), [key.clone(), key]);
}

#[tokio::test]
async fn redirects_without_end_are_ended() {
    let scene = scene((0..99).map(|_| redirect(302, "/v1/a")));
    let error = scene.get("https://pay.example.com/v1/a").await.unwrap_err();
    assert_eq!((error.code, scene.urls().len()), (code::REFUSED, 1 + limits::REDIRECTS_MAX));
}

#[tokio::test]
async fn time_is_what_is_left_of_the_attempt_or_less() {
    let scene = scene([redirect(302, "/v1/b"), ok(), ok()]);
    scene.get("https://pay.example.com/v1/a").await.unwrap();
    let short = HttpRequest { timeout: Some(Duration::from_secs(5)), ..request("GET", PAY) };
    scene.out.send(short).await.unwrap();
    let seconds = |scene: &Scene| {
        let asked = scene.script.asked.lock().unwrap();
        asked.iter().map(|(_, rules)| rules.timeout.as_secs()).collect::<Vec<_>>()
    };
    assert_eq!(seconds(&scene), [30, 29, 5]);
    scene.script.clock.set(Timestamp(30_000_000));
    assert_eq!(scene.get(PAY).await.unwrap_err().code, code::TIMEOUT);
    assert_eq!(seconds(&scene).len(), 3);
}

#[tokio::test]
async fn an_attempt_sends_so_much_and_no_more() {
    let scene = scene((0..99).map(|_| ok()));
    for _ in 0..limits::CALLS_OF_ATTEMPT_MAX {
        scene.script.clock.set(Timestamp(0));
        scene.get(PAY).await.unwrap();
    }
    assert_eq!(scene.get(PAY).await.unwrap_err().code, code::REFUSED);
    assert_eq!(scene.out.records().len(), limits::CALLS_OF_ATTEMPT_MAX);
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_not_handed_on() {
    let body = Bytes::from(vec![0; limits::RESPONSE_BYTES_MAX + 1]);
    let headers = vec![("a".to_owned(), "x".repeat(limits::HEADERS_BYTES_MAX))];
    let large = [HttpResponse { body, ..HttpResponse::default() }, HttpResponse { headers, ..HttpResponse::default() }];
    let scene = scene(large.map(Ok));
    for _ in 0..2 {
        assert_eq!(scene.get(PAY).await.unwrap_err().code, code::TOO_LARGE);
    }
}

#[tokio::test]
async fn what_was_never_answered_is_told_when_the_attempt_ends() {
    let scene = scene([]);
    {
        let mut asking = std::pin::pin!(scene.get(PAY));
        assert!(futures_util::poll!(asking.as_mut()).is_pending());
        scene.script.clock.advance_us(4_000_000);
    }
    let records = scene.out.records();
    assert_eq!((records[0].status, records[0].took_us), (None, 5_000_000));
    assert!(records[0].error.as_ref().unwrap().contains("no answer"), "{records:?}");
}
