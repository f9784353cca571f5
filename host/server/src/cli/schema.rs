//! `wasmill schema`: what the data of event types looks like.

mod show;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::client::Remote;
use super::exit::Failure;
use super::output::Output;
use crate::proto::{
    CheckSchemaRequest, DeleteSchemaRequest, GetSchemaRequest, GetSchemaTypeRequest, ListSchemaTypesRequest,
    RegisterSchemaRequest, SchemaCompatibility, SetSchemaCompatibilityRequest, ValidateDataRequest,
};
use show::{Checked, Deleted, Mode, Registered, Shown, Type, Types, Valid};

/// What a host hands out at once.
const PAGE: u32 = 1_000;

#[derive(Debug, Subcommand)]
pub(crate) enum SchemaCommand {
    /// Register a schema, if it goes with the versions beside it
    Register(SchemaArgs),
    /// Say whether a schema would be registered, and every reason why not
    Check(SchemaArgs),
    /// List the event types that have schemas
    List(ListArgs),
    /// Show a schema
    Show(VersionArgs),
    /// Show, or say, what new versions of a type have to go with
    Compatibility(CompatibilityArgs),
    /// Say whether data keeps a schema, and where it does not
    Validate(ValidateArgs),
    /// Delete one version; events that were published under it stay
    Delete(DeleteArgs),
}

