//! `wasmill plugin settings`: how a plugin is run, whatever its revision.

use std::time::Duration;

use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::cli::client::{Client, Remote};
use crate::cli::exit::Failure;
use crate::cli::output::{Output, Show};
use crate::cli::table::table;
use crate::proto::{ChangePluginSettingsRequest, GetPluginSettingsRequest};

/// What is shown in which order, and what holds where nothing is said.
const SETTINGS: [(&str, &str); 14] = [
    ("wanted", "running"),
    ("autoStart", "true"),
    ("checkpoint", "batch"),
    ("batchEvents", "256"),
    ("pollIntervalMs", "with every commit"),
    ("retry.baseMs", "100"),
    ("retry.factor", "2"),
    ("retry.maxMs", "30000"),
    ("attempts", "8"),
    ("onFailure", "projections pause, handlers park"),
    ("buildEventsPerSecond", "as fast as it goes"),
    ("confirmSwap", "false"),
    ("partitions", "1"),
    ("memoryBytes", "the host's limit"),
];

#[derive(Args, Clone, Debug)]
pub(crate) struct SettingsArgs {
    /// The plugin's name
    #[arg(value_name = "NAME")]
    name: String,
    /// Whether it runs when the host starts
    #[arg(long, value_name = "BOOL")]
    auto_start: Option<bool>,
    /// What one checkpoint covers
    #[arg(long, value_enum)]
    checkpoint: Option<Checkpoint>,
    /// Most events of one call, 1 to 256
    #[arg(long, value_name = "EVENTS")]
    batch: Option<u64>,
    /// Look for events at this interval, instead of with every commit
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    poll: Option<Duration>,
    /// The rest before an event is tried a second time
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    retry_base: Option<Duration>,
    /// By which each further rest is longer
    #[arg(long, value_name = "FACTOR")]
    retry_factor: Option<u64>,
    /// The longest rest
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    retry_max: Option<Duration>,
    /// Attempts at an event before it counts as failed
    #[arg(long, value_name = "ATTEMPTS")]
    attempts: Option<u64>,
    /// What happens to an event that has failed
    #[arg(long, value_enum)]
    on_failure: Option<OnFailure>,
    /// How fast a read model is built at most
    #[arg(long, value_name = "EVENTS/S")]
    build_rate: Option<u64>,
    /// Whether a read model that has been built waits for `wasmill plugin confirm`
    #[arg(long, value_name = "BOOL")]
    confirm_swap: Option<bool>,
    /// Partitions of a projection that folds by key, from its next build on
    #[arg(long, value_name = "PARTITIONS")]
    partitions: Option<u64>,
    /// Memory of one instance, such as 128MiB
    #[arg(long, value_name = "SIZE")]
    memory: Option<ByteSize>,
    /// Bring the default of a setting back, by the name that is shown. May be given several times
    #[arg(long = "default", value_name = "SETTING", value_parser = SETTINGS.map(|(name, _)| name))]
    defaults: Vec<String>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Checkpoint {
    Batch,
    Event,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OnFailure {
    Pause,
    Park,
}

impl SettingsArgs {
    /// A JSON merge patch.
    fn patch(&self) -> Value {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let mut patch = Map::new();
        let mut put = |path: &str, value: Option<Value>| {
            let Some(value) = value else { return };
            match path.split_once('.') {
                None => drop(patch.insert(path.to_owned(), value)),
                Some((outer, inner)) => patch.entry(outer).or_insert_with(|| json!({}))[inner] = value,
            }
        };
        let checkpoint = self.checkpoint.map(|checkpoint| match checkpoint {
            Checkpoint::Batch => "batch",
            Checkpoint::Event => "event",
        });
        let on_failure = self.on_failure.map(|on_failure| match on_failure {
            OnFailure::Pause => "pause",
            OnFailure::Park => "park",
        });
        put("autoStart", self.auto_start.map(Value::from));
        put("checkpoint", checkpoint.map(Value::from));
        put("batchEvents", self.batch.map(Value::from));
        put("pollIntervalMs", self.poll.map(ms).map(Value::from));
        put("retry.baseMs", self.retry_base.map(ms).map(Value::from));
        put("retry.factor", self.retry_factor.map(Value::from));
        put("retry.maxMs", self.retry_max.map(ms).map(Value::from));
        put("attempts", self.attempts.map(Value::from));
        put("onFailure", on_failure.map(Value::from));
        put("buildEventsPerSecond", self.build_rate.map(Value::from));
        put("confirmSwap", self.confirm_swap.map(Value::from));
        put("partitions", self.partitions.map(Value::from));
        put("memoryBytes", self.memory.map(|memory| memory.as_u64().into()));
        for name in &self.defaults {
            put(name, Some(Value::Null));
        }
        Value::Object(patch)
    }
}

/// All settings of a plugin.
#[derive(Serialize)]
struct Shown {
    plugin: String,
    settings: Value,
}

impl Show for Shown {
    fn to_text(&self) -> String {
        let rows = SETTINGS.map(|(name, default)| {
            let said = self.settings.pointer(&format!("/{}", name.replace('.', "/")));
            let value = match said {
                Some(Value::String(text)) => text.clone(),
                Some(value) => value.to_string(),
                None => format!("({default})"),
            };
            [name.to_owned(), value]
        });
        table(["setting", "value"], rows)
    }
}

pub(super) async fn run(args: SettingsArgs, output: Output) -> Result<(), Failure> {
    let (client, patch) = (args.remote.connect().await?, args.patch());
    let settings = match patch.as_object().is_some_and(Map::is_empty) {
        true => {
            let request = GetPluginSettingsRequest { name: args.name.clone() };
            parse(&client.plugins().get_plugin_settings(request).await?.into_inner().settings_json)?
        }
        false => change(&client, &args.name, &patch).await?,
    };
    output.show(&Shown { plugin: args.name, settings })
}

/// Answers all settings as they are then.
pub(super) async fn change(client: &Client, name: &str, patch: &Value) -> Result<Value, Failure> {
    let request = ChangePluginSettingsRequest { name: name.to_owned(), patch_json: patch.to_string() };
    parse(&client.plugins().change_plugin_settings(request).await?.into_inner().settings_json)
}

fn parse(settings_json: &str) -> Result<Value, Failure> {
    serde_json::from_str(settings_json)
        .map_err(|error| Failure::failed("malformed_answer", format!("the settings are not JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: SettingsArgs,
    }

    #[test]
    fn options_are_a_patch_of_what_is_said() {
        let line = "x flights --retry-base 250ms --retry-max 1m --memory 2MiB --on-failure park --default retry.factor \
                    --default attempts --confirm-swap true";
        let patch = Line::try_parse_from(line.split_whitespace()).ok().unwrap().args.patch();
        let expected = json!({
            "retry": { "baseMs": 250, "maxMs": 60_000, "factor": null }, "memoryBytes": 2_097_152, "onFailure": "park",
            "attempts": null, "confirmSwap": true,
        });
        assert_eq!(patch, expected);
        assert!(Line::try_parse_from(["x", "flights", "--default", "colour"]).is_err());
    }

    #[test]
    fn what_is_not_said_is_shown_with_its_default() {
        let settings = json!({ "wanted": "paused", "checkpoint": "batch", "retry": { "factor": 3 } });
        let text = Shown { plugin: "flights".into(), settings }.to_text();
        for line in ["wanted                paused", "retry.factor          3", "retry.baseMs          (100)"] {
            assert!(text.contains(line), "{text}");
        }
    }
}
