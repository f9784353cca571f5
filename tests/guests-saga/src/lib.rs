//! A saga that does what it is told: its input says, for each step and for its undoing, what to do. It answers what it
//! found.

#![allow(clippy::disallowed_methods, reason = "it does what the host must prevent or survive")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use wasmill_guest::http::{Request, post_json};
use wasmill_guest::{
    Descriptor, Failure, NewEvent, Outcome, Retry, Saga, Setting, Step, StepContext, Wait, config, env, log,
};

/// By step, `one`, and by what undoes it, `undo-one`; nothing to do is done.
type Input = BTreeMap<String, Vec<Task>>;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase")]
enum Task {
    Put {
        key: String,
        value: Value,
    },
    Get(String),
    Remove(String),
    OutputOf(String),
    Emit {
        stream: String,
        r#type: String,
        key: Option<String>,
        data: Value,
    },
    Send {
        method: String,
        url: String,
        headers: Option<BTreeMap<String, String>>,
        body: Option<String>,
        timeout_ms: Option<u32>,
    },
    Fail {
        disposition: String,
        code: String,
        after_ms: Option<u64>,
        below_attempt: Option<u32>,
    },
    /// Once: when it is called again it goes on.
    Wait {
        until_us: Option<u64>,
        for_us: Option<u64>,
        r#type: Option<String>,
        key: Option<String>,
    },
    /// An effect at `{target}`, an order of the saga's correlation id and the step, which is done or the step is not.
    Effect,
    Details,
    Clock,
    Config(String),
    Log(String),
    Loop,
    Panic,
    Sleep,
    /// Bytes of memory.
    Allocate(usize),
    /// Bytes of the answer.
    Answer(usize),
    PutFlood,
    EmitFlood,
    LogFlood,
}

struct TestSaga;

impl Saga for TestSaga {
    fn descriptor() -> Descriptor {
        Descriptor::new(if cfg!(feature = "shaped") { "shaped-saga" } else { "test-saga" }, env!("CARGO_PKG_VERSION"))
            .describe("Does what it is told")
            .setting(Setting::new("target").default("http://127.0.0.1:1"))
            .appends_to("done-*")
            .sends("GET,POST", "{target}/*")
            .secret("test-key")
    }

    fn steps() -> Vec<Step> {
        let step = |name| {
            Step::new(name, |context| told(context, ""))
                .undone_by(|context| told(context, "undo-"))
                .retry(Retry::attempts(3).base(Duration::from_millis(1)))
                .attempt_timeout(Duration::from_secs(2))
        };
        if !cfg!(feature = "shaped") {
            return vec![step("one"), step("two"), step("three")];
        }
        let stays = |name| {
            Step::new(name, |context| told(context, ""))
                .retry(Retry::attempts(3).base(Duration::from_millis(1)))
                .attempt_timeout(Duration::from_secs(2))
        };
        vec![step("one"), stays("two"), step("three").pivot(), stays("four"), step("five")]
    }
}

