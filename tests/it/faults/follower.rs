//! A follower of the log: sees each event once, in order, and goes on where it was when it is cut off.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tonic::Status;
use tonic::transport::Channel;
use uuid::Uuid;
use wasmill_server::proto::FollowLogRequest;
use wasmill_server::proto::log_service_client::LogServiceClient;

use super::load::Signals;
use super::publisher::{NO_CONNECTION, code_of};

/// Between two connections.
const PACE: Duration = Duration::from_millis(20);

pub struct Follower {
    pub url: watch::Receiver<String>,
    pub signals: Signals,
    /// Ids of the events that it has seen, by position.
    pub seen: Vec<Uuid>,
}

impl Follower {
    /// Follows until it has seen the end of the load.
    pub async fn run(mut self) -> Vec<Uuid> {
        let mut pace = tokio::time::interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut signals, mut end) = (self.signals.clone(), self.signals.end.clone());
        loop {
            pace.tick().await;
            if end.borrow_and_update().is_some_and(|end| self.seen.len() as u64 >= end) {
                return self.seen;
            }
            // It is cut off when the end is told, which it may have seen already.
            tokio::select! {
                status = self.follow() => {
                    let code = code_of(&status);
                    let expected = [NO_CONNECTION, "storage_unavailable", "draining"].contains(&code.as_str());
                    assert!(expected, "a follower at position {} was told: {status:?}", self.seen.len());
                }
                _ = end.changed() => {}
                () = signals.given_up() => return self.seen,
            }
        }
    }

    async fn follow(&mut self) -> Status {
        let url = self.url.borrow().clone();
        let channel = match Channel::from_shared(url).expect("a URL").connect().await {
            Ok(channel) => channel,
            Err(error) => return Status::unavailable(error.to_string()),
        };
        let mut client = LogServiceClient::new(channel).max_decoding_message_size(64 << 20);
        let request = FollowLogRequest { from_position: Some(self.seen.len() as u64), ..FollowLogRequest::default() };
        let mut pages = match client.follow_log(request).await {
            Ok(pages) => pages.into_inner(),
            Err(status) => return status,
        };
        loop {
            match pages.message().await {
                Ok(Some(page)) => {
                    for event in page.events {
                        let event = event.into_event().expect("an event");
                        assert_eq!(event.position().0, self.seen.len() as u64, "a follower sees no gap and no repeat");
                        self.seen.push(event.id());
                    }
                    let end = *self.signals.end.borrow();
                    if end.is_some_and(|end| self.seen.len() as u64 >= end) {
                        return Status::unavailable("it has seen all");
                    }
                }
                Ok(None) => return Status::unavailable("the host has ended it"),
                Err(status) => return status,
            }
        }
    }
}
