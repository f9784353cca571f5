//! Asks for a welcome, once for each user.

use serde::{Deserialize, Serialize};
use wasmill_guest::{
    AnyEvent, Collection, Context, Descriptor, Failure, Fields, Handler, NewEvent, Outbox, Setting, State,
    Subscription, config, log,
};

pub const GREETED: Collection<Greeted> = Collection::new("greeted").describe("By id: who was welcomed, and when");

const OUTBOX: &str = "outbox-welcome";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Greeted {
    pub at_us: u64,
}

#[derive(Serialize)]
struct Requested<'a> {
    id: &'a str,
    text: String,
}

pub struct Welcome;

impl Handler for Welcome {
    // Decoded by hand: an event that is not of the shape that is wanted has a code of its own here.
    type Event = AnyEvent;

    fn descriptor() -> Descriptor {
        Descriptor::new("welcome", env!("CARGO_PKG_VERSION"))
            .describe("Asks for a welcome, once for each user")
            .subscribe(Subscription::to_types(["user.added"]))
            .collection(&GREETED)
            .setting(Setting::new("greeting").describe("The first word of a welcome").default("Welcome"))
            .appends_to(OUTBOX)
    }

    fn handle(_: AnyEvent, context: &Context, state: &mut State, outbox: &mut Outbox) -> Result<(), Failure> {
        let user: Fields = context.decode().map_err(|failure| malformed(&failure.message))?;
        let id = text(&user, "id").ok_or_else(|| malformed("a user without an id"))?;
        if state.get(&GREETED, &id)?.is_some() {
            return Ok(());
        }
        let name = text(&user, "firstName").or_else(|| text(&user, "name")).unwrap_or_else(|| id.clone());
        let greeting = config::get("greeting").unwrap_or_default();
        let requested = Requested { id: &id, text: format!("{greeting}, {name}!") };
        outbox.append(OUTBOX, NewEvent::new("welcome.requested", &requested)?.key(&id));
        log::write(log::Level::Info, "a welcome is asked for", &[("user", &id)]);
        state.put(&GREETED, &id, &Greeted { at_us: context.time_us() })
    }
}

/// A string that is not empty.
fn text(user: &Fields, field: &str) -> Option<String> {
    user.get(field).filter(|text: &String| !text.is_empty())
}

fn malformed(why: &str) -> Failure {
    Failure::reject("user.malformed", why)
}

wasmill_guest::export_handler!(Welcome);
