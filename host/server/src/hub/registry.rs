//! The connections that clients name by an id: negotiated ones that wait for their client, and those whose
//! client sends by requests of their own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wasmill_core::code::{Code, Problem};

use crate::push::{Frame, Heard, Wire};

/// Clients connect right after they have negotiated.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// The last words of a connection wait so long for a poll.
const LEFT_MAX: Duration = Duration::from_secs(60);
/// As many as may be open, and as many that wait.
const IDS_MAX: usize = 8_192;

#[derive(Default)]
pub(crate) struct Registry {
    named: Mutex<HashMap<String, Named>>,
}

enum Named {
    Waiting {
        since: Instant,
    },
    /// Its client listens on one long answer.
    Listening(mpsc::Sender<Heard>),
    Polling(Arc<Polling>),
}

/// A connection whose client asks again and again.
pub(super) struct Polling {
    heard: mpsc::Sender<Heard>,
    frames: tokio::sync::Mutex<mpsc::Receiver<Frame>>,
    /// Ends the poll that waits when there is a newer one.
    newest: Mutex<CancellationToken>,
    last: Mutex<Instant>,
}

/// What is asked of an id.
pub(super) enum Found {
    /// Negotiated, and not used until now.
    New,
    Listening,
    Polling(Arc<Polling>),
}

impl Registry {
    /// A new id. It is what its client proves with that it is the one, so nobody may guess it.
    pub(super) fn negotiate(&self, now: Instant) -> Result<String, Problem> {
        let mut named = self.named();
        named.retain(|_, named| match named {
            Named::Waiting { since } => now - *since < WAIT_MAX,
            Named::Listening(heard) => !heard.is_closed(),
            Named::Polling(polling) => !polling.heard.is_closed() || now - polling.last() < LEFT_MAX,
        });
        if named.len() >= IDS_MAX {
            return Err(Problem::new(Code::Overloaded, "too many clients connect at the same time; try again"));
        }
        let id = Uuid::new_v4().simple().to_string();
        named.insert(id.clone(), Named::Waiting { since: now });
        Ok(id)
    }

    pub(super) fn find(&self, id: &str) -> Result<Found, Problem> {
        match self.named().get(id) {
            // Whether it has expired is told when it is claimed.
            Some(Named::Waiting { .. }) => Ok(Found::New),
            Some(Named::Listening(_)) => Ok(Found::Listening),
            Some(Named::Polling(polling)) => Ok(Found::Polling(Arc::clone(polling))),
            None => Err(unknown()),
        }
    }

    /// Uses up a negotiated id: of several that try, one gets it.
    pub(super) fn claim(&self, id: &str, now: Instant) -> Result<(), Problem> {
        let mut named = self.named();
        match named.get(id) {
            Some(Named::Waiting { since }) if now - *since < WAIT_MAX => {
                named.remove(id);
                Ok(())
            }
            _ => Err(unknown()),
        }
    }

    /// What the client sends comes by this id from now on.
    pub(super) fn listening(&self, id: &str, heard: mpsc::Sender<Heard>) {
        self.named().insert(id.to_owned(), Named::Listening(heard));
    }

    pub(super) fn polling(&self, id: &str, Wire { heard, frames }: Wire) {
        let polling = Polling {
            heard,
            frames: tokio::sync::Mutex::new(frames),
            newest: Mutex::new(CancellationToken::new()),
            last: Mutex::new(Instant::now()),
        };
        self.named().insert(id.to_owned(), Named::Polling(Arc::new(polling)));
    }

    /// Where to what the client of `id` sends goes.
    pub(super) fn sender(&self, id: &str) -> Result<mpsc::Sender<Heard>, Problem> {
        match self.named().get(id) {
            Some(Named::Listening(heard)) => Ok(heard.clone()),
            Some(Named::Polling(polling)) => Ok(polling.heard.clone()),
            Some(Named::Waiting { .. }) | None => Err(unknown()),
        }
    }

    pub(super) fn forget(&self, id: &str) {
        self.named().remove(id);
    }

