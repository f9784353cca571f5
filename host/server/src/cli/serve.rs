//! `wasmill serve`: the life of a host as the process sees it. Configuration is read and checked before
//! anything is opened; a signal starts the drain.

use wasmill_core::tasks::chain;

use super::config;
use super::exit::Failure;
use crate::config::ServeArgs;
use crate::serve::{self, ServeError, signalled};
use crate::telemetry;

pub(crate) async fn run(args: ServeArgs) -> Result<(), Failure> {
    let config = config::load(args)?;
    telemetry::init(&config.log);
    let failed = |error: ServeError| Failure::failed("serve", chain(&error));
    let listener = serve::bind(&config).await.map_err(failed)?;
    serve::run(listener, config, signalled()).await.map_err(failed)
}
