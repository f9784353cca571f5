//! The only place that writes to the terminal: results to standard output, everything else to
//! standard error, both as text for people or as JSON for programs.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use serde::Serialize;

use super::exit::Failure;
use super::table::grouped;

/// How results and errors are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: one document, or one line for each item of a stream. Errors too, on standard error.
    Json,
}

/// A result, for people by `to_text` and for programs by its fields.
pub(crate) trait Show: Serialize {
    /// Empty, if there is nothing to show.
    fn to_text(&self) -> String;

    /// What people are told beside the result: that there is none, or that there is more.
    fn note(&self) -> Option<String> {
        None
    }
}

/// Where a command writes to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    format: Format,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        Self { format }
    }

    /// Writes a result, or one item of many. Flushed, so that a reader at the other end of a pipe has it.
    pub(crate) fn show(&self, result: &impl Show) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        self.write(&mut out, result)?;
        out.flush()?;
        if let Some(note) = result.note() {
            self.note(&note);
        }
        Ok(())
    }

    /// Writes items that come together, and flushes once.
    pub(crate) fn show_all<T: Show>(&self, items: impl IntoIterator<Item = T>) -> Result<(), Failure> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        for item in items {
            self.write(&mut out, &item)?;
        }
        Ok(out.flush()?)
    }

    fn write(&self, out: &mut impl io::Write, result: &impl Show) -> io::Result<()> {
        match self.format {
            Format::Text => match result.to_text() {
                text if text.is_empty() => Ok(()),
                text => writeln!(out, "{}", harmless(&text)),
            },
            Format::Json => {
                serde_json::to_writer(&mut *out, result)?;
                writeln!(out)
            }
        }
    }

    /// Writes bytes as they are: completions and such, which have one form only.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        Ok(out.flush()?)
    }

    /// Tells people something that is not a result. Programs are spared it.
    pub(crate) fn note(&self, text: &str) {
        if self.format == Format::Text {
            // Nothing can be done about a standard error that cannot be written.
            let _ = writeln!(io::stderr().lock(), "{}", harmless(text));
        }
    }

    pub(crate) fn failure(&self, failure: &Failure) {
        let mut err = io::stderr().lock();
        let _ = match self.format {
            Format::Text => writeln!(err, "{}", harmless(&failure.to_text())),
            Format::Json => writeln!(err, "{}", serde_json::json!({ "error": failure })),
        };
    }

    /// A progress bar, drawn only where somebody sees it: for text on a terminal.
    fn bar(&self, total: u64, template: &str) -> ProgressBar {
        let visible = self.format == Format::Text && io::stderr().is_terminal();
        let target = if visible { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
        let style = ProgressStyle::with_template(template).expect("the templates below are well-formed");
        let style = style.with_key("rate", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            // It has nowhere to fail.
            let _ = write!(out, "{}/s", grouped(state.per_sec() as u64));
        });
        ProgressBar::with_draw_target(Some(total), target).with_style(style.progress_chars("=> "))
    }

    /// Progress through a file, by its bytes; the message says more. All bars fit into 80 columns.
    pub(crate) fn bytes_bar(&self, what: &str, total: u64) -> ProgressBar {
        self.bar(total, "{prefix:>11} [{bar:24}] {percent:>3}%  {msg}  {eta} left").with_prefix(what.to_owned())
    }

    /// Progress through a known number of events.
    pub(crate) fn events_bar(&self, what: &str, total: u64) -> ProgressBar {
        self.bar(total, "{prefix:>11} [{bar:24}] {human_pos} of {human_len}  {rate}  {eta} left")
            .with_prefix(what.to_owned())
    }

    /// Something of which only the beginning is known.
    pub(crate) fn spinner(&self, what: &str) -> ProgressBar {
        let spinner = self.bar(0, "{prefix:>11} {spinner} {msg}").with_prefix(what.to_owned());
        spinner.enable_steady_tick(Duration::from_millis(100));
        spinner
    }
}

/// Names, data and messages come from elsewhere and must not steer the terminal: of what controls it
/// only line ends and tabs pass.
fn harmless(text: &str) -> Cow<'_, str> {
    let steers = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.contains(steers) { text.replace(steers, "\u{fffd}").into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_steers_the_terminal() {
        assert_eq!(harmless("a\tb\nü"), "a\tb\nü");
        assert_eq!(harmless("\u{1b}[2J\r\u{9b}1m\u{7f}"), "\u{fffd}[2J\u{fffd}\u{fffd}1m\u{fffd}");
    }
}
