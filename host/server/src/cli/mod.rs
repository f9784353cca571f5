//! The command line. A command parses its arguments, talks to a host as any other client does, and
//! shows what came of it; only `serve` and `demo` know the host from within.

mod bench;
mod client;
mod config;
mod database;
mod dead_letter;
mod demo;
mod event;
mod exit;
mod group;
mod output;
mod plugin;
mod problem;
mod projection;
mod publish;
mod queue;
mod read;
mod receipt;
mod replay;
mod saga;
mod schedule;
mod schema;
mod scratch;
mod serve;
mod stream;
mod table;
mod transact;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

pub use exit::Exit;
use exit::Failure;
use output::{Format, Output};

use crate::serve::signalled;

/// Heading of the options that all commands have, below those of the command.
const COMMON_OPTIONS: &str = "Common options";

/// Wasmill: an event host that runs your WebAssembly.
#[derive(Debug, Parser)]
#[command(name = "wasmill", version, about, after_help = Exit::table(), arg_required_else_help = true,
          subcommand_required = true, max_term_width = 100)]
struct Cli {
    /// How results and errors are written
    #[arg(long, global = true, value_enum, default_value_t, env = "WASMILL_OUTPUT", value_name = "FORMAT",
          help_heading = COMMON_OPTIONS, display_order = 900)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a host
    Serve(crate::config::ServeArgs),
    /// See real flights go through a WebAssembly projection, on a host of its own
    Demo(demo::DemoArgs),
    /// Publish events from a file
    Publish(publish::PublishArgs),
    /// Append to several streams at once, if what must hold does
    Transact(transact::TransactArgs),
    /// Read events
    Read(read::ReadArgs),
    /// Follow events as they come
    Tail(read::TailArgs),
    /// Streams
    #[command(subcommand)]
    Stream(stream::StreamCommand),
    /// Consumer groups: every event handled, in the order of its key, by one member
    #[command(subcommand)]
    Group(group::GroupCommand),
    /// Events that a consumer group has given up
    #[command(subcommand, name = "deadletter")]
    DeadLetter(dead_letter::DeadLetterCommand),
    /// Queues: streams whose messages leave when they are done
    #[command(subcommand)]
    Queue(queue::QueueCommand),
    /// Schedules: events that are published at a time, once or again and again
    #[command(subcommand)]
    Schedule(schedule::ScheduleCommand),
    /// Schemas of event types: register, compare, and check data against them
    #[command(subcommand)]
    Schema(schema::SchemaCommand),
    /// Receipts: who was delivered, and who has read, which event
    #[command(subcommand)]
    Receipt(receipt::ReceiptCommand),
    /// Replays: the past once more, at a pace, for a group, a projection or this command
    #[command(subcommand)]
    Replay(replay::ReplayCommand),
    /// Sagas: long-running processes of declared steps, which are undone backwards when one fails
    #[command(subcommand)]
    Saga(saga::SagaCommand),
    /// Plugins: write, check, deploy, look after
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Projections and their read models
    #[command(subcommand)]
    Projection(projection::ProjectionCommand),
    /// Bring a database to the version of this binary, or say whether that is necessary
    Migrate(database::MigrateArgs),
    /// Copy everything from one store to another, places and checkpoints unchanged
    #[command(after_help = database::COPY_ADVICE)]
    Copy(database::CopyArgs),
    /// Measure a host
    #[command(subcommand, after_help = bench::ADVICE)]
    Bench(bench::BenchCommand),
    /// The configuration of a host
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print the completions of a shell
    #[command(after_help = "In bash, for this session:  source <(wasmill completions bash)")]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Runs the command line; the result is the process's exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> Exit {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return explain(&error, &args),
    };
    let output = Output::new(cli.output);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return end(output, Failure::failed("runtime", format!("cannot start threads: {error}"))),
    };
    let result = runtime.block_on(run(cli.command, output));
    // A thread that waits for standard input would wait for ever.
    runtime.shutdown_background();
    result.map_or_else(|failure| end(output, failure), |()| Exit::Ok)
}