    fn named(&self) -> MutexGuard<'_, HashMap<String, Named>> {
        self.named.lock().expect("nobody panics with the lock held")
    }
}

fn unknown() -> Problem {
    Problem::new(Code::NotFound, "there is no connection of that id, or it has ended: negotiate anew")
}

impl Polling {
    /// Waits up to `wait` for something to say. `None`: the connection has ended, and all is said.
    pub(super) async fn poll(&self, wait: Duration, bytes_max: usize) -> Option<Frame> {
        let mine = self.begin();
        let frame = tokio::select! {
            biased;
            () = mine.cancelled() => return Some(Frame::new()),
            frame = self.take(wait, bytes_max) => frame,
        };
        self.alive();
        frame
    }

    /// A later poll ends an earlier one with nothing.
    fn begin(&self) -> CancellationToken {
        self.alive();
        let mine = CancellationToken::new();
        std::mem::replace(&mut *self.newest.lock().expect("nobody panics with the lock held"), mine.clone()).cancel();
        mine
    }

    async fn take(&self, wait: Duration, bytes_max: usize) -> Option<Frame> {
        let mut frames = self.frames.lock().await;
        let mut whole = match tokio::time::timeout(wait, frames.recv()).await {
            Ok(frame) => frame?,
            Err(_) => return Some(Frame::new()),
        };
        while whole.iter().map(bytes::Bytes::len).sum::<usize>() < bytes_max
            && let Ok(frame) = frames.try_recv()
        {
            whole.extend(frame);
        }
        Some(whole)
    }

    /// The polls are the client's sign of life. If the connection has much to hear already, it needs no more.
    fn alive(&self) {
        *self.last.lock().expect("nobody panics with the lock held") = Instant::now();
        let _ = self.heard.try_send(Heard::Alive);
    }

    fn last(&self) -> Instant {
        *self.last.lock().expect("nobody panics with the lock held")
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::push::line;

    #[test]
    fn an_id_is_used_once_and_not_for_ever() {
        let (registry, now) = (Registry::default(), Instant::now());
        let id = registry.negotiate(now).unwrap();
        assert!(registry.claim("other", now).is_err());
        assert!(registry.claim(&id, now).is_ok() && registry.claim(&id, now).is_err());
        let id = registry.negotiate(now).unwrap();
        let later = now + WAIT_MAX;
        assert!(registry.claim(&id, later).is_err());
        registry.negotiate(later).unwrap();
        assert_eq!(registry.named().len(), 1, "what has expired makes room");
    }

    #[test]
    fn clients_that_never_come_have_a_bound() {
        let (registry, now) = (Registry::default(), Instant::now());
        for _ in 0..IDS_MAX {
            registry.negotiate(now).unwrap();
        }
        assert_eq!(registry.negotiate(now).unwrap_err().code, Code::Overloaded);
        assert!(registry.negotiate(now + WAIT_MAX).is_ok());
    }

    #[tokio::test]
    async fn a_poll_takes_what_is_there_and_the_newest_one_gets_it() {
        let (registry, (line, wire)) = (Registry::default(), line());
        registry.polling("id", wire);
        let Ok(Found::Polling(polling)) = registry.find("id") else { panic!("it polls") };
        assert_eq!(polling.poll(Duration::ZERO, 9).await, Some(Frame::new()), "nothing came");
        let (earlier, later) = (polling.poll(WAIT_MAX, 9), polling.poll(WAIT_MAX, 9));
        let say = async {
            tokio::task::yield_now().await;
            line.frames.send(vec![Bytes::from_static(b"a")]).await.unwrap();
            line.frames.send(vec![Bytes::from_static(b"b")]).await.unwrap();
        };
        let (earlier, later, ()) = tokio::join!(biased; earlier, later, say);
        assert_eq!(earlier, Some(Frame::new()));
        let mut said = later.unwrap();
        drop(line);
        while let Some(frame) = polling.poll(WAIT_MAX, 9).await {
            said.extend(frame);
        }
        assert_eq!(said, ["a", "b"]);
    }
}
