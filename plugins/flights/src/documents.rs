use serde::{Deserialize, Serialize};

use crate::events::Flight;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    pub events: u64,
    /// One stream is one aircraft.
    pub streams: u64,
    pub by_type: ByType,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByType {
    #[serde(rename = "flight.departed")]
    pub departed: u64,
    #[serde(rename = "flight.arrived")]
    pub arrived: u64,
    #[serde(rename = "flight.cancelled")]
    pub cancelled: u64,
}

impl ByType {
    pub(crate) fn of(&mut self, event: &Flight) -> &mut u64 {
        match event {
            Flight::Departed(_) => &mut self.departed,
            Flight::Arrived(_) => &mut self.arrived,
            Flight::Cancelled(_) => &mut self.cancelled,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Carrier {
    pub departures: u64,
    /// Of all departures together; early ones count negative.
    pub departure_delay_minutes: i64,
    pub cancelled: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub departures: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    pub arrivals: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Aircraft {
    pub departed: u64,
    pub arrived: u64,
    pub cancelled: u64,
    pub air_minutes: u64,
    pub miles: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Airborne {
    pub aircraft: String,
    pub flight: String,
    pub carrier: String,
    pub origin: String,
    pub dest: String,
    pub departed_at_us: u64,
}
