//! A member of a group over a WebSocket: it pulls while there is credit, and gives its signs of life.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wasmill_core::code::Problem;
use wasmill_core::group::{GroupError, Handing, Membership};
use wasmill_core::limits::group as limits;
use wasmill_core::store::PageLimit;

use super::protocol::{CREDIT_MAX, wrong};
use crate::app::App;
use crate::deliveries::until;
use crate::push::PAGE;
use crate::push::followers::Tag;

/// The shortest pause between signs of life.
const ALIVE_EVERY: Duration = Duration::from_millis(limits::TIMEOUT_MS_MIN / 2);

pub(super) struct Member {
    pub(super) tag: Tag,
    pub(super) membership: Membership,
    credit: u64,
    /// Deliveries whose credit was not given back.
    in_hand: u64,
    alive_every: Duration,
    /// Ends the rest of a member that had no credit.
    awake: CancellationToken,
}

impl Member {
    pub(super) async fn join(
        app: &App,
        tag: Tag,
        group: &str,
        name: Option<&str>,
        credit: u64,
    ) -> Result<Self, GroupError> {
        let name = name.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned);
        let record = app.host.groups.record(group).await?;
        let session = u64::try_from(record.config.session_timeout_us()).unwrap_or_default();
        let membership = app.host.groups.join(group, &name).await?;
        let alive_every = Duration::from_micros(session / 3).max(ALIVE_EVERY);
        Ok(Self { tag, membership, credit, in_hand: 0, alive_every, awake: CancellationToken::new() })
    }

    pub(super) fn add(&mut self, events: u64) -> Result<(), Problem> {
        if events == 0 || self.credit.saturating_add(events) > CREDIT_MAX {
            let message = format!("{events} beside {} is not 1 to {CREDIT_MAX} together", self.credit);
            return Err(wrong("events", message));
        }
        self.credit += events;
        self.in_hand = self.in_hand.min(CREDIT_MAX - self.credit);
        self.awake.cancel();
        Ok(())
    }

    pub(super) fn handed(&mut self, deliveries: usize) {
        let deliveries = (deliveries as u64).min(self.credit);
        self.credit -= deliveries;
        self.in_hand += deliveries;
    }

    /// A delivery that is settled makes room for another one.
    pub(super) fn settled(&mut self, tokens: usize) {
        let given_back = (tokens as u64).min(self.in_hand);
        self.in_hand -= given_back;
        self.credit += given_back;
        if given_back > 0 {
            self.awake.cancel();
        }
    }
}

/// What a member came back with.
pub(super) struct Back {
    pub(super) tag: Tag,
    pub(super) handed: Result<Vec<Handing>, GroupError>,
}

/// The members' pulls that are under way.
#[derive(Default)]
pub(super) struct Pulls {
    under_way: FuturesUnordered<BoxFuture<'static, Option<Back>>>,
}

impl Pulls {
    /// Has a member pull if it has credit, and else rest and give a sign of life. Either ends after a while.
    pub(super) fn send(&mut self, app: &Arc<App>, member: &mut Member) {
        let (tag, membership) = (member.tag.clone(), member.membership.clone());
        let alive_every = member.alive_every;
        if member.credit > 0 {
            let events = usize::try_from(member.credit).unwrap_or(PAGE.events).min(PAGE.events);
            let until = until(app, alive_every);
            self.under_way.push(Box::pin(async move {
                let pull = membership.pull(PageLimit { events, ..PAGE }, until);
                let handed = tag.over.run_until_cancelled(pull).await?;
                Some(Back { tag, handed })
            }));
        } else {
            member.awake = CancellationToken::new();
            let awake = member.awake.clone();
            self.under_way.push(Box::pin(async move {
                let rest = async {
                    match awake.run_until_cancelled(tokio::time::sleep(alive_every)).await {
                        Some(()) => membership.heartbeat().await.map(|()| Vec::new()),
                        None => Ok(Vec::new()),
                    }
                };
                let handed = tag.over.run_until_cancelled(rest).await?;
                Some(Back { tag, handed })
            }));
        }
    }

    /// Waits for one that comes back, for ever if none is under way. Cancel safe.
    pub(super) async fn next(&mut self) -> Back {
        loop {
            match self.under_way.next().await {
                Some(Some(back)) => return back,
                Some(None) => {}
                None => return std::future::pending().await,
            }
        }
    }
}
