//! Whatever befalls a saga, in whatever step, it ends Completed, or Compensated with each effect that was done undone
//! once, in reverse order: with real hosts that are killed, on both databases, and told by a partner's ledger.
//! `host/core/tests/sagas` does the same in one process, at points that a kill from outside cannot aim at.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::block_in_place;
use tokio::time::Instant;
use wasmill_test_partner::{Fault, Kind, Moment, Operation, Partner};
use wasmill_test_postgres::Postgres;

use crate::sagas::{end, order};
use crate::support::host::PATIENCE;
use crate::support::rng::Rng;
use crate::support::{TestHost, flights, long, root};
use crate::tidy::skip;

/// Hosts over one store that are killed and started again.
struct Hosts {
    hosts: Vec<TestHost>,
    flags: Vec<String>,
}

fn folder() -> Arc<TempDir> {
    Arc::new(tempfile::tempdir().expect("a folder"))
}

impl Hosts {
    async fn start(count: usize, store: Option<&str>) -> Self {
        let store = store.into_iter().flat_map(|url| ["--store", url]);
        let flags = ["--private-host", "127.0.0.1"].into_iter().chain(store).map(str::to_owned).collect();
        let mut this = Self { hosts: Vec::new(), flags };
        for _ in 0..count {
            this.hosts.push(this.launch(folder()).await);
        }
        this
    }

    async fn launch(&self, dir: Arc<TempDir>) -> TestHost {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        TestHost::start_with(dir, &flags).await
    }

    /// kill -9. The first one has the lead, if nobody was killed before.
    async fn kill(&mut self, at: usize) {
        let dir = self.hosts[at].kill().await;
        self.hosts[at] = self.launch(dir).await;
    }

    fn any(&self, rng: &mut Rng) -> &TestHost {
        &self.hosts[rng.below(self.hosts.len() as u64) as usize]
    }
}

async fn deploy(host: &TestHost, component: Vec<u8>, setting: String) {
    let path = format!("/api/plugins?grantAll=true&set={setting}");
    let (status, deployed) = host.post(&path, "application/wasm", component).await;
    assert_eq!(status, 201, "{deployed}");
}

async fn start(host: &TestHost, saga: &str, id: &str, input: &Value) -> String {
    let path = format!("/api/sagas/{saga}/start?correlationId={id}");
    // Another host drives it, and may not be there at the moment.
    let (until, mut pace) = (Instant::now() + PATIENCE, tokio::time::interval(Duration::from_millis(20)));
    loop {
        pace.tick().await;
        let (status, started) = host.post(&path, "application/json", input.to_string()).await;
        if matches!(status, 200 | 201) {
            return started["sagaId"].as_str().expect("an id").to_owned();
        }
        assert!(started["retryable"] == json!(true) && Instant::now() < until, "{id}: {status} {started}");
    }
}

async fn until(what: &str, reached: impl Fn() -> bool) {
    let (until, mut pace) = (Instant::now() + PATIENCE, tokio::time::interval(Duration::from_micros(200)));
    while !reached() {
        pace.tick().await;
        assert!(Instant::now() < until, "{what} within {PATIENCE:?}");
    }
}

/// A moment within the work of a step: a few milliseconds hold its call, its answer and its commit.
async fn a_moment(rng: &mut Rng) {
    let until = Instant::now() + Duration::from_micros(rng.below(4_000));
    while Instant::now() < until {
        tokio::task::yield_now().await;
    }
}

/// What befalls one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Befalls {
    Fails,
    FailsAfterItsEffect,
    RunsTwice,
    HostEndsBeforeIt,
    HostEndsAfterIt,
    IsCancelled,
    IsCancelledAfterIt,
}

impl Befalls {
    const ALL: [Self; 7] = [
        Self::Fails,
        Self::FailsAfterItsEffect,
        Self::RunsTwice,
        Self::HostEndsBeforeIt,
        Self::HostEndsAfterIt,
        Self::IsCancelled,
        Self::IsCancelledAfterIt,
    ];

