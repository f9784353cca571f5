//! Whatever befalls a saga, in whatever step: it ends Completed, or Compensated with each effect that was done undone
//! once, in reverse order.

use serde_json::{Value, json};
use wasmill_core::random::{Random, seeds};
use wasmill_core::saga::Command;
use wasmill_core::saga::call::Direction::{self, Compensate, Execute};
use wasmill_core::saga::model::State;
use wasmill_core::saga::view::SagaStatus;

use crate::bench::{Act, Bench, Point, saga};

/// What befalls one step of a saga.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Fails,
    FailsAfterItsEffect,
    HangsAfterItsEffect,
    RunsTwice,
    Crashes(Point),
    IsCancelled,
}

const FAULTS: [Fault; 9] = [
    Fault::Fails,
    Fault::FailsAfterItsEffect,
    Fault::HangsAfterItsEffect,
    Fault::RunsTwice,
    Fault::Crashes(Point::BeforeTheCall),
    Fault::Crashes(Point::AfterTheCall),
    Fault::Crashes(Point::BeforeTheCommit),
    Fault::Crashes(Point::AfterTheCommit),
    Fault::IsCancelled,
];

/// Runs a saga once for each fault in each of its steps, and once for each end of a host in each compensation.
async fn torture(descriptor: &Value) {
    let name = descriptor["name"].as_str().unwrap();
    let steps: Vec<&str> =
        descriptor["steps"].as_array().unwrap().iter().map(|step| step["name"].as_str().unwrap()).collect();
    for step in &steps {
        for fault in FAULTS {
            let mut bench = Bench::new().await;
            bench.deploy(descriptor).await;
            befall(&bench, "one", step, fault);
            let status = run(&mut bench, name, step, fault).await;
            check(&bench, "one", descriptor, &status, &format!("{fault:?} in {step}"));
        }
    }
    let last = steps.last().unwrap();
    for step in &steps[..steps.len() - 1] {
        for point in [Point::BeforeTheCall, Point::AfterTheCall, Point::BeforeTheCommit, Point::AfterTheCommit] {
            let mut bench = Bench::new().await;
            bench.deploy(descriptor).await;
            bench.world.act("one", last, Execute, &[Act::Reject]);
            bench.world.crash_at(step, Compensate, point);
            let id = bench.begin(name, "one").await;
            let status = bench.end(id).await;
            let done = bench.world.has_crashed() || !undoes(descriptor, step) || status.only_forward;
            assert!(done, "the host has ended: {step} {point:?} {status:#?}");
            bench.world.forget_crash();
            check(&bench, "one", descriptor, &status, &format!("{point:?} while {step} is undone"));
        }
    }
}

fn befall(bench: &Bench, saga: &str, step: &str, fault: Fault) {
    let world = &bench.world;
    match fault {
        Fault::Fails => world.act(saga, step, Execute, &[Act::Reject]),
        Fault::FailsAfterItsEffect => world.act(saga, step, Execute, &[Act::RetryAfter]),
        Fault::HangsAfterItsEffect => world.act(saga, step, Execute, &[Act::HangAfter, Act::Ok]),
        Fault::RunsTwice => world.act(saga, step, Execute, &[Act::OkTwice, Act::Ok]),
        Fault::Crashes(point) => world.crash_at(step, Execute, point),
        Fault::IsCancelled => {}
    }
}

async fn run(bench: &mut Bench, name: &str, step: &str, fault: Fault) -> SagaStatus {
    if !matches!(fault, Fault::IsCancelled) {
        let id = bench.begin(name, "one").await;
        return bench.end(id).await;
    }
    // The step hangs until it is cancelled there: the outcome of its attempt is awaited first.
    bench.world.act("one", step, Execute, &[Act::HangAfter, Act::Ok]);
    let id = bench.begin(name, "one").await;
    crate::bench::until("the step is called", async || (bench.world.calls("one", step, Execute) > 0).then_some(()))
        .await;
    // It is past its pivot, or has ended meanwhile, if it cannot be.
    bench.order(id, &Command::Cancel).await;
    bench.end(id).await
}

fn undoes(descriptor: &Value, name: &str) -> bool {
    let steps = descriptor["steps"].as_array().unwrap();
    steps.iter().any(|step| step["name"] == name && step["compensate"] != false)
}

