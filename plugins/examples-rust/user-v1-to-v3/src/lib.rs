//! Lifts `user.added` to the version that is published today: two names instead of one, and a country.

use wasmill_guest::{Descriptor, Failure, Fields, Lift, Upcaster};

const ADDED: &str = "user.added";

pub struct UserV1ToV3;

impl Upcaster for UserV1ToV3 {
    fn descriptor() -> Descriptor {
        Descriptor::new("user-v1-to-v3", env!("CARGO_PKG_VERSION"))
            .describe("Two names instead of one, and always a country")
    }

    fn lifts() -> Vec<Lift> {
        vec![lift(1, 2, split_name), lift(2, 3, add_country)]
    }
}

/// Whatever is not an object has a code of its own here.
fn lift(version: u32, to_version: u32, change: fn(&mut Fields) -> Result<(), Failure>) -> Lift {
    Lift::bytes(ADDED, version, to_version, move |context| {
        let mut user: Fields = context.decode().map_err(|failure| malformed(&failure.message))?;
        change(&mut user)?;
        serde_json::to_vec(&user).map_err(|error| malformed(&error.to_string()))
    })
}

fn split_name(user: &mut Fields) -> Result<(), Failure> {
    let name: String = user.get("name").ok_or_else(|| malformed("the name is not a string"))?;
    let name = name.trim_matches(' ');
    let (first, last) = name.split_once(' ').unwrap_or((name, ""));
    user.remove("name");
    user.set("firstName", &first)?;
    user.set("lastName", &last)
}

fn add_country(user: &mut Fields) -> Result<(), Failure> {
    match user.raw("country") {
        None | Some("null") => user.set("country", &"unknown"),
        Some(_) => Ok(()),
    }
}

fn malformed(why: &str) -> Failure {
    Failure::reject("user.malformed", why)
}

wasmill_guest::export_upcaster!(UserV1ToV3);