    fn fault(self, operation: Operation, order_id: &str) -> Fault {
        let (moment, kind, times) = match self {
            Self::Fails => (Moment::BeforeEffect, Kind::Status { status: 400 }, None),
            Self::FailsAfterItsEffect => (Moment::AfterEffect, Kind::Status { status: 500 }, None),
            Self::RunsTwice => (Moment::AfterEffect, Kind::HangUp, Some(1)),
            Self::HostEndsBeforeIt | Self::IsCancelled => (Moment::BeforeEffect, Kind::Hang, Some(1)),
            Self::HostEndsAfterIt | Self::IsCancelledAfterIt => (Moment::AfterEffect, Kind::Hang, Some(1)),
        };
        Fault { operation, order_id: Some(order_id.to_owned()), moment, kind, times }
    }

    fn hangs(self) -> bool {
        !matches!(self, Self::Fails | Self::FailsAfterItsEffect | Self::RunsTwice)
    }

    fn is_cancelled(self) -> bool {
        matches!(self, Self::IsCancelled | Self::IsCancelledAfterIt)
    }

    fn ends(self) -> &'static str {
        match self {
            Self::RunsTwice | Self::HostEndsBeforeIt | Self::HostEndsAfterIt => "completed",
            Self::Fails | Self::FailsAfterItsEffect | Self::IsCancelled | Self::IsCancelledAfterIt => "compensated",
        }
    }
}

/// The effects on an order, in the order in which they were had: of what was done, and of what was undone.
fn effects(partner: &Partner, of_saga: impl Fn(&str) -> bool) -> (Vec<String>, Vec<String>) {
    let (mut done, mut undone) = (Vec::new(), Vec::new());
    for entry in partner.ledger().entries().into_iter().filter(|entry| entry.effect && of_saga(&entry.order_id)) {
        match entry.operation {
            Operation::Reserve | Operation::Authorize | Operation::Ship => {
                assert!(undone.is_empty(), "nothing is done any more when it is undone: {entry:?}");
                done.push(format!("{} {}", Operation::as_str(entry.operation), entry.order_id));
            }
            Operation::Release => undone.push(format!("reserve {}", entry.order_id)),
            Operation::Void => undone.push(format!("authorize {}", entry.order_id)),
            Operation::Recall => undone.push(format!("ship {}", entry.order_id)),
        }
    }
    (done, undone)
}

const STEPS: [Operation; 3] = [Operation::Reserve, Operation::Authorize, Operation::Ship];

