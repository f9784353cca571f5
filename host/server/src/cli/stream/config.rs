//! `wasmill stream config`: how streams are treated.

use std::collections::BTreeMap;
use std::io::Read as _;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value;

use super::{PAGE, Remote};
use crate::cli::exit::Failure;
use crate::cli::output::{Output, Show};
use crate::cli::table::table;
use crate::proto::stream_config_subject::Kind;
use crate::proto::{
    DeleteStreamConfigRequest, GetStreamConfigRequest, ListStreamConfigsRequest, PutStreamConfigRequest, StreamConfig,
    StreamConfigSubject,
};

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show what holds for a stream and who says so, or what is said of a pattern
    Get(SubjectArgs),
    /// Say how a stream, or every stream that matches a pattern, is to be treated
    Set(SetArgs),
    /// Forget what is said of a stream or a pattern
    Remove(SubjectArgs),
    /// List what is said
    List(ListArgs),
}

#[derive(Args, Clone, Debug)]
pub(crate) struct SubjectArgs {
    /// The name of a stream; with a `*`, which stands for any text, a pattern
    #[arg(value_name = "STREAM")]
    subject: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct SetArgs {
    /// The name of a stream; with a `*`, which stands for any text, a pattern
    #[arg(value_name = "STREAM")]
    subject: String,
    /// The configuration, which replaces the one before: JSON itself, a file of it, or `-` for standard input
    #[arg(value_name = "CONFIG")]
    config: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    remote: Remote,
}

fn subject(text: &str) -> Option<StreamConfigSubject> {
    let kind = if text.contains('*') { Kind::Pattern(text.to_owned()) } else { Kind::Stream(text.to_owned()) };
    Some(StreamConfigSubject { kind: Some(kind) })
}

/// As it is shown: the kind, and the name or the pattern.
fn named(subject: Option<StreamConfigSubject>) -> (&'static str, String) {
    match subject.and_then(|subject| subject.kind) {
        Some(Kind::Stream(name)) => ("stream", name),
        Some(Kind::Pattern(glob)) => ("pattern", glob),
        None => ("nothing", String::new()),
    }
}

fn parse(json: &str) -> Result<Value, Failure> {
    serde_json::from_str(json).map_err(|error| {
        Failure::failed(
            "malformed_answer",
            format!("the host's answer holds a configuration that is not JSON: {error}"),
        )
    })
}

/// What is said of one stream or pattern.
#[derive(Serialize)]
struct Said {
    kind: &'static str,
    name: String,
    config: Value,
}

impl TryFrom<StreamConfig> for Said {
    type Error = Failure;

    fn try_from(config: StreamConfig) -> Result<Self, Failure> {
        let (kind, name) = named(config.subject);
        Ok(Self { kind, name, config: parse(&config.config_json)? })
    }
}

impl Show for Said {
    fn to_text(&self) -> String {
        format!("{:#}", self.config)
    }
}

/// What holds for a stream.
#[derive(Serialize)]
struct Holds {
    stream: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<Value>,
    effective: Value,
    /// By field; what is not there is the host's default.
    origins: BTreeMap<String, String>,
}

impl Show for Holds {
    fn to_text(&self) -> String {
        let mut fields = Vec::new();
        flatten("", &self.effective, &mut fields);
        let by = |field: &str| self.origins.get(field).map_or("default", String::as_str).to_owned();
        table(
            ["field", "value", "said by"],
            fields.into_iter().map(|(field, value)| [field.clone(), value, by(&field)]),
        )
    }
}

/// `retention.maxEvents` and so on, each with its value.
fn flatten(prefix: &str, value: &Value, into: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            let name = |field: &String| if prefix.is_empty() { field.clone() } else { format!("{prefix}.{field}") };
            fields.iter().for_each(|(field, value)| flatten(&name(field), value, into));
        }
        Value::String(text) => into.push((prefix.to_owned(), text.clone())),
        other => into.push((prefix.to_owned(), other.to_string())),
    }
}

