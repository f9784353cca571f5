//! A projection that does what it is told, mostly harm: an event's type says what. The tests of the host
//! publish such events to streams `guest-*` and look at what is left standing; of `cdevents-*` it keeps what it sees.
//!
//! Features make variants of `describe` that a host must refuse; see `Cargo.toml`.

#![allow(clippy::disallowed_methods, reason = "it does what the host must prevent or survive")]
#![cfg_attr(feature = "bad-descriptor", allow(dead_code, reason = "that variant has nothing but a descriptor"))]

mod describe;
mod harm;
mod probe;

use std::time::Duration;

use serde_json::Value;
use wasmill_guest::{AnyEvent, Collection, Context, Descriptor, Failure, Projection, State};

/// How many events of each type that is not listed in `apply`.
const COUNTS: Collection<u64> = Collection::new("counts");
/// The data of `echo` events, by event id.
const ECHOES: Collection<Value> = Collection::new("echoes");
/// What the host tells: by event id, from `details`, `config` and `scan` events.
const DETAILS: Collection<Value> = Collection::new("details");
/// What a guest can find out of the world outside: by event id, from `clock` and `reach` events.
const PROBES: Collection<Value> = Collection::new("probes");
/// What `state-bomb` and `huge-document` write.
const BOMBS: Collection<Value> = Collection::new("bombs");
/// What `stamped` events come to: how many there were, by key and in all, with the setting `stamp`, by which
/// one revision's read model is told from another's.
const STAMPS: Collection<Value> = Collection::new("stamps");
/// Missing in the descriptor on purpose.
const UNDECLARED: Collection<u64> = Collection::new("undeclared");

struct TestGuest;

impl Projection for TestGuest {
    type Event = AnyEvent;

    fn descriptor() -> Descriptor {
        describe::descriptor()
    }

    fn apply(_: AnyEvent, context: &Context, state: &mut State) -> Result<(), Failure> {
        let id = context.id().to_string();
        match context.event_type() {
            "loop" => harm::spin(),
            "gigabyte" => harm::gigabyte(),
            "panic" => panic!("told to panic by event {id}"),
            "recurse" => harm::recurse(),
            "exit" => std::process::exit(3),
            "sleep" => std::thread::sleep(Duration::from_secs(3600)),
            "leak" => harm::leak(),
            "handle-leak" => harm::handle_leak(),
            "log-flood" => harm::log_flood(),
            "print" => harm::print(&id),
            "state-bomb" => harm::state_bomb(state)?,
            "huge-document" => state.put(&BOMBS, &id, &Value::String("x".repeat(300 * 1024)))?,
            "undeclared" => state.put(&UNDECLARED, &id, &1)?,

            "reject" => return Err(Failure::reject("test.rejected", format!("told to reject {id}"))),
            "retry" => {
                let failure = Failure::retry("test.retried", format!("told to retry {id}"));
                return Err(failure.after(Duration::from_millis(10)).attribute("reason", "told to"));
            }
            "halt" => return Err(Failure::halt("test.halted", format!("told to halt by {id}"))),

            "echo" => state.put_bytes(&ECHOES, &id, context.data().to_vec()),
            "details" => state.put(&DETAILS, &id, &probe::pairs(context.details()))?,
            "config" => state.put(&DETAILS, &id, &probe::pairs(wasmill_guest::config::get_all()))?,
            "scan" => {
                let keys = probe::keys(state.scan(&ECHOES, "")?)?;
                state.put(&DETAILS, &id, &keys)?;
            }
            "stamped" => {
                let stamp = wasmill_guest::config::get("stamp");
                for key in ["all", context.key().unwrap_or("none")] {
                    let before = state.get(&STAMPS, key)?.and_then(|stamped| stamped["count"].as_u64());
                    let now = serde_json::json!({ "stamp": stamp, "count": before.unwrap_or(0) + 1 });
                    state.put(&STAMPS, key, &now)?;
                }
            }
            "clock" => state.put(&PROBES, &id, &probe::clock())?,
            "reach" => state.put(&PROBES, &id, &probe::reach())?,

            seen if context.stream().starts_with("cdevents-") => {
                let data: Value = context.decode()?;
                state.put(&ECHOES, &id, &serde_json::json!({ "type": seen, "data": data }))?;
            }
            other => state.update(&COUNTS, other, |count| *count += 1)?,
        }
        Ok(())
    }
}

#[cfg(not(feature = "bad-descriptor"))]
wasmill_guest::export_projection!(TestGuest);
