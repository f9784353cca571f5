//! How many users there are: added and removed, in all and by country.

use serde::{Deserialize, Serialize};
use wasmill_guest::{AnyEvent, Collection, Context, Descriptor, Failure, Fields, Projection, State, Subscription};

pub const STATISTICS: Collection<Statistics> =
    Collection::new("statistics").describe("Under `all` and under `country.NO`: added, removed, current");
pub const USERS: Collection<User> = Collection::new("users").describe("By id: the users of now");

const ALL: &str = "all";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    pub added: u64,
    pub removed: u64,
    pub current: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub country: String,
}

pub struct UserStatistics;

impl Projection for UserStatistics {
    // Decoded by hand: an event that is not of the shape that is wanted has a code of its own here.
    type Event = AnyEvent;

    fn descriptor() -> Descriptor {
        Descriptor::new("user-statistics", env!("CARGO_PKG_VERSION"))
            .describe("Users added and removed, in all and by country")
            .subscribe(Subscription::to_types(["user.*"]))
            .collection(&STATISTICS)
            .collection(&USERS)
    }

    fn apply(_: AnyEvent, context: &Context, state: &mut State) -> Result<(), Failure> {
        match context.event_type() {
            "user.added" => add(&user(context)?, state),
            "user.removed" => remove(&user(context)?, state),
            _ => Ok(()),
        }
    }
}

fn add(user: &Fields, state: &mut State) -> Result<(), Failure> {
    let id = id_of(user)?;
    let country = match user.raw("country") {
        None | Some("null") => "unknown".to_owned(),
        Some(_) => text(user, "country").ok_or_else(|| malformed("the country is not a name"))?,
    };
    if state.get(&USERS, &id)?.is_some() {
        return Ok(());
    }
    count(state, &country, |statistics| statistics.added += 1)?;
    state.put(&USERS, &id, &User { country })
}

fn remove(user: &Fields, state: &mut State) -> Result<(), Failure> {
    let id = id_of(user)?;
    let Some(User { country }) = state.get(&USERS, &id)?.cloned() else { return Ok(()) };
    state.remove(&USERS, &id);
    count(state, &country, |statistics| statistics.removed += 1)
}

fn count(state: &mut State, country: &str, change: fn(&mut Statistics)) -> Result<(), Failure> {
    for key in [ALL, &format!("country.{country}")] {
        state.update(&STATISTICS, key, |statistics| {
            change(statistics);
            statistics.current = statistics.added - statistics.removed;
        })?;
    }
    Ok(())
}

fn user(context: &Context) -> Result<Fields, Failure> {
    context.decode().map_err(|failure| malformed(&failure.message))
}

fn id_of(user: &Fields) -> Result<String, Failure> {
    text(user, "id").ok_or_else(|| malformed("a user without an id"))
}

/// A string that is not empty.
fn text(user: &Fields, field: &str) -> Option<String> {
    user.get(field).filter(|text: &String| !text.is_empty())
}

fn malformed(why: &str) -> Failure {
    Failure::reject("user.malformed", why)
}

wasmill_guest::export_projection!(UserStatistics);
