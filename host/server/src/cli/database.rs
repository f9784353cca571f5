//! `wasmill migrate` and `wasmill copy`: what is done to databases while no host uses them.

use std::path::PathBuf;

use serde::Serialize;
use wasmill_core::store::copy;
use wasmill_core::tasks::chain;
use wasmill_store::{Location, OpenError, OpenOptions};

use super::exit::Failure;
use super::output::{Output, Show};
use super::table::grouped;
use crate::serve::DataDir;

pub(crate) const COPY_ADVICE: &str = "Stop the hosts that use either store. The store to copy to is made if it is \
missing, and has to be empty.\n\nFrom the embedded database to PostgreSQL:\n  wasmill copy --from \
sqlite:wasmill-data/wasmill.db --to postgres://wasmill@localhost/wasmill";

#[derive(Debug, clap::Args)]
pub(crate) struct MigrateArgs {
    /// The database: sqlite:PATH or postgres://user:password@host:port/database
    #[arg(
        long,
        value_name = "URL",
        env = "WASMILL_STORE",
        hide_env_values = true,
        default_value = "sqlite:wasmill-data/wasmill.db"
    )]
    store: Location,
    /// Change nothing; fail if the database is not of this binary's version
    #[arg(long)]
    check: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CopyArgs {
    /// The store that has everything
    #[arg(long, value_name = "URL")]
    from: Location,
    /// The empty store
    #[arg(long, value_name = "URL")]
    to: Location,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Migrated {
    store: String,
    from: i64,
    to: i64,
}

impl Show for Migrated {
    fn to_text(&self) -> String {
        let Self { store, from, to } = self;
        match from == to {
            true => format!("{store} has version {to}, which is the newest that this binary knows"),
            false => format!("{store} was brought from version {from} to {to}"),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Copied {
    from: String,
    to: String,
    next_position: u64,
    events: u64,
    streams: u64,
    plugins: u64,
    documents: u64,
}

impl Show for Copied {
    fn to_text(&self) -> String {
        format!(
            "copied {} events of {} streams, {} plugins and {} documents from {} to {}; the log goes on at position {}",
            grouped(self.events),
            grouped(self.streams),
            grouped(self.plugins),
            grouped(self.documents),
            self.from,
            self.to,
            grouped(self.next_position),
        )
    }
}

pub(crate) async fn migrate(args: MigrateArgs, output: Output) -> Result<(), Failure> {
    let store = args.store.to_string();
    let Some(version) = args.store.schema_version().await.map_err(refused)? else {
        return Err(Failure::usage(format!("{store} has no database that could be migrated")));
    };
    let (found, newest) = (version.found.unwrap_or(0), version.newest);
    if found == newest {
        return output.show(&Migrated { store, from: found, to: newest });
    }
    if args.check {
        let message = format!("{store} has version {found}; this binary needs {newest}");
        return Err(Failure::failed("schema_outdated", message).with_help("run `wasmill migrate` without --check"));
    }
    let _held = hold(&args.store)?;
    let opened = args.store.open(OpenOptions { migrate: true, ..OpenOptions::default() }).await.map_err(refused)?;
    opened.close().await;
    output.show(&Migrated { store, from: found, to: newest })
}

pub(crate) async fn copy(args: CopyArgs, output: Output) -> Result<(), Failure> {
    let CopyArgs { from, to } = args;
    if from == to {
        return Err(Failure::usage("--from and --to are the same store"));
    }
    let _held = (hold(&from)?, hold(&to)?);
    let source = from.open(OpenOptions { migrate: false, ..OpenOptions::default() }).await.map_err(refused)?;
    let target = to.open(OpenOptions::default()).await.map_err(refused)?;
    let bar = output.events_bar("copying", 0);
    let copied = copy::copy(&*source, &*target, |progress| {
        bar.set_length(progress.positions);
        bar.set_position(progress.position);
    });
    let copied = copied.await;
    bar.finish_and_clear();
    source.close().await;
    target.close().await;
    let progress = copied.map_err(|error| Failure::failed("copy", chain(&error)))?;
    output.show(&Copied {
        from: from.to_string(),
        to: to.to_string(),
        next_position: progress.positions,
        events: progress.events,
        streams: progress.streams,
        plugins: progress.plugins,
        documents: progress.documents,
    })
}

fn refused(error: OpenError) -> Failure {
    Failure::failed("store", chain(&error))
}

/// Keeps hosts away from an embedded database as long as it is held.
fn hold(location: &Location) -> Result<Option<DataDir>, Failure> {
    let Location::Sqlite(path) = location else { return Ok(None) };
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    DataDir::take(&directory).map(Some).map_err(|error| Failure::failed("store", chain(&error)))
}