/// What a command has changed.
#[derive(Serialize)]
struct Done {
    #[serde(skip_serializing_if = "Option::is_none")]
    configured: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    removed: Option<String>,
}

impl Show for Done {
    fn to_text(&self) -> String {
        match (&self.configured, &self.removed) {
            (Some(name), _) => format!("configured {name}"),
            (None, Some(name)) => format!("removed the configuration of {name}"),
            (None, None) => String::new(),
        }
    }
}

#[derive(Serialize)]
struct All {
    configs: Vec<Said>,
}

impl Show for All {
    fn to_text(&self) -> String {
        if self.configs.is_empty() {
            return String::new();
        }
        let rows = self.configs.iter().map(|said| [said.kind.to_owned(), said.name.clone(), said.config.to_string()]);
        table(["of", "name", "config"], rows)
    }

    fn note(&self) -> Option<String> {
        self.configs.is_empty().then(|| "nothing is configured".into())
    }
}

pub(super) async fn run(command: ConfigCommand, output: Output) -> Result<(), Failure> {
    match command {
        ConfigCommand::Get(args) => get(args, output).await,
        ConfigCommand::Set(args) => set(args, output).await,
        ConfigCommand::Remove(args) => remove(args, output).await,
        ConfigCommand::List(args) => list(args, output).await,
    }
}

async fn get(args: SubjectArgs, output: Output) -> Result<(), Failure> {
    let request = GetStreamConfigRequest { subject: subject(&args.subject) };
    let answer = args.remote.connect().await?.streams().get_stream_config(request).await?.into_inner();
    let said = answer.config.map(Said::try_from).transpose()?;
    if answer.effective_json.is_empty() {
        let nothing = || Failure::failed("malformed_answer", "the answer holds no configuration");
        return output.show(&said.ok_or_else(nothing)?);
    }
    let origin = |(field, by): (String, StreamConfigSubject)| {
        let (kind, name) = named(Some(by));
        (field, format!("{kind} {name}"))
    };
    output.show(&Holds {
        stream: args.subject,
        config: said.map(|said| said.config),
        effective: parse(&answer.effective_json)?,
        origins: answer.origins.into_iter().map(origin).collect(),
    })
}

async fn set(args: SetArgs, output: Output) -> Result<(), Failure> {
    let config_json = read(&args.config).map_err(|error| Failure::file(&args.config, &error))?;
    let config = StreamConfig { subject: subject(&args.subject), config_json };
    let request = PutStreamConfigRequest { config: Some(config) };
    args.remote.connect().await?.streams().put_stream_config(request).await?;
    output.show(&Done { configured: Some(args.subject), removed: None })
}

/// JSON itself, a file of it, or `-` for standard input.
pub(in crate::cli) fn read(config: &str) -> std::io::Result<String> {
    match config {
        "-" => {
            let mut json = String::new();
            std::io::stdin().lock().read_to_string(&mut json)?;
            Ok(json)
        }
        json if json.trim_start().starts_with('{') => Ok(json.to_owned()),
        file => std::fs::read_to_string(file),
    }
}

async fn remove(args: SubjectArgs, output: Output) -> Result<(), Failure> {
    let request = DeleteStreamConfigRequest { subject: subject(&args.subject) };
    args.remote.connect().await?.streams().delete_stream_config(request).await?;
    output.show(&Done { configured: None, removed: Some(args.subject) })
}

async fn list(args: ListArgs, output: Output) -> Result<(), Failure> {
    let mut streams = args.remote.connect().await?.streams();
    let (mut all, mut after) = (All { configs: Vec::new() }, String::new());
    loop {
        let page = streams.list_stream_configs(ListStreamConfigsRequest { after, limit: PAGE }).await?.into_inner();
        for config in page.configs {
            all.configs.push(Said::try_from(config)?);
        }
        after = page.next_after;
        if after.is_empty() {
            return output.show(&all);
        }
    }
}
