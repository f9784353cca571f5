use serde::Deserialize;
use wasmill_guest::Context;

use crate::Airborne;

wasmill_guest::events! {
    /// What happens to a flight. Each belongs to the stream of its aircraft, under the flight's key.
    pub enum Flight {
        Departed(Departed) = "flight.departed",
        Arrived(Arrived) = "flight.arrived",
        Cancelled(Cancelled) = "flight.cancelled",
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Departed {
    pub flight: String,
    pub carrier: String,
    pub origin: String,
    pub dest: String,
    /// Negative when it left early.
    pub delay_minutes: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Arrived {
    pub dest: String,
    /// Not known of every flight.
    pub air_minutes: Option<u64>,
    pub miles: u64,
}

#[derive(Deserialize)]
pub struct Cancelled {
    pub carrier: String,
}

impl Departed {
    pub fn into_airborne(self, context: &Context) -> Airborne {
        Airborne {
            aircraft: context.stream().to_owned(),
            flight: self.flight,
            carrier: self.carrier,
            origin: self.origin,
            dest: self.dest,
            departed_at_us: context.time_us(),
        }
    }
}