/// Runs the example once for each of what may befall each of its steps. The hosts end together in all of them that are
/// to be ended in, and then somewhere in the work of others.
async fn torture(component: Vec<u8>, store: Option<&str>, rng: &mut Rng) {
    const EXAMPLE: &str = "order-fulfillment";
    let partner = Partner::start(None).await.expect("the partner starts");
    let mut hosts = Hosts::start(1, store).await;
    deploy(&hosts.hosts[0], component, format!("partner={}", partner.url())).await;
    let mut sagas = Vec::new();
    for operation in STEPS {
        for befalls in Befalls::ALL {
            let id = format!("{operation:?}-{befalls:?}");
            partner.tell(befalls.fault(operation, &id));
            let saga = start(&hosts.hosts[0], EXAMPLE, &id, &order(&id, false)).await;
            sagas.push((id, saga, befalls));
        }
    }
    for (id, saga, befalls) in &sagas {
        until(id, || partner.befallen(id) > 0).await;
        if befalls.is_cancelled() {
            let (status, answer) =
                hosts.hosts[0].post(&format!("/api/sagas/{saga}/cancel"), "application/json", "").await;
            assert_eq!(status, 200, "{answer}");
        }
    }
    hosts.kill(0).await;
    let rounds = if long() { 20 } else { 2 };
    let mut others = Vec::new();
    for round in 0..rounds {
        for operation in STEPS {
            let id = format!("{operation:?}-{round}");
            others.push((id.clone(), start(&hosts.hosts[0], EXAMPLE, &id, &order(&id, round % 2 == 1)).await));
            let asked =
                || partner.ledger().entries().iter().any(|entry| entry.order_id == id && entry.operation == operation);
            let over = Instant::now() + Duration::from_millis(300);
            until(&id, || asked() || Instant::now() > over).await;
            a_moment(rng).await;
            hosts.kill(0).await;
        }
    }
    for (id, saga, ends) in
        sagas.iter().map(|(id, saga, befalls)| (id, saga, befalls.ends())).chain(others.iter().map(|(id, saga)| {
            (id, saga, if id.ends_with(['1', '3', '5', '7', '9']) { "compensated" } else { "completed" })
        }))
    {
        let status = end(&hosts.hosts[0], saga).await;
        assert_eq!(status["state"], ends, "{id}: {status}");
        let (done, undone) = effects(&partner, |order| order == id);
        match ends {
            "completed" => assert_eq!((done.len(), undone.len()), (3, 0), "{id}: {done:?} {undone:?}"),
            _ => assert_eq!(undone, done.iter().rev().cloned().collect::<Vec<_>>(), "{id}: {status}"),
        }
    }
    // The partner sees that every befallen step was befallen.
    assert!(sagas.iter().filter(|(_, _, befalls)| befalls.hangs()).all(|(id, ..)| partner.befallen(id) == 1));
    let balance = partner.ledger().balance();
    assert_eq!((balance.items, balance.amount), (0, 0), "{balance:?}");
}

async fn torture_on_both(component: &[u8], rng: &mut Rng) {
    torture(component.to_vec(), None, rng).await;
    let postgres = block_in_place(Postgres::start);
    torture(component.to_vec(), Some(&postgres.create_database()), rng).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_befalls_an_order_in_rust_it_ends_whole() {
    let mut rng = Rng::printed("whatever_befalls_an_order_in_rust_it_ends_whole");
    let component = std::fs::read(flights::guest("order-fulfillment")).expect("it is built");
    torture_on_both(&component, &mut rng).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_befalls_an_order_in_javascript_it_ends_whole() {
    let mut rng = Rng::printed("whatever_befalls_an_order_in_javascript_it_ends_whole");
    let Ok(component) = std::fs::read(root().join("plugins/examples-js/dist/order-fulfillment.wasm")) else {
        return skip("plugins/examples-js is not built (tests/run)");
    };
    torture_on_both(&component, &mut rng).await;
}

/// A saga of the test guest: its steps, and those that have something to be undone.
struct Shape {
    name: &'static str,
    steps: &'static [&'static str],
    undone: &'static [&'static str],
    has_pivot: bool,
}

const SHAPES: [Shape; 2] = [
    Shape { name: "test-saga", steps: &["one", "two", "three"], undone: &["one", "two", "three"], has_pivot: false },
    Shape {
        name: "shaped-saga",
        steps: &["one", "two", "three", "four", "five"],
        undone: &["one", "three"],
        has_pivot: true,
    },
];

/// What one saga is told to do: each step has its effect once, between failures and waits.
fn told(shape: &Shape, rng: &mut Rng) -> Value {
    let mut input = serde_json::Map::new();
    for step in shape.steps {
        let mut execute = Vec::new();
        around(rng, &mut execute);
        if rng.below(100) < 8 {
            execute.push(json!({ "fail": { "disposition": "reject", "code": "no" } }));
        }
        execute.push(json!("effect"));
        around(rng, &mut execute);
        if rng.below(100) < 8 {
            // A rejection would say that nothing was done.
            execute.push(json!({ "fail": { "disposition": "retry", "code": "too-late" } }));
        }
        let mut compensate = Vec::new();
        around(rng, &mut compensate);
        compensate.push(json!("effect"));
        input.insert((*step).into(), execute.into());
        input.insert(format!("undo-{step}"), compensate.into());
    }
    input.into()
}

