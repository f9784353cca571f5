//! How a command ends: its exit code, and what it says of a failure.

use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

/// Why the process ends. The numbers are part of the command line's contract (`examples/cli/README.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Ok = 0,
    Failed = 1,
    Usage = 2,
    Unreachable = 3,
    Configuration = 4,
    Interrupted = 5,
}

impl Exit {
    pub(crate) const ALL: [Exit; 6] =
        [Exit::Ok, Exit::Failed, Exit::Usage, Exit::Unreachable, Exit::Configuration, Exit::Interrupted];

    /// One line for `--help`.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Exit::Ok => "done",
            Exit::Failed => "the host, or a file, gave a reason why it cannot be done",
            Exit::Usage => "the command line is not understood",
            Exit::Unreachable => "no host answers at the URL, or it went away",
            Exit::Configuration => "the configuration of a host is wrong; nothing was opened",
            Exit::Interrupted => "stopped by a signal before the work was done",
        }
    }

    /// The table of all codes, for `--help`.
    pub(crate) fn table() -> String {
        let mut table = String::from("Exit codes:");
        for exit in Self::ALL {
            let _ = write!(table, "\n  {}  {}", exit as u8, exit.meaning());
        }
        table
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// What a command says when it fails: a code for programs, a sentence, one entry for each thing that
/// is wrong, and what would help.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Failure {
    #[serde(skip)]
    pub exit: Exit,
    pub code: String,
    pub message: String,
    pub retryable: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<Detail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// For programs what the sentences say to people.
    #[expect(clippy::box_collection, reason = "every result has room for a failure")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facts: Option<Box<BTreeMap<&'static str, u64>>>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Detail {
    /// Where, such as `events[3].key`. May be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub at: String,
    pub message: String,
    /// Facts for programs, sorted by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, code: impl Into<String>, message: impl Into<String>) -> Self {
        let (code, message) = (code.into(), message.into());
        Self { exit, code, message, retryable: false, details: Vec::new(), help: None, facts: None }
    }

    /// Something that this command found itself: a file, an argument, an answer that makes no sense.
    pub(crate) fn failed(code: &str, message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, code, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }

    pub(crate) fn interrupted(message: impl Into<String>) -> Self {
        Self { retryable: true, ..Self::new(Exit::Interrupted, "interrupted", message) }
    }

    /// A file that cannot be read or written.
    pub(crate) fn file(path: &str, error: &io::Error) -> Self {
        Self::failed("file", format!("{path}: {error}"))
    }

    #[must_use]
    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    #[must_use]
    pub(crate) fn with_detail(mut self, at: impl Into<String>, message: impl Into<String>) -> Self {
        self.details.push(Detail { at: at.into(), message: message.into(), facts: BTreeMap::new() });
        self
    }

    #[must_use]
    pub(crate) fn with_fact(mut self, name: &'static str, value: u64) -> Self {
        self.facts.get_or_insert_default().insert(name, value);
        self
    }

    /// As people read it.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("error[{}]: {}", self.code, self.message);
        for detail in &self.details {
            // Of a single detail the message itself often says all.
            if detail.facts.is_empty() && self.message.ends_with(&detail.message) {
                continue;
            }
            match (detail.at.as_str(), detail.message.as_str()) {
                ("", "") => {}
                ("", line) | (line, "") => _ = write!(text, "\n  {line}"),
                (at, message) => _ = write!(text, "\n  {at}: {message}"),
            }
            for (name, value) in &detail.facts {
                let _ = write!(text, "\n    {name} = {value}");
            }
        }
        if let Some(help) = &self.help {
            let _ = write!(text, "\n  help: {help}");
        }
        text
    }
}

/// Writing to standard output. Whoever reads it may have had enough (`wasmill read | head`): that is
/// the end of the command and not a failure, and `main` says nothing of it.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Exit::Ok, "output_closed", "nobody reads the output any more"),
            _ => Self::failed("output", format!("cannot write the output: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_code_message_every_detail_and_what_helps() {
        let mut failure =
            Failure::failed("wrong_expected_offset", "the stream is elsewhere").with_help("read it again");
        failure.details.push(Detail {
            at: "order-1".into(),
            message: "expected 3, is 5".into(),
            facts: [("actual_offset".to_owned(), "5".to_owned())].into(),
        });
        let text = failure.to_text();
        assert_eq!(
            text,
            "error[wrong_expected_offset]: the stream is elsewhere\n  order-1: expected 3, is 5\n    \
             actual_offset = 5\n  help: read it again"
        );
    }

    #[test]
    fn nothing_is_said_twice() {
        let failure = Failure::failed("invalid_name", "stream name: it is empty").with_detail("stream", "it is empty");
        assert_eq!(failure.to_text(), "error[invalid_name]: stream name: it is empty");
    }

    #[test]
    fn a_closed_pipe_is_not_a_failure() {
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)).exit, Exit::Ok);
        assert_eq!(Failure::from(io::Error::other("disk full")).exit, Exit::Failed);
    }

    #[test]
    fn the_table_lists_every_exit_code_in_order() {
        let table = Exit::table();
        for (line, number) in table.lines().skip(1).zip(0..) {
            assert!(line.trim_start().starts_with(&format!("{number}  ")), "{line}");
        }
        assert_eq!(table.lines().count(), 1 + Exit::ALL.len());
    }
}