async fn run(command: Command, output: Output) -> Result<(), Failure> {
    // Commands that have an orderly end of their own listen for signals themselves.
    match command {
        Command::Serve(args) => serve::run(args).await,
        Command::Demo(args) => demo::run(args, output).await,
        Command::Publish(args) => publish::run(args, output).await,
        Command::Tail(args) => read::tail(args, output).await,
        Command::Migrate(args) => database::migrate(args, output).await,
        Command::Copy(args) => database::copy(args, output).await,
        Command::Config(command) => config::run(command, output),
        Command::Completions { shell } => completions(shell, output),
        Command::Transact(args) => until_interrupted(transact::run(args, output)).await,
        Command::Read(args) => until_interrupted(read::read(args, output)).await,
        Command::Stream(command) => until_interrupted(stream::run(command, output)).await,
        // `consume` has an orderly end of its own for a signal.
        Command::Group(command) => group::run(command, output).await,
        // So has `take`.
        Command::Queue(command) => queue::run(command, output).await,
        Command::Schema(command) => until_interrupted(schema::run(command, output)).await,
        Command::Schedule(command) => until_interrupted(schedule::run(command, output)).await,
        Command::Receipt(command) => until_interrupted(receipt::run(command, output)).await,
        // A replay that is watched goes on without its watcher, which says so.
        Command::Replay(command) => replay::run(command, output).await,
        Command::Saga(command) => until_interrupted(saga::run(command, output)).await,
        Command::DeadLetter(command) => until_interrupted(dead_letter::run(command, output)).await,
        // Who follows a plugin's log says where to go on.
        Command::Plugin(command) => plugin::run(command, output).await,
        Command::Projection(command) => until_interrupted(projection::run(command, output)).await,
        Command::Bench(command) => until_interrupted(bench::run(command, output)).await,
    }
}

async fn until_interrupted<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::select! {
        // What has an end of its own for a signal says more than this.
        biased;
        result = work => result,
        () = signalled() => Err(Failure::interrupted("stopped by a signal")),
    }
}

fn completions(shell: Shell, output: Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "wasmill", &mut script);
    output.raw(&script)
}

fn end(output: Output, failure: Failure) -> Exit {
    // A reader that has had enough need not hear of it.
    if failure.exit != Exit::Ok {
        output.failure(&failure);
    }
    failure.exit
}

/// Help and versions are results, everything else is a usage error.
fn explain(error: &clap::Error, args: &[OsString]) -> Exit {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Nothing can be done about a terminal that cannot be written to.
            let _ = error.print();
            Exit::Ok
        }
        _ if wants_json(args, std::env::var_os("WASMILL_OUTPUT")) => {
            let text = error.to_string();
            let (message, help) = text.split_once("\n\n").unwrap_or((&text, ""));
            let message = message.trim_start_matches("error: ").trim();
            end(Output::new(Format::Json), Failure::usage(message).with_help(help.trim()))
        }
        _ => {
            let _ = error.print();
            Exit::Usage
        }
    }
}

