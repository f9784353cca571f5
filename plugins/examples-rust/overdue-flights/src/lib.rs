//! Flights that have departed and do not arrive: each departure starts a saga, which waits for the arrival, but not
//! longer than twelve hours. It lives in the time of the events, so a year of flights takes as long as reading them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wasmill_guest::{Descriptor, Failure, NewEvent, Outcome, Saga, StartsOn, Step, StepContext, Wait};

/// The longest flight of all takes 11.7 hours.
const PATIENCE: Duration = Duration::from_secs(12 * 3_600);
/// What is shared with the step itself, when it is woken.
const WAITING: &str = "waiting";

/// The data of a departure, as far as it matters.
#[derive(Debug, Deserialize)]
pub struct Departed {
    pub flight: String,
    pub dest: String,
}

/// What the one step answers.
#[derive(Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Answer {
    pub overdue: bool,
}

pub struct OverdueFlights;

impl Saga for OverdueFlights {
    fn descriptor() -> Descriptor {
        Descriptor::new("overdue-flights", env!("CARGO_PKG_VERSION"))
            .describe("Waits for the arrival of each flight that departs, and says which are overdue")
            .starts_on(StartsOn::types(["flight.departed"]).in_streams(["aircraft-*"]).correlated_by("key"))
            .on_event_time()
            .appends_to("overdue-flights")
    }

    fn steps() -> Vec<Step> {
        vec![Step::new("await-arrival", await_arrival)]
    }
}

fn await_arrival(context: &mut StepContext) -> Result<Outcome, Failure> {
    if context.woken_by().is_some() {
        return Outcome::completed(&Answer { overdue: false });
    }
    if context.data().get::<bool>(WAITING)?.is_none() {
        context.data().put(WAITING, &true)?;
        // Its key is the flight's, and so is the arrival's.
        return Ok(Wait::for_event("flight.arrived").but_a_while(context, PATIENCE).into());
    }
    let flight = context.correlation_id();
    let departed: Departed = context.input()?;
    let overdue = serde_json::json!({ "flight": departed.flight, "dest": departed.dest });
    context.emit("overdue-flights", NewEvent::new("flight-overdue", &overdue)?.key(flight));
    Outcome::completed(&Answer { overdue: true })
}

wasmill_guest::export_saga!(OverdueFlights);
