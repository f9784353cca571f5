//! A handler that does what it is told: an event's data says what it emits, and its type what else it does.
//! It is fed the streams `task-*`, and `cdevents-*`, of which it tells what it sees.

#![allow(clippy::disallowed_methods, reason = "it does what the host must prevent or survive")]

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::{Value, json};
use wasmill_guest::{
    AnyEvent, Collection, Context, Descriptor, Failure, Handler, NewEvent, Outbox, Setting, State, Subscription,
    config, env, log,
};

/// Events by type: how many were handled.
const COUNTS: Collection<u64> = Collection::new("counts");
/// What `state-bomb` writes.
const BOMBS: Collection<Value> = Collection::new("bombs");

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Task {
    #[serde(default)]
    emit: Vec<Emit>,
    /// Of a `retry`: it fails until the host's clock is there. Nothing else outlives an attempt.
    #[serde(default)]
    until_us: u64,
}

#[derive(Deserialize)]
struct Emit {
    stream: String,
    #[serde(rename = "type")]
    event_type: String,
    #[serde(default)]
    data: Value,
    key: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    correlation: Option<String>,
}

struct TestHandler;

impl Handler for TestHandler {
    type Event = AnyEvent;

    fn descriptor() -> Descriptor {
        Descriptor::new("test-handler", env!("CARGO_PKG_VERSION"))
            .describe("Emits what it is told")
            .subscribe(Subscription::to_streams(["task-*", "cdevents-*"]))
            .collection(&COUNTS)
            .collection(&BOMBS)
            .by_key()
            .setting(Setting::new("prefix").default("done."))
            .appends_to("done-*")
    }

    fn handle(_: AnyEvent, context: &Context, state: &mut State, outbox: &mut Outbox) -> Result<(), Failure> {
        let task: Task = context.decode()?;
        state.update(&COUNTS, context.event_type(), |count| *count += 1)?;
        for Emit { stream, event_type, data, key, tags, correlation } in task.emit {
            let mut event = NewEvent::new(event_type, &data)?;
            event.key = key;
            event = tags.into_iter().fold(event, NewEvent::tag);
            if let Some(id) = correlation {
                event = event.correlation_id(id);
            }
            outbox.append(&stream, event);
        }
        told(context, task.until_us, state, outbox)
    }
}

fn told(context: &Context, until_us: u64, state: &mut State, outbox: &mut Outbox) -> Result<(), Failure> {
    let id = context.id().to_string();
    match context.event_type() {
        "loop" => loop {
            black_box(());
        },
        "panic" => panic!("told to panic by event {id}"),
        "sleep" => std::thread::sleep(Duration::from_secs(3600)),
        "reject" => return Err(Failure::reject("test.rejected", format!("told to reject {id}"))),
        "halt" => return Err(Failure::halt("test.halted", format!("told to halt by {id}"))),
        "retry" if env::now_us() < until_us => {
            let failure = Failure::retry("test.retried", format!("told to retry {id}"));
            return Err(failure.after(Duration::from_millis(10)));
        }
        "clock" => {
            let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let random = env::random(8).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            let found = json!({ "wasiUs": since_epoch.as_micros() as u64, "envUs": env::now_us(), "random": random });
            outbox.append("done-clock", NewEvent::new("clock.read", &found)?);
        }
        "prefixed" => {
            let event_type = format!("{}{id}", config::get("prefix").unwrap_or_default());
            outbox.append("done-prefixed", NewEvent::new(event_type, &Value::Null)?);
        }
        // More than an outbox holds, in events and in bytes.
        "emit-flood" => {
            for n in 0..100_000 {
                outbox.append("done-flood", NewEvent::new("flood", &n)?);
            }
        }
        "huge-output" => {
            for _ in 0..8 {
                outbox.append("done-huge", NewEvent::new("huge", &"x".repeat(1 << 20))?);
            }
        }
        // A stream that it was not allowed to append to.
        "trespass" => outbox.append("elsewhere", NewEvent::new("trespass", &Value::Null)?),
        "state-bomb" => {
            let document = Value::String("x".repeat(200 * 1024));
            for n in 0_u64.. {
                state.put(&BOMBS, &format!("bomb-{n:012}"), &document)?;
                if n % 5 == 4 {
                    state.scan_page(&BOMBS, "none", None, 1)?;
                }
            }
        }
        "log-flood" => (0..100_000).for_each(|_| log::info("flood")),
        seen if context.stream().starts_with("cdevents-") => {
            let data: Value = context.decode()?;
            let event = NewEvent::new("seen", &json!({ "type": seen, "data": data }))?;
            outbox.append("done-seen", event);
        }
        _ => {}
    }
    Ok(())
}

wasmill_guest::export_handler!(TestHandler);
