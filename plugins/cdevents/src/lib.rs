//! Lifts CDEvents (<https://cdevents.dev>) of the specification's versions 0.2, 0.3 and 0.4 to 0.5, so that nobody
//! who reads has to know the older ones.
//!
//! CDEvents writes an event's version into its type, so a lift is a renaming: the schema version stays 1. What an
//! old event does not say is not made up; fields that nobody named go through untouched.

mod table;

use wasmill_guest::{Descriptor, Failure, Fields, Lift, Upcaster};

pub struct CdEvents;

impl Upcaster for CdEvents {
    fn descriptor() -> Descriptor {
        Descriptor::new("cdevents", env!("CARGO_PKG_VERSION"))
            .describe("Reads CDEvents 0.2, 0.3 and 0.4 as CDEvents 0.5")
    }

    fn lifts() -> Vec<Lift> {
        table::lifts()
    }
}

/// What changes from one version of the specification to the next.
type Change = fn(&mut Event) -> Result<(), Failure>;

/// A CDEvent, taken apart as far as the versions of the specification differ.
struct Event {
    whole: Fields,
    context: Fields,
    subject: Fields,
    content: Fields,
}

impl Event {
    fn take_apart(whole: Fields) -> Result<Self, Failure> {
        let part = |of: &Fields, name: &str| {
            let malformed = || Failure::reject("cdevents.malformed", format!("`{name}` is not an object"));
            of.get::<Fields>(name).ok_or_else(malformed)
        };
        let (context, subject) = (part(&whole, "context")?, part(&whole, "subject")?);
        let content = part(&subject, "content")?;
        Ok(Self { whole, context, subject, content })
    }

    fn put_together(mut self) -> Result<Fields, Failure> {
        self.subject.set("content", &self.content)?;
        self.whole.set("context", &self.context)?;
        self.whole.set("subject", &self.subject)?;
        Ok(self.whole)
    }
}

fn lift(from: &'static str, to: &'static str, change: Change) -> Lift {
    let lift = Lift::json(from, 1, 1, move |whole: Fields| {
        let mut event = Event::take_apart(whole)?;
        event.context.set("type", &to)?;
        change(&mut event)?;
        event.put_together()
    });
    lift.renamed(to)
}

/// Test cases and suites were split in two: what is tested, and one run of it, which is what the events told of.
fn to_0_3(event: &mut Event) -> Result<(), Failure> {
    event.context.set("version", &"0.3.0")?;
    match event.subject.get::<String>("type") {
        Some(kind) => event.subject.set("type", &format!("{kind}Run")),
        None => Ok(()),
    }
}

/// What is new, such as links and chains, an older event does not say.
fn to_0_4(event: &mut Event) -> Result<(), Failure> {
    event.context.set("version", &"0.4.1")
}

fn to_0_5(event: &mut Event) -> Result<(), Failure> {
    event.context.rename("version", "specversion");
    event.context.set("specversion", &"0.5.1")?;
    // It stands in the event's type.
    event.subject.remove("type");
    event.content.rename("url", "uri");
    Ok(())
}

/// Runs of tests end with the words that all other runs end with.
fn test_to_0_5(event: &mut Event) -> Result<(), Failure> {
    to_0_5(event)?;
    match event.content.get::<String>("outcome").as_deref() {
        Some("pass") => event.content.set("outcome", &"success"),
        Some("fail") => event.content.set("outcome", &"failure"),
        _ => Ok(()),
    }
}

wasmill_guest::export_upcaster!(CdEvents);