fn told(context: &mut StepContext, way: &str) -> Result<Outcome, Failure> {
    let mut input: Input = context.input()?;
    let place = format!("{way}{}", context.step());
    let mut found = Map::new();
    found.insert("attempt".into(), context.attempt().into());
    if let Some(event) = context.woken_by() {
        let woken_by = json!({ "type": event.event_type(), "key": event.key(), "id": event.id().to_string() });
        found.insert("wokenBy".into(), woken_by);
    }
    if let Some(output) = context.output::<Value>()? {
        found.insert("output".into(), output);
    }
    for (n, task) in input.remove(&place).unwrap_or_default().into_iter().enumerate() {
        match task {
            Task::Wait { until_us, for_us, r#type, key } => {
                let asleep = format!("asleep-{place}-{n}");
                if context.data().get::<bool>(&asleep)?.is_none() {
                    context.data().put(&asleep, &true)?;
                    let until_us = until_us.or_else(|| for_us.map(|us| env::now_us() + us));
                    return Ok(Wait { until_us, event_type: r#type, match_key: key }.into());
                }
            }
            Task::Effect => effect(way, context)?,
            Task::Answer(bytes) => return Ok(Outcome::Completed(vec![b'1'; bytes])),
            task => one(task, context, &mut found)?,
        }
    }
    Outcome::completed(&found)
}

/// It is done once, or undone, however often it is asked for.
fn effect(way: &str, context: &StepContext) -> Result<(), Failure> {
    let asked = if way.is_empty() { "reserve" } else { "release" };
    let url = format!("{}/{asked}", config::get("target").unwrap_or_default());
    let order_id = format!("{}-{}", context.correlation_id(), context.step());
    post_json(url, &json!({ "orderId": order_id, "items": [1] }))?.success().map(drop)
}

fn one(task: Task, context: &mut StepContext, found: &mut Map<String, Value>) -> Result<(), Failure> {
    match task {
        Task::Put { key, value } => context.data().put(&key, &value)?,
        Task::Get(key) => drop(found.insert(key.clone(), context.data().get::<Value>(&key)?.into())),
        Task::Remove(key) => context.data().remove(&key),
        Task::OutputOf(step) => drop(found.insert(step.clone(), context.output_of::<Value>(&step)?.into())),
        Task::Emit { stream, r#type, key, data } => {
            let event = NewEvent::new(r#type, &data)?;
            context.emit(&stream, key.into_iter().fold(event, NewEvent::key));
        }
        Task::Send { method, url, headers, body, timeout_ms } => {
            let headers = headers.unwrap_or_default().into_iter().collect();
            let body = body.unwrap_or_default().into_bytes();
            let sent = Request { method, url, headers, body, timeout_ms }.send();
            let answer = match sent {
                Ok(answer) => json!({ "status": answer.status, "body": String::from_utf8_lossy(&answer.body) }),
                Err(error) => json!({ "code": error.code, "message": error.message }),
            };
            found.entry("sent").or_insert_with(|| json!([])).as_array_mut().expect("a list").push(answer);
        }
        Task::Fail { disposition, code, after_ms, below_attempt } => {
            if below_attempt.is_none_or(|attempt| context.attempt() < attempt) {
                let message = format!("told to in {}", context.step());
                let failure = match disposition.as_str() {
                    "retry" => Failure::retry(code, message),
                    "halt" => Failure::halt(code, message),
                    _ => Failure::reject(code, message),
                };
                return Err(after_ms.map(Duration::from_millis).into_iter().fold(failure, Failure::after));
            }
        }
        Task::Details => {
            let details = context.woken_by().map(|event| event.details()).unwrap_or_default();
            found.insert("details".into(), json!(details));
        }
        Task::Clock => {
            let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let random = env::random(8).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            let times = [since_epoch.as_micros() as u64, env::now_us(), context.deadline_us()];
            found.insert("clock".into(), json!({ "times": times, "random": random }));
        }
        Task::Config(name) => drop(found.insert(name.clone(), config::get(&name).into())),
        Task::Log(line) => log::info(&line),
        task => misbehave(task, context),
    }
    Ok(())
}

fn misbehave(task: Task, context: &mut StepContext) {
    match task {
        Task::Loop => loop {
            black_box(());
        },
        Task::Panic => panic!("told to panic in {}", context.step()),
        Task::Sleep => std::thread::sleep(Duration::from_secs(3_600)),
        Task::Allocate(bytes) => drop(black_box(vec![1_u8; bytes])),
        Task::PutFlood => {
            for n in 0_u64.. {
                context.data().put_bytes(&format!("key-{n}"), vec![1; 10_000]);
            }
        }
        Task::EmitFlood => {
            for n in 0..100_000 {
                context.emit("done-flood", NewEvent::new("flood", &n).expect("a number is JSON"));
            }
        }
        Task::LogFlood => (0..100_000).for_each(|_| log::info("flood")),
        _ => unreachable!("it is done elsewhere"),
    }
}

wasmill_guest::export_saga!(TestSaga);