/// What must hold of every saga that has ended.
fn check(bench: &Bench, saga: &str, descriptor: &Value, status: &SagaStatus, what: &str) {
    let effects = bench.world.effects(saga);
    let named = |sign: char| effects.iter().filter_map(move |effect| effect.strip_prefix(sign)).collect::<Vec<_>>();
    let (done, undone) = (named('+'), named('-'));
    let steps = descriptor["steps"].as_array().unwrap();
    match status.state {
        State::Completed => {
            let all: Vec<&str> = steps.iter().map(|step| step["name"].as_str().unwrap()).collect();
            assert_eq!((done, undone), (all, vec![]), "{what}: {status:#?}");
            assert_eq!(status.progress, status.total_steps);
        }
        State::Compensated => {
            let mut owed: Vec<&str> = done.into_iter().filter(|step| undoes(descriptor, step)).collect();
            owed.reverse();
            assert_eq!(undone, owed, "{what}: {effects:?} {status:#?}");
            assert!(status.cause.is_some(), "{what}");
        }
        _ => {
            // It only goes forward, and waits for a person.
            assert!(status.only_forward && status.paused.is_some(), "{what}: {status:#?}");
            assert!(undone.is_empty(), "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_befalls_a_saga_it_ends_whole() {
    let steps = ["reserve", "authorize", "ship"].map(|name| json!({ "name": name, "attemptTimeoutMs": 50 }));
    torture(&saga("order", &steps, json!({}))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_its_pivot_a_saga_only_goes_forward() {
    let steps = [
        json!({ "name": "reserve", "attemptTimeoutMs": 50 }),
        json!({ "name": "pay", "attemptTimeoutMs": 50, "pivot": true }),
        json!({ "name": "ship", "attemptTimeoutMs": 50 }),
    ];
    torture(&saga("order", &steps, json!({}))).await;
}

/// A saga of random shape, and what befalls it.
fn generated(random: &mut Random, n: u64) -> Value {
    let count = 1 + random.below(6);
    let pivot = random.percent(30).then(|| random.below(count));
    let steps: Vec<Value> = (0..count)
        .map(|at| {
            json!({
                "name": format!("s{at}"),
                "attemptTimeoutMs": 60,
                "compensate": random.percent(80),
                "pivot": pivot == Some(at),
            })
        })
        .collect();
    saga(&format!("g{n}"), &steps, json!({}))
}

fn plan(random: &mut Random, direction: Direction) -> Vec<Act> {
    let mut acts = Vec::new();
    while random.percent(35) && acts.len() < 4 {
        let act = match (direction, random.below(8)) {
            (_, 0) => Act::RetryBefore,
            (_, 1) => Act::RetryAfter,
            (_, 2) => Act::OkTwice,
            (_, 3) => Act::TrapBefore,
            (_, 4) => Act::WaitFor(1),
            (Execute, 5) => Act::WaitForEvent(Some(3)),
            (Execute, 6) => Act::Reject,
            _ => Act::HangAfter,
        };
        let last = act == Act::Reject;
        acts.push(act);
        if last {
            return acts;
        }
    }
    acts.push(Act::Ok);
    acts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generated_sagas_end_whole() {
    for seed in seeds(60) {
        let mut random = Random::new(seed);
        let mut bench = Bench::new().await;
        let descriptor = generated(&mut random, seed);
        bench.deploy(&descriptor).await;
        let name = descriptor["name"].as_str().unwrap().to_owned();
        let count = descriptor["steps"].as_array().unwrap().len() as u64;
        for at in 0..count {
            let step = format!("s{at}");
            bench.world.act("one", &step, Execute, &plan(&mut random, Execute));
            bench.world.act("one", &step, Compensate, &plan(&mut random, Compensate));
        }
        if random.percent(70) {
            let direction = if random.percent(60) { Execute } else { Compensate };
            let points = [Point::BeforeTheCall, Point::AfterTheCall, Point::BeforeTheCommit, Point::AfterTheCommit];
            let step = format!("s{}", random.below(count));
            bench.world.crash_at(&step, direction, *random.pick(&points));
        }
        let id = bench.begin(&name, "one").await;
        if random.percent(20) {
            bench.order(id, &Command::Cancel).await;
        }
        let mut status = bench.end(id).await;
        // A person tries again what has given up.
        for _ in 0..20 {
            if status.paused.is_none() && status.state != State::Failed {
                break;
            }
            let again = Command::Retry { step: None, revision: None };
            bench.order(id, &again).await;
            status = bench.end(id).await;
        }
        bench.world.forget_crash();
        check(&bench, "one", &descriptor, &status, &format!("seed {seed}"));
    }
}
