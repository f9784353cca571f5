//! `wasmill deadletter`: events that a consumer group has given up.

use clap::{Args, Subcommand};
use serde::Serialize;
use wasmill_core::limits::group::LETTERS_PAGE;

use super::client::Remote;
use super::event::Shown;
use super::exit::Failure;
use super::output::{Output, Show};
use super::table::{count, rfc3339, table};
use crate::proto::dead_letter_selection::Kind;
use crate::proto::{
    self, DeadLetterSelection, ListDeadLettersRequest, Positions, PurgeDeadLettersRequest, ReplayDeadLettersRequest,
};

/// What a line of the list shows of an error.
const ERROR_CHARS_MAX: usize = 60;

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLetterCommand {
    /// List a group's dead letters in the order of their positions
    List(ListArgs),
    /// Show one dead letter: why it is one, and the event
    Show(ShowArgs),
    /// Hand dead letters to the group again, those of a key in their order; their attempts are counted anew
    Replay(SelectionArgs),
    /// Remove dead letters for good
    Purge(SelectionArgs),
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ListArgs {
    /// The group's name
    #[arg(value_name = "GROUP")]
    group: String,
    /// Position of the first one, itself included
    #[arg(long, default_value_t = 0, value_name = "POSITION")]
    from: u64,
    /// Most dead letters; 0 stands for all there are
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    limit: u64,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ShowArgs {
    /// The group's name
    #[arg(value_name = "GROUP")]
    group: String,
    /// The event's position
    #[arg(value_name = "POSITION")]
    position: u64,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct SelectionArgs {
    /// The group's name
    #[arg(value_name = "GROUP")]
    group: String,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
struct Which {
    /// All of the group
    #[arg(long)]
    all: bool,
    /// Those of this key
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// The one of this position. May be given several times
    #[arg(long = "position", value_name = "POSITION")]
    positions: Vec<u64>,
}

impl Which {
    fn selection(self) -> DeadLetterSelection {
        let Which { all: _, key, positions } = self;
        let kind = match key {
            Some(key) => Kind::Key(key),
            None if positions.is_empty() => Kind::All(true),
            None => Kind::Positions(Positions { positions }),
        };
        DeadLetterSelection { kind: Some(kind) }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Letter {
    reason: String,
    refused: u32,
    lost: u32,
    #[serde(skip_serializing_if = "String::is_empty")]
    error: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    member: String,
    parked_at: String,
    event: Shown,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Letters {
    dead_letters: Vec<Letter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_position: Option<u64>,
}

#[derive(Serialize)]
struct Settled {
    #[serde(skip)]
    done: &'static str,
    count: u64,
}

impl TryFrom<proto::DeadLetter> for Letter {
    type Error = Failure;

    fn try_from(letter: proto::DeadLetter) -> Result<Self, Failure> {
        let proto::DeadLetter { event, reason, refused, lost, error, member, parked_at_us } = letter;
        let event = event.ok_or_else(|| Failure::failed("malformed_answer", "a dead letter holds no event"))?;
        let event = Shown::decode(event)?;
        Ok(Self { reason, refused, lost, error, member, parked_at: rfc3339(parked_at_us), event })
    }
}

impl Show for Letter {
    fn to_text(&self) -> String {
        let Letter { reason, refused, lost, error, member, parked_at, event } = self;
        let mut text = format!(
            "{}\n  reason     {reason}, since {parked_at}\n  delivered  refused {refused}, lost {lost}",
            event.to_text().trim_start()
        );
        for (name, value) in [("\n  member     ", member), ("\n  error      ", error)] {
            if !value.is_empty() {
                text.push_str(name);
                text.push_str(value);
            }
        }
        text
    }
}

impl Show for Letters {
    fn to_text(&self) -> String {
        if self.dead_letters.is_empty() {
            return String::new();
        }
        let rows = self.dead_letters.iter().map(|letter| {
            [
                letter.event.position().to_string(),
                letter.event.stream().to_owned(),
                letter.event.event_type().to_owned(),
                letter.event.key().unwrap_or_default().to_owned(),
                letter.reason.clone(),
                letter.refused.to_string(),
                letter.lost.to_string(),
                letter.parked_at.clone(),
                letter.error.replace(char::is_control, " ").chars().take(ERROR_CHARS_MAX).collect(),
            ]
        });
        let columns = [">position", "stream", "type", "key", "reason", ">refused", ">lost", "since", "error"];
        table(columns, rows)
    }

    fn note(&self) -> Option<String> {
        match self.next_position {
            Some(next) => Some(format!("there are more: --from {next}")),
            None => self.dead_letters.is_empty().then(|| "no dead letters".into()),
        }
    }
}

impl Show for Settled {
    fn to_text(&self) -> String {
        format!("{} {}", self.done, count(self.count, "dead letter"))
    }
}

pub(crate) async fn run(command: DeadLetterCommand, output: Output) -> Result<(), Failure> {
    match command {
        DeadLetterCommand::List(args) => list(args, output).await,
        DeadLetterCommand::Show(args) => show(args, output).await,
        DeadLetterCommand::Replay(SelectionArgs { group, which, remote }) => {
            let request = ReplayDeadLettersRequest { group, selection: Some(which.selection()) };
            let count = remote.connect().await?.groups().replay_dead_letters(request).await?.into_inner().count;
            output.show(&Settled { done: "handed in again", count })
        }
        DeadLetterCommand::Purge(SelectionArgs { group, which, remote }) => {
            let request = PurgeDeadLettersRequest { group, selection: Some(which.selection()) };
            let count = remote.connect().await?.groups().purge_dead_letters(request).await?.into_inner().count;
            output.show(&Settled { done: "removed", count })
        }
    }
}

async fn list(args: ListArgs, output: Output) -> Result<(), Failure> {
    let mut groups = args.remote.connect().await?.groups();
    let wanted = if args.limit == 0 { u64::MAX } else { args.limit };
    let mut found = Letters { dead_letters: Vec::new(), next_position: Some(args.from) };
    while let Some(from_position) = found.next_position {
        let missing = wanted - found.dead_letters.len() as u64;
        if missing == 0 {
            break;
        }
        let limit = u32::try_from(missing.min(LETTERS_PAGE as u64)).ok();
        let request = ListDeadLettersRequest { group: args.group.clone(), from_position, limit };
        let page = groups.list_dead_letters(request).await?.into_inner();
        for letter in page.dead_letters {
            found.dead_letters.push(Letter::try_from(letter)?);
        }
        found.next_position = page.next_position;
    }
    output.show(&found)
}

async fn show(args: ShowArgs, output: Output) -> Result<(), Failure> {
    let ShowArgs { group, position, remote } = args;
    let request = ListDeadLettersRequest { group: group.clone(), from_position: position, limit: Some(1) };
    let page = remote.connect().await?.groups().list_dead_letters(request).await?.into_inner();
    let letter = page.dead_letters.into_iter().next().map(Letter::try_from).transpose()?;
    match letter.filter(|letter| letter.event.position() == position) {
        Some(letter) => output.show(&letter),
        None => {
            let message = format!("group {group} has no dead letter of position {position}");
            let help = "it was replayed or removed already, or never was one: see `wasmill deadletter list`";
            Err(Failure::failed("dead_letter_not_found", message).with_help(help))
        }
    }
}