#[derive(Args, Clone, Debug)]
pub(crate) struct SchemaArgs {
    /// The event type
    #[arg(value_name = "TYPE")]
    event_type: String,
    /// A file with the JSON Schema, or `-` for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The version of the type [default: that which has this schema already, or the next]
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u32).range(1..))]
    version: Option<u32>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ListArgs {
    /// Types after this one
    #[arg(long, value_name = "TYPE")]
    after: Option<String>,
    /// Most types; 0 stands for all there are
    #[arg(long, default_value_t = 100, value_name = "TYPES")]
    limit: u64,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct VersionArgs {
    /// The event type
    #[arg(value_name = "TYPE")]
    event_type: String,
    /// The version [default: the latest]
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u32).range(1..))]
    version: Option<u32>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct CompatibilityArgs {
    /// The event type
    #[arg(value_name = "TYPE")]
    event_type: String,
    /// What new versions have to go with from now on
    #[arg(value_enum, value_name = "MODE")]
    mode: Option<ModeArg>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeArg {
    /// Nothing
    None,
    /// Data of the version before is valid under the new one
    Backward,
    /// Data of the new version is valid under the one before
    Forward,
    /// Both
    Full,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ValidateArgs {
    /// The event type
    #[arg(long = "type", value_name = "TYPE")]
    event_type: String,
    /// The version [default: the latest]
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u32).range(1..))]
    version: Option<u32>,
    /// A file with the data as JSON, or `-` for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct DeleteArgs {
    /// The event type
    #[arg(value_name = "TYPE")]
    event_type: String,
    /// The version
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u32).range(1..))]
    version: u32,
    /// Delete it although it is meant to stay
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn run(command: SchemaCommand, output: Output) -> Result<(), Failure> {
    match command {
        SchemaCommand::Register(args) => register(args, output).await,
        SchemaCommand::Check(args) => check(args, output).await,
        SchemaCommand::List(args) => list(args, output).await,
        SchemaCommand::Show(args) => {
            let VersionArgs { event_type, version, remote } = args;
            let request = GetSchemaRequest { r#type: event_type, version };
            let answer = remote.connect().await?.schemas().get_schema(request).await?.into_inner();
            output.show(&Shown::try_from(answer)?)
        }
        SchemaCommand::Compatibility(args) => compatibility(args, output).await,
        SchemaCommand::Validate(args) => validate(args, output).await,
        SchemaCommand::Delete(args) => {
            let DeleteArgs { event_type, version, force, remote } = args;
            let request = DeleteSchemaRequest { r#type: event_type.clone(), version, force };
            remote.connect().await?.schemas().delete_schema(request).await?;
            output.show(&Deleted { r#type: event_type, deleted: version })
        }
    }
}

fn malformed(message: &str) -> Failure {
    Failure::failed("malformed_answer", message)
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let read = || match file.as_os_str() == "-" {
        true => {
            let mut text = Vec::new();
            std::io::stdin().lock().read_to_end(&mut text)?;
            Ok(text)
        }
        false => std::fs::read(file),
    };
    read().map_err(|error| Failure::file(&file.display().to_string(), &error))
}

fn read_text(file: &Path) -> Result<String, Failure> {
    let text = String::from_utf8(read(file)?);
    text.map_err(|_| Failure::failed("file", format!("{} is not UTF-8", file.display())))
}

async fn register(args: SchemaArgs, output: Output) -> Result<(), Failure> {
    let SchemaArgs { event_type, file, version, remote } = args;
    let request = RegisterSchemaRequest { r#type: event_type, version, schema_json: read_text(&file)? };
    let answer = remote.connect().await?.schemas().register_schema(request).await?.into_inner();
    output.show(&Registered::try_from(answer)?)
}

async fn check(args: SchemaArgs, output: Output) -> Result<(), Failure> {
    let SchemaArgs { event_type, file, version, remote } = args;
    let request = CheckSchemaRequest { r#type: event_type.clone(), version, schema_json: read_text(&file)? };
    let answer = remote.connect().await?.schemas().check_schema(request).await?.into_inner();
    if !answer.compatible {
        let failure = Failure::failed("schema_incompatible", "the schema does not go with the version beside it");
        return Err(answer
            .incompatibilities
            .into_iter()
            .fold(failure, |failure, one| failure.with_detail(one.at, one.message)));
    }
    output.show(&Checked { r#type: event_type, compatible: true, version: answer.version })
}

async fn list(args: ListArgs, output: Output) -> Result<(), Failure> {
    let mut client = args.remote.connect().await?.schemas();
    let wanted = if args.limit == 0 { u64::MAX } else { args.limit };
    let mut found = Types { types: Vec::new(), next_after: args.after };
    loop {
        let missing = wanted - found.types.len() as u64;
        let request = ListSchemaTypesRequest {
            after: found.next_after.take().unwrap_or_default(),
            limit: u32::try_from(missing).unwrap_or(PAGE).min(PAGE),
        };
        let page = client.list_schema_types(request).await?.into_inner();
        found.types.extend(page.types.into_iter().map(Type::from));
        found.next_after = (!page.next_after.is_empty()).then_some(page.next_after);
        if found.next_after.is_none() || found.types.len() as u64 >= wanted {
            return output.show(&found);
        }
    }
}

async fn compatibility(args: CompatibilityArgs, output: Output) -> Result<(), Failure> {
    let CompatibilityArgs { event_type, mode, remote } = args;
    let mut client = remote.connect().await?.schemas();
    let found = match mode {
        None => client.get_schema_type(GetSchemaTypeRequest { r#type: event_type }).await?.into_inner().r#type,
        Some(mode) => {
            let mode = match mode {
                ModeArg::None => SchemaCompatibility::None,
                ModeArg::Backward => SchemaCompatibility::Backward,
                ModeArg::Forward => SchemaCompatibility::Forward,
                ModeArg::Full => SchemaCompatibility::Full,
            };
            let request = SetSchemaCompatibilityRequest { r#type: event_type, compatibility: mode.into() };
            client.set_schema_compatibility(request).await?.into_inner().r#type
        }
    };
    output.show(&Mode::from(found.ok_or_else(|| malformed("the answer holds no type"))?))
}

async fn validate(args: ValidateArgs, output: Output) -> Result<(), Failure> {
    let ValidateArgs { event_type, version, file, remote } = args;
    let request = ValidateDataRequest { r#type: event_type.clone(), version, data: read(&file)?.into() };
    let answer = remote.connect().await?.schemas().validate_data(request).await?.into_inner();
    if !answer.valid {
        let message = format!("the data breaks version {} of the schema of {event_type}", answer.version);
        let failure = Failure::failed("schema_violation", message);
        return Err(answer.violations.into_iter().fold(failure, |failure, one| {
            let at = if one.at.is_empty() { "the data".to_owned() } else { one.at };
            failure.with_detail(at, one.message)
        }));
    }
    output.show(&Valid { r#type: event_type, version: answer.version, valid: true })
}
