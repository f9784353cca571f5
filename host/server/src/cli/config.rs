//! `wasmill config`, and how a host's configuration is read from this process's surroundings.

use clap::Subcommand;
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::output::{Output, Show};
use crate::config::{Config, ServeArgs, Sources};

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say what is wrong with the configuration that `serve` would get with the same flags
    Check(ServeArgs),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Checked {
    listen: String,
    data_dir: String,
    store: String,
    token: bool,
}

impl Show for Checked {
    fn to_text(&self) -> String {
        let token = if self.token { "asks for a token" } else { "asks for no token" };
        let Self { listen, store, .. } = self;
        format!("the configuration is sound: listens on {listen}, keeps its events in {store}, {token}")
    }
}

pub(crate) fn run(command: ConfigCommand, output: Output) -> Result<(), Failure> {
    let ConfigCommand::Check(args) = command;
    let config = load(args)?;
    output.show(&Checked {
        listen: config.server.listen.to_string(),
        data_dir: config.store.data_dir.display().to_string(),
        store: config.store.location().to_string(),
        token: config.access.token.is_some(),
    })
}

/// Flags, this process's environment and the file, with all mistakes at once.
pub(crate) fn load(args: ServeArgs) -> Result<Config, Failure> {
    Config::load(Sources::of_process(args)).map_err(|errors| {
        let count = errors.len();
        let message = if count == 1 { "one setting is wrong".into() } else { format!("{count} settings are wrong") };
        let failure = Failure::new(Exit::Configuration, "configuration", message);
        errors.into_iter().fold(failure, |failure, error| {
            let at = format!("{} ({})", error.key, error.origin);
            failure.with_detail(at, format!("{}; give {}", error.problem, error.expected))
        })
    })
}
