//! `wasmill plugin deploy` and `configure`: what a revision is made of.

use std::path::PathBuf;

use clap::Args;

use super::show::{Deployed, Plugin};
use super::upload;
use crate::cli::client::Remote;
use crate::cli::exit::Failure;
use crate::cli::group::place;
use crate::cli::output::Output;
use crate::proto::{ConfigurePluginRequest, DeployOptions, GroupStart, PluginSetupChange};

/// What changes of the configuration and the grants that the plugin has.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct SetupArgs {
    /// Set a value of the plugin's configuration. May be given several times
    #[arg(long = "config", value_name = "NAME=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
    /// Take a value of the configuration back; its default counts again. May be given several times
    #[arg(long, value_name = "NAME")]
    unset: Vec<String>,
    /// Grant what the plugin asks for, such as append:invoice-*. May be given several times
    #[arg(long, value_name = "CAPABILITY")]
    grant: Vec<String>,
    /// Take a grant back. May be given several times
    #[arg(long, value_name = "CAPABILITY")]
    revoke: Vec<String>,
    /// Grant whatever the plugin asks for
    #[arg(long)]
    grant_all: bool,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct DeployArgs {
    /// The component
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    #[command(flatten)]
    setup: SetupArgs,
    /// Where a new handler begins: `first`, `last`, a position, or a time as RFC 3339 writes it [default: last]
    #[arg(long, value_name = "PLACE", value_parser = place::parse)]
    from: Option<GroupStart>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ConfigureArgs {
    /// The plugin's name
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    setup: SetupArgs,
    #[command(flatten)]
    remote: Remote,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("it is not NAME=VALUE".into()),
    }
}

impl SetupArgs {
    fn change(self) -> PluginSetupChange {
        let Self { set, unset, grant, revoke, grant_all } = self;
        PluginSetupChange { set: set.into_iter().collect(), unset, grants: grant, revokes: revoke, grant_all }
    }
}

pub(super) async fn deploy(args: DeployArgs, output: Output) -> Result<(), Failure> {
    let DeployArgs { file, setup, from, remote } = args;
    let component = upload::read(&file)?;
    let options = DeployOptions { setup: Some(setup.change()), start: from };
    let (plugin, changed) = upload::deploy_with(&remote.connect().await?, component, options).await?;
    output.show(&Deployed { plugin: Plugin::try_from(plugin)?, changed })
}

pub(super) async fn configure(args: ConfigureArgs, output: Output) -> Result<(), Failure> {
    let ConfigureArgs { name, setup, remote } = args;
    let request = ConfigurePluginRequest { name, change: Some(setup.change()) };
    let answer = remote.connect().await?.plugins().configure_plugin(request).await?.into_inner();
    let plugin = answer.plugin.ok_or_else(|| Failure::failed("malformed_answer", "the answer holds no plugin"))?;
    output.show(&Deployed { plugin: Plugin::try_from(plugin)?, changed: answer.changed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_hold_anything_its_name_may_not() {
        assert_eq!(pair("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(pair("a="), Ok(("a".into(), String::new())));
        assert!(pair("a").is_err() && pair("=b").is_err());
    }
}
