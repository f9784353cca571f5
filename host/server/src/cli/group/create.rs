//! `wasmill group create` and `configure`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Done, Remote, place};
use crate::cli::exit::Failure;
use crate::cli::output::{Output, Show};
use crate::cli::stream::read_json;
use crate::proto::{ConfigureGroupRequest, CreateGroupRequest, GroupStart};

pub(super) const ADVICE: &str = "A group of the same name and configuration is left as it is, wherever it stands. \
    What has no option here (retry, dead letters, keyed parking) stands in --config; see examples/groups.";

#[derive(Args, Clone, Debug)]
pub(crate) struct CreateArgs {
    /// The group's name
    #[arg(value_name = "NAME")]
    name: String,
    /// Only streams whose names match; `*` stands for any text. May be given several times
    #[arg(long = "stream", value_name = "PATTERN")]
    streams: Vec<String>,
    /// Only events whose types match; `*` stands for any text. May be given several times
    #[arg(long = "type", value_name = "PATTERN")]
    types: Vec<String>,
    /// Only events with this key; one without a key has its stream's name. May be given several times
    #[arg(long = "key", value_name = "KEY")]
    keys: Vec<String>,
    /// Only events that have this tag; given several times, all of them
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Where to begin: `first`, `last` (only what comes), a position, or a time as RFC 3339 writes it
    #[arg(long, value_name = "PLACE", default_value = "first", value_parser = place::parse)]
    from: GroupStart,
    /// Who gets the events [default: queue]
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// What is promised of a delivery [default: at-least-once]
    #[arg(long, value_enum)]
    delivery: Option<Delivery>,
    /// When acknowledgements become durable [default: each]
    #[arg(long, value_enum)]
    commit: Option<Commit>,
    /// How long a member may work on an event before it is handed to someone else, such as 30s [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    ack_timeout: Option<Duration>,
    /// How long a member may be silent before its events are handed to others [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    session_timeout: Option<Duration>,
    /// Deliveries after which an event that is not settled becomes a dead letter [default: 10]
    #[arg(long, value_name = "DELIVERIES")]
    max_deliveries: Option<u64>,
    /// The configuration, of which the other options replace fields: JSON itself, a file of it, or `-` for
    /// standard input
    #[arg(long, value_name = "CONFIG")]
    config: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ConfigureArgs {
    /// The group's name
    #[arg(value_name = "NAME")]
    name: String,
    /// The configuration, which replaces the one before: JSON itself, a file of it, or `-` for standard input
    #[arg(value_name = "CONFIG")]
    config: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// The members share the events
    Queue,
    /// The member that joined first gets all, the others stand by
    Exclusive,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[expect(clippy::enum_variant_names, reason = "these are the terms of the field")]
enum Delivery {
    /// Again, until it is acknowledged
    AtLeastOnce,
    /// An event whose acknowledgement was answered is never handed out again
    ExactlyOnce,
    /// Settled before it is handed out
    AtMostOnce,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Commit {
    /// Before each is answered
    Each,
    /// When all that a member holds is acknowledged
    Batch,
    /// Every second, or as often as the configuration says
    Periodic,
    /// When a member says so
    Manual,
}

#[derive(Serialize)]
struct Created {
    group: String,
    created: bool,
}

impl Show for Created {
    fn to_text(&self) -> String {
        match self.created {
            true => format!("created {}", self.group),
            false => format!("{} is there already, with this configuration", self.group),
        }
    }
}

pub(super) async fn create(args: CreateArgs, output: Output) -> Result<(), Failure> {
    let config_json = args.config()?;
    let CreateArgs { name, from, remote, .. } = args;
    let request = CreateGroupRequest { name: name.clone(), config_json, start: Some(from) };
    let created = remote.connect().await?.groups().create_group(request).await?.into_inner().created;
    output.show(&Created { group: name, created })
}

pub(super) async fn configure(args: ConfigureArgs, output: Output) -> Result<(), Failure> {
    let ConfigureArgs { name, config, remote } = args;
    let config_json = read_json(&config).map_err(|error| Failure::file(&config, &error))?;
    let request = ConfigureGroupRequest { name: name.clone(), config_json };
    remote.connect().await?.groups().configure_group(request).await?;
    output.show(&Done::new(name, "configured"))
}

impl CreateArgs {
    /// The file's fields, and the options above them.
    fn config(&self) -> Result<String, Failure> {
        let mut fields = match &self.config {
            None => Map::new(),
            Some(config) => {
                let json = read_json(config).map_err(|error| Failure::file(config, &error))?;
                serde_json::from_str(&json)
                    .map_err(|error| Failure::usage(format!("--config {config}: not a JSON object: {error}")))?
            }
        };
        let lists = [("streams", &self.streams), ("types", &self.types), ("keys", &self.keys), ("tags", &self.tags)];
        for (field, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            fields.insert(field.into(), json!(list));
        }
        let options = [
            ("mode", self.mode.map(word)),
            ("delivery", self.delivery.map(word)),
            ("commit", self.commit.map(word)),
            ("ackTimeoutMs", self.ack_timeout.map(millis)),
            ("sessionTimeoutMs", self.session_timeout.map(millis)),
            ("maxDeliveries", self.max_deliveries.map(Value::from)),
        ];
        for (field, value) in options {
            if let Some(value) = value {
                fields.insert(field.into(), value);
            }
        }
        Ok(Value::Object(fields).to_string())
    }
}

/// As a configuration writes it: `at-least-once` is `at_least_once`.
fn word(value: impl ValueEnum) -> Value {
    value.to_possible_value().map_or(Value::Null, |value| value.get_name().replace('-', "_").into())
}

fn millis(time: Duration) -> Value {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).into()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: CreateArgs,
    }

    #[test]
    fn options_stand_above_the_file() {
        let line = [
            "x",
            "g",
            "--config",
            r#"{"maxDeliveries":3,"deadLetters":"drop"}"#,
            "--max-deliveries",
            "5",
            "--delivery",
            "exactly-once",
            "--ack-timeout",
            "1m",
            "--stream",
            "a-*",
        ];
        let config: Value = serde_json::from_str(&Line::parse_from(line).args.config().unwrap()).unwrap();
        let expected = json!({
            "maxDeliveries": 5, "deadLetters": "drop", "delivery": "exactly_once", "ackTimeoutMs": 60_000,
            "streams": ["a-*"],
        });
        assert_eq!(config, expected);
        assert_eq!(Line::parse_from(["x", "g"]).args.config().unwrap(), "{}");
        assert!(Line::parse_from(["x", "g", "--config", "{"]).args.config().is_err());
    }
}