/// What cannot be parsed as a whole may still say how it wants to be answered.
fn wants_json(args: &[OsString], environment: Option<OsString>) -> bool {
    let flag = args.iter().enumerate().rev().find_map(|(index, arg)| match arg.to_str()? {
        "--output" => args.get(index + 1).cloned(),
        arg => arg.strip_prefix("--output=").map(OsString::from),
    });
    flag.or(environment).is_some_and(|format| format == "json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_of_the_documentation_parses() {
        for line in [
            "wasmill serve --data-dir d --listen 127.0.0.1:0",
            "wasmill demo --exit --listen 127.0.0.1:0 --data-dir d",
            "wasmill publish f.jsonl --batch 10 --url http://h:1 --token t",
            "wasmill publish - --output json",
            "wasmill transact f.json --idempotency-key k",
            "wasmill read order-1 --from 3 --limit 10 --backward --raw",
            "wasmill read --stream order-* --type order.*",
            "wasmill read --key k --tag a --tag b --correlation-id c --until 9",
            "wasmill read order-1 --from-time 2026-01-01T00:00:00Z --until-time 2026-01-02T00:00:00+01:00",
            "wasmill tail --from 0",
            "wasmill tail --tag a --from-time 2026-01-01T00:00:00Z",
            "wasmill stream list order-*",
            "wasmill stream show order-1",
            "wasmill stream truncate order-1 --before 7 --expect 9",
            "wasmill stream delete order-1 --hard",
            "wasmill stream config get order-1",
            "wasmill stream config set order-* config.json",
            "wasmill stream config remove order-*",
            "wasmill stream config list",
            "wasmill group create billing",
            "wasmill group create billing --stream order-* --stream refund-* --type order.* --key k --tag t",
            "wasmill group create billing --from last --mode exclusive --delivery exactly-once --commit each",
            "wasmill group create billing --from 2026-01-01T00:00:00Z --ack-timeout 30s --session-timeout 1m",
            "wasmill group create billing --from 7 --max-deliveries 3 --config billing.json",
            "wasmill group configure billing billing.json",
            "wasmill group list",
            "wasmill group show billing",
            "wasmill group pause billing",
            "wasmill group resume billing",
            "wasmill group reset billing --to first",
            "wasmill group reset billing --to 7",
            "wasmill group skip billing 7",
            "wasmill group delete billing",
            "wasmill group consume billing --member worker-1 --limit 10",
            "wasmill deadletter list billing --from 7 --limit 10",
            "wasmill deadletter show billing 7",
            "wasmill deadletter replay billing --all",
            "wasmill deadletter replay billing --key order-1",
            "wasmill deadletter purge billing --position 7 --position 9",
            "wasmill queue create mail",
            "wasmill queue list",
            "wasmill queue show mail",
            "wasmill queue put mail mails.jsonl",
            "wasmill queue put mail -",
            "wasmill queue put mail --type mail.due --data {} --key c-7 --delay 5s --ttl 1m --priority 9",
            "wasmill queue take mail --limit 10 --wait 5s --visibility 30s --consumer worker-1",
            "wasmill schedule put remind --stream s --type t --data {} --at 2026-12-01T09:00:00+01:00 --key k",
            "wasmill schedule put remind --stream s --type t --data {} --in 90s --missed skip",
            "wasmill schedule put remind --stream s --type t --data {} --every 10m",
            "wasmill schedule put remind --stream s --type t --data {} --cron @daily --time-zone Europe/Berlin",
            "wasmill schema register order.placed order.json --version 2",
            "wasmill schema register order.placed -",
            "wasmill schema check order.placed order.json --version 2",
            "wasmill schema list --after a --limit 10",
            "wasmill schema show order.placed",
            "wasmill schema show order.placed --version 2",
            "wasmill schema compatibility order.placed",
            "wasmill schema compatibility order.placed full",
            "wasmill schema validate --type order.placed --version 2 data.json",
            "wasmill schema delete order.placed --version 2 --force",
            "wasmill schedule list --after a --limit 10",
            "wasmill schedule show remind",
            "wasmill schedule pause remind",
            "wasmill schedule resume remind",
            "wasmill schedule remove remind",
            "wasmill receipt note news ann --delivered 1,2 --delivered 3 --read 1",
            "wasmill receipt event news 7 --after ann --limit 10",
            "wasmill receipt consumers news",
            "wasmill receipt consumer ann --unread --stream news --limit 10",
            "wasmill receipt streams ann",
            "wasmill replay start --group billing --from 7 --until 2026-01-01T00:00:00Z --rate 10000 --detach",
            "wasmill replay start --client --stream order-1 --from-offset 7 --until-offset 9 --speed 60",
            "wasmill replay start --projection flights --rate 10000",
            "wasmill replay list",
            "wasmill replay show ID",
            "wasmill replay watch ID",
            "wasmill replay receive ID --after 7",
            "wasmill replay pause ID",
            "wasmill replay resume ID",
            "wasmill replay cancel ID",
            "wasmill saga start order --input {} --correlation-id o-7 --wait 30s",
            "wasmill saga start order --input-file -",
            "wasmill saga status ID --wait 5s",
            "wasmill saga status --type order --correlation-id o-7",
            "wasmill saga list --type order --state running --activity waiting --step ship --older-than 1h --limit 7",
            "wasmill saga list --correlation-id o-7 --after ID",
            "wasmill saga timeline ID --from 2 --limit 3",
            "wasmill saga cancel ID --note n",
            "wasmill saga pause ID",
            "wasmill saga resume ID --revision 2 --note n",
            "wasmill saga kill ID",
            "wasmill saga retry ID --step ship --revision 2",
            "wasmill saga skip ID",
            "wasmill saga done ID --answer {} --note n",
            "wasmill saga send ID --type approved --data {} --key k --stream s",
            "wasmill saga forget ID",
            "wasmill plugin new my-plugin --lang rust --path d",
            "wasmill plugin new my-plugin --lang go --kind handler",
            "wasmill plugin check f.wasm",
            "wasmill plugin test f.wasm --events e.jsonl --config a=b --grant append:out-* --memory 256MiB --batch 1",
            "wasmill plugin test f.wasm --stream order-* --from 3 --limit 10",
            "wasmill plugin test f.wasm --events e.jsonl --against 3",
            "wasmill plugin verify f.wasm --events e.jsonl --against g.wasm",
            "wasmill plugin verify --name flights --revision 2 --against 1 --from 7",
            "wasmill plugin logs flights --follow",
            "wasmill plugin deploy f.wasm",
            "wasmill plugin deploy f.wasm --config a=b --config c=d=e --unset f --grant append:x-* --revoke append:y",
            "wasmill plugin deploy f.wasm --grant-all --from first",
            "wasmill plugin deploy f.wasm --from 7",
            "wasmill plugin list",
            "wasmill plugin status flights",
            "wasmill plugin revisions flights --limit 7",
            "wasmill plugin configure flights --config a=b --grant append:x-*",
            "wasmill plugin settings flights",
            "wasmill plugin settings flights --auto-start false --checkpoint event --batch 16 --poll 5s --attempts 3",
            "wasmill plugin settings flights --build-rate 1000 --partitions 4 --default onFailure",
            "wasmill plugin start flights",
            "wasmill plugin stop flights",
            "wasmill plugin pause flights",
            "wasmill plugin resume flights",
            "wasmill plugin rollback flights --to 2",
            "wasmill plugin drain flights --timeout 1m",
            "wasmill plugin confirm flights --drop-standby",
            "wasmill plugin reset notify --to first",
            "wasmill plugin logs flights",
            "wasmill plugin remove flights --force",
            "wasmill projection list",
            "wasmill projection get flights",
            "wasmill projection query flights carriers UA --wait-for 7 --timeout 500ms",
            "wasmill projection query flights carriers --prefix U --after UA --limit 5",
            "wasmill projection query flights airborne --where carrier=UA --where delay>=15 --sort -delay --limit 20 --count",
            "wasmill projection query flights airborne --condition {} --prefix U --cursor AAAA",
            "wasmill projection diff flights --collection carriers --limit 10",
            "wasmill projection diff flights --generations 1 2",
            "wasmill projection rebuild flights --wait",
            "wasmill bench append --publishers 64 --batch 1 --seconds 5 --size 256",
            "wasmill bench all --spawn",
            "wasmill completions bash",
            "wasmill config check",
        ] {
            if let Err(error) = parse(line) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn a_mistake_is_answered_in_the_format_that_is_asked_for() {
        let wants = |line: &str, environment: Option<&str>| {
            let args: Vec<OsString> = line.split(' ').map(Into::into).collect();
            wants_json(&args, environment.map(Into::into))
        };
        assert!(wants("wasmill raed --output json", None) && wants("wasmill --output=json raed", Some("text")));
        assert!(wants("wasmill raed", Some("json")) && !wants("wasmill raed --output text", Some("json")));
        assert!(!wants("wasmill raed", None) && !wants("wasmill raed --output", Some("text")));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "wasmill",
            "wasmill read order-1 --stream order-*",
            "wasmill publish f.jsonl --batch 0",
            "wasmill plugin new x --lang cobol",
            "wasmill plugin test f.wasm --name flights",
            "wasmill plugin verify --events e.jsonl",
            "wasmill plugin deploy f.wasm --config a",
            "wasmill plugin deploy f.wasm --from noon",
            "wasmill plugin settings flights --default colour",
            "wasmill plugin settings flights --on-failure explode",
            "wasmill plugin reset notify",
            "wasmill read --output xml",
            "wasmill read order-1 --tag a",
            "wasmill read --from-time noon",
            "wasmill group create billing --from noon",
            "wasmill group create billing --ack-timeout 30",
            "wasmill group reset billing",
            "wasmill deadletter replay billing",
            "wasmill deadletter purge billing --all --key k",
            "wasmill queue put mail",
            "wasmill queue put mail mails.jsonl --type mail.due --data {}",
            "wasmill queue put mail --type mail.due",
            "wasmill queue take mail --wait 5",
            "wasmill schema compatibility order.placed sideways",
            "wasmill schema delete order.placed",
            "wasmill schema validate data.json",
            "wasmill schedule put remind --stream s --type t --data {}",
            "wasmill schedule put remind --stream s --type t --data {} --every 10m --in 5s",
            "wasmill schedule put remind --stream s --type t --data {} --every 10m --time-zone UTC",
            "wasmill schedule put remind --stream s --type t --data {} --at noon",
            "wasmill receipt note news ann",
            "wasmill receipt event news",
            "wasmill replay start",
            "wasmill replay start --client --group billing",
            "wasmill saga status",
            "wasmill saga status ID --correlation-id o-7",
            "wasmill saga status --correlation-id o-7",
            "wasmill saga list --state asleep",
            "wasmill saga start order --wait 30",
            "wasmill saga send ID",
            "wasmill queue put mail --type t --data {} --priority 10",
            "wasmill projection query flights carriers UA --where a=1",
            "wasmill projection query flights carriers --after UA --sort a",
            "wasmill projection diff flights --generations 1",
            "wasmill read --until 3 --until-time 2026-01-01T00:00:00Z",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
