//! `wasmill plugin logs --follow`.

use super::show::LogLine;
use super::{Level, LogsArgs};
use crate::cli::exit::Failure;
use crate::cli::output::Output;
use crate::cli::table::count;
use crate::cli::until_interrupted;
use crate::proto::FollowPluginLogsRequest;
use crate::serve::signalled;

/// Ends when it is interrupted, which is how it is meant to end; then it says where to go on.
pub(super) async fn follow(args: LogsArgs, output: Output) -> Result<(), Failure> {
    let LogsArgs { name, min_level, from, remote, .. } = args;
    let min_level = min_level.map_or("", Level::as_str).to_owned();
    // What stands below the least level leaves gaps that are none.
    let every_level = min_level.is_empty();
    let request = FollowPluginLogsRequest { name, min_level, from };
    let mut plugins = until_interrupted(remote.connect()).await?.plugins();
    let mut pages = until_interrupted(async { Ok(plugins.follow_plugin_logs(request).await?) }).await?.into_inner();
    let mut next = from;
    let stop = signalled();
    tokio::pin!(stop);
    loop {
        let page = tokio::select! {
            biased;
            () = &mut stop => {
                next.inspect(|next| output.note(&format!("go on with --from {next}")));
                return Ok(());
            }
            page = pages.message() => page,
        };
        match page {
            Ok(Some(page)) => {
                let first = page.lines.first().map(|line| line.number);
                let lost = first.zip(next).map_or(0, |(first, next)| first.saturating_sub(next));
                if every_level && lost > 0 {
                    output.note(&format!("{} came too fast and are gone", count(lost, "line")));
                }
                next = Some(page.next);
                output.show_all(page.lines.into_iter().map(LogLine::from))?;
            }
            Ok(None) => return Err(Failure::failed("ended", "the host ended the call")),
            Err(status) => {
                let failure = Failure::from(status);
                let help = next.map(|next| format!("go on with --from {next}"));
                return Err(Failure { help: help.or(failure.help.clone()), ..failure });
            }
        }
    }
}
