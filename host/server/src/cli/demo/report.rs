//! What the demo shows: the read model as a table, and how long each stage took.

use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::embedded::carrier_name;
use crate::cli::output::Show;
use crate::cli::table::{duration, grouped, rate, table};

/// A document of the collection `carriers`, as the plugin writes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CarrierDocument {
    departures: u64,
    departure_delay_minutes: i64,
    cancelled: u64,
}

/// The document `all` of the collection `totals`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TotalsDocument {
    pub events: u64,
    pub streams: u64,
    by_type: ByType,
}

#[derive(Deserialize)]
struct ByType {
    #[serde(rename = "flight.departed")]
    departed: u64,
    #[serde(rename = "flight.arrived")]
    arrived: u64,
    #[serde(rename = "flight.cancelled")]
    cancelled: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    pub stages: Vec<Stage>,
    pub carriers: Vec<Carrier>,
    pub totals: Totals,
}

/// One step of the demo.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Stage {
    name: &'static str,
    what: String,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    events_per_second: Option<u64>,
}

impl Stage {
    pub(crate) fn new(name: &'static str, what: String, took: Duration) -> Self {
        Self { name, what, seconds: took.as_secs_f64(), events_per_second: None }
    }

    #[must_use]
    pub(crate) fn at_rate_of(mut self, events: u64) -> Self {
        self.events_per_second = Some(rate(events, Duration::from_secs_f64(self.seconds)));
        self
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Carrier {
    code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'static str>,
    departures: u64,
    /// Nothing departed: nothing was late.
    mean_delay_minutes: Option<f64>,
    cancelled: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Totals {
    events: u64,
    aircraft: u64,
    departed: u64,
    arrived: u64,
    cancelled: u64,
    mean_delay_minutes: Option<f64>,
}

fn mean(minutes: i64, departures: u64) -> Option<f64> {
    (departures > 0).then(|| minutes as f64 / departures as f64)
}

impl Report {
    /// The read model, the busiest carrier first.
    pub(crate) fn new(stages: Vec<Stage>, documents: Vec<(String, CarrierDocument)>, totals: TotalsDocument) -> Self {
        let minutes: i64 = documents.iter().map(|(_, document)| document.departure_delay_minutes).sum();
        let TotalsDocument { events, streams, by_type: ByType { departed, arrived, cancelled } } = totals;
        let mean_delay_minutes = mean(minutes, departed);
        let mut carriers: Vec<Carrier> = documents.into_iter().map(Carrier::from).collect();
        carriers.sort_by(|a, b| b.departures.cmp(&a.departures).then_with(|| a.code.cmp(&b.code)));
        let totals = Totals { events, aircraft: streams, departed, arrived, cancelled, mean_delay_minutes };
        Self { stages, carriers, totals }
    }
}

impl From<(String, CarrierDocument)> for Carrier {
    fn from((code, document): (String, CarrierDocument)) -> Self {
        let CarrierDocument { departures, departure_delay_minutes, cancelled } = document;
        let mean_delay_minutes = mean(departure_delay_minutes, departures);
        Self { name: carrier_name(&code), code, departures, mean_delay_minutes, cancelled }
    }
}

fn minutes(mean: Option<f64>) -> String {
    mean.map_or_else(|| "-".into(), |mean| format!("{mean:.1} min"))
}

impl Show for Report {
    fn to_text(&self) -> String {
        let carriers = self.carriers.iter().map(|carrier| {
            let name = carrier.name.unwrap_or_default().to_owned();
            let (departures, cancelled) = (grouped(carrier.departures), grouped(carrier.cancelled));
            [carrier.code.clone(), name, departures, minutes(carrier.mean_delay_minutes), cancelled]
        });
        let totals = &self.totals;
        let last = [
            String::new(),
            "all".into(),
            grouped(totals.departed),
            minutes(totals.mean_delay_minutes),
            grouped(totals.cancelled),
        ];
        let columns = ["carrier", "", ">departures", ">mean delay", ">cancelled"];
        let mut text =
            String::from("Departures from New York in January 2013, as the projection `flights` holds them:\n\n");
        text += &table(columns, carriers.chain([last]));
        let _ = write!(
            text,
            "\n\n{} events of {} aircraft: {} departed, {} arrived, {} cancelled.\n\n",
            grouped(totals.events),
            grouped(totals.aircraft),
            grouped(totals.departed),
            grouped(totals.arrived),
            grouped(totals.cancelled)
        );
        let stages = self.stages.iter().map(|stage| {
            let rate = stage.events_per_second.map_or_else(String::new, |rate| format!("{} events/s", grouped(rate)));
            [stage.name.to_owned(), stage.what.clone(), duration(Duration::from_secs_f64(stage.seconds)), rate]
        });
        text + &table(["stage", "", ">took", ">"], stages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents() -> Vec<(String, CarrierDocument)> {
        let document = |code: &str, departures, departure_delay_minutes, cancelled| {
            (code.to_owned(), CarrierDocument { departures, departure_delay_minutes, cancelled })
        };
        vec![document("9E", 3, -6, 1), document("UA", 4_000, 10_000, 0), document("ZZ", 0, 0, 7)]
    }

    #[test]
    fn the_busiest_carrier_is_first_and_means_are_of_departures() {
        let by_type = ByType { departed: 4_003, arrived: 4_000, cancelled: 8 };
        let totals = TotalsDocument { events: 8_011, streams: 12, by_type };
        let stage = Stage::new("publish", "8,011 events".into(), Duration::from_millis(500)).at_rate_of(8_011);
        let text = Report::new(vec![stage], documents(), totals).to_text();
        let line =
            |start: &str| text.lines().find(|line| line.trim_start().starts_with(start)).unwrap_or("").to_owned();
        let words = |start: &str| line(start).split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
        assert_eq!(words("UA"), "UA United Air Lines 4,000 2.5 min 0");
        assert_eq!(words("9E"), "9E Endeavor Air 3 -2.0 min 1");
        assert_eq!(words("ZZ"), "ZZ 0 - 7");
        assert_eq!(words("all"), "all 4,003 2.5 min 8");
        assert_eq!(words("publish"), "publish 8,011 events 500 ms 16,022 events/s");
        assert!(text.find("UA").unwrap() < text.find("9E").unwrap());
    }
}