fn around(rng: &mut Rng, tasks: &mut Vec<Value>) {
    match rng.below(10) {
        0 | 1 => tasks.push(json!({ "wait": { "forUs": 1 + rng.below(50_000) } })),
        2 => tasks.push(json!({ "wait": { "forUs": 300_000, "type": "go" } })),
        3 | 4 => tasks.push(json!({ "fail": { "disposition": "retry", "code": "later", "belowAttempt": 2 } })),
        _ => {}
    }
}

/// Generated sagas, while hosts are killed again and again, and disturbed by something else.
async fn generated(hosts: &mut Hosts, rng: &mut Rng, disturb: impl Fn()) {
    let (kills, each) = if long() { (30, 20) } else { (4, 12) };
    let partner = Partner::start(None).await.expect("the partner starts");
    for shape in &SHAPES {
        let component = std::fs::read(flights::guest(shape.name)).expect("it is built");
        deploy(&hosts.hosts[0], component, format!("target={}", partner.url())).await;
    }
    let mut sagas = Vec::new();
    for kill in 0..kills {
        for n in 0..each {
            let (shape, id) = (&SHAPES[n % 2], format!("g{kill}-{n}-"));
            let input = told(shape, rng);
            let saga = start(hosts.any(rng), shape.name, &id, &input).await;
            if rng.below(3) == 0 {
                let go = json!([{ "type": "go", "key": id, "data": {} }]);
                hosts.any(rng).publish("go-1", &go).await;
            }
            sagas.push((shape, id, saga, input));
        }
        a_moment(rng).await;
        if kill % 2 == 1 {
            block_in_place(&disturb);
        }
        let at = rng.below(hosts.hosts.len() as u64) as usize;
        hosts.kill(at).await;
    }
    block_in_place(&disturb);
    let mut ends = [0, 0, 0];
    for (shape, id, saga, input) in sagas {
        let status = end(hosts.any(rng), &saga).await;
        let (done, undone) = effects(&partner, |order| order.starts_with(&id));
        let orders = |steps: &[&str]| steps.iter().map(|step| format!("reserve {id}-{step}")).collect::<Vec<_>>();
        let what = format!("{id}: {input} {status}");
        match status["state"].as_str() {
            Some("completed") => {
                ends[0] += 1;
                assert_eq!((done, undone), (orders(shape.steps), Vec::new()), "{what}");
            }
            Some("compensated") => {
                ends[1] += 1;
                let can_be = orders(shape.undone);
                let owed: Vec<String> = done.into_iter().rev().filter(|order| can_be.contains(order)).collect();
                assert_eq!(undone, owed, "{what}");
            }
            _ => {
                ends[2] += 1;
                assert!(shape.has_pivot && status["onlyForward"] == json!(true) && undone.is_empty(), "{what}");
            }
        }
    }
    println!("{} completed, {} compensated, {} wait for a person behind their pivot", ends[0], ends[1], ends[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_sagas_end_whole_on_sqlite() {
    let mut rng = Rng::printed("generated_sagas_end_whole_on_sqlite");
    generated(&mut Hosts::start(1, None).await, &mut rng, || ()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_sagas_end_whole_on_two_hosts_on_postgres() {
    let mut rng = Rng::printed("generated_sagas_end_whole_on_two_hosts_on_postgres");
    let postgres = block_in_place(Postgres::start);
    let url = postgres.create_database();
    // Each connection is cut, the one that holds the lead as well.
    let cut = || {
        let all = "select pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database() and pid <> pg_backend_pid()";
        postgres.psql(url.rsplit('/').next().unwrap_or_default(), all);
    };
    generated(&mut Hosts::start(2, Some(&url)).await, &mut rng, cut).await;
}
