//! What the SignalR hub and the plain WebSocket share: connections over which events are pushed.
//!
//! A connection is one task ([`run`]). It takes events from its followers only when there is room for them on
//! the way out, and they read ahead within a budget, so that a slow client holds some hundred KiB and slows only
//! itself.

pub(crate) mod followers;
mod pace;
pub(crate) mod websocket;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use wasmill_core::code::{Code, Problem};
use wasmill_core::log_id;
use wasmill_core::metrics::Metrics;
use wasmill_core::store::PageLimit;

use pace::{Look, Pace};

/// Connections of all kinds together: each may hold [`AHEAD_BYTES_MAX`] and three frames, which makes 1 GiB if
/// every client is stuck.
const CONNECTIONS_MAX: usize = 4_096;
/// Each looks at every commit.
pub(crate) const SUBSCRIPTIONS_MAX: usize = 256;
/// What a follower hands over at a time: small, so that many subscriptions take turns. One event may be larger.
pub(crate) const PAGE: PageLimit = PageLimit { events: 64, bytes: 32 * 1024 };
/// What all followers of a connection have read and its client has not taken, in JSON. One event may be larger.
pub(crate) const AHEAD_BYTES_MAX: usize = 128 * 1024;
/// Frames between a connection and its transport: one that is written, one that is ready.
pub(crate) const FRAMES_MAX: usize = 2;
/// What the transport has read and the connection has not looked at.
pub(crate) const HEARD_MAX: usize = 16;
/// Answers that wait for room on the way out; beyond, nothing more is read from the client.
const ANSWERS_MAX: usize = 64;
/// Proxies close what is silent, and clients give up after 30 s.
pub(crate) const PING_EVERY: Duration = Duration::from_secs(15);
/// Clients give a sign of life every 15 s, but browsers let the timers of a page in the background run late.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// A client that takes nothing for so long is cut off.
const STALL_MAX: Duration = Duration::from_secs(60);
/// For the last words to a client.
pub(crate) const GOODBYE_MAX: Duration = Duration::from_secs(3);

/// Messages that are sent together, each as one.
pub(crate) type Frame = Vec<Bytes>;

/// What a transport tells its connection.
#[derive(Debug)]
pub(crate) enum Heard {
    Data(Bytes),
    Alive,
    /// The client sent what no message can be.
    Broken(Problem),
    Gone,
}

/// The ends of a connection that its task holds.
pub(crate) struct Line {
    pub(crate) heard: mpsc::Receiver<Heard>,
    pub(crate) frames: mpsc::Sender<Frame>,
}

/// The ends that its transport holds.
pub(crate) struct Wire {
    pub(crate) heard: mpsc::Sender<Heard>,
    pub(crate) frames: mpsc::Receiver<Frame>,
}

pub(crate) fn line() -> (Line, Wire) {
    let (tell, heard) = mpsc::channel(HEARD_MAX);
    let (frames, taken) = mpsc::channel(FRAMES_MAX);
    (Line { heard, frames }, Wire { heard: tell, frames: taken })
}

/// Why a connection ends.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// The client has gone, with or without a word.
    Gone,
    Draining,
    Silent,
    Stalled,
    /// The client does not keep the protocol.
    Broken(Problem),
}

impl End {
    fn as_str(&self) -> &'static str {
        match self {
            End::Gone => "gone",
            End::Draining => "draining",
            End::Silent => "silent",
            End::Stalled => "stalled",
            End::Broken(_) => "broken",
        }
    }

    /// What the client is told of it, if there still is one.
    pub(crate) fn problem(&self) -> Option<Problem> {
        match self {
            End::Gone => None,
            End::Draining => Some(crate::app::App::draining()),
            End::Silent => Some(Problem::new(Code::SessionEnded, "nothing was heard of the client for too long")),
            End::Stalled => Some(Problem::new(Code::SessionEnded, "the client took nothing for too long")),
            End::Broken(problem) => Some(problem.clone()),
        }
    }
}

/// A protocol, without its transport.
pub(crate) trait Talk: Send {
    /// Answers what the client said.
    fn heard(&mut self, data: Bytes, answers: &mut Frame) -> impl Future<Output = Result<(), End>> + Send;

    /// Waits for something to say that was not asked for. It is called when there is room to say it, and must
    /// be cancel safe.
    fn next(&mut self) -> impl Future<Output = Frame> + Send;

    /// What is said when nothing else was for a while; `None` if the transport sees to it.
    fn ping(&self) -> Option<Bytes>;

    fn goodbye(&self, end: &End) -> Option<Bytes>;

    /// The connection is over.
    fn finish(self, end: &End) -> impl Future<Output = ()> + Send;
}

/// A connection from its beginning to its end.
pub(crate) async fn run<T: Talk>(mut talk: T, line: Line, drain: CancellationToken) {
    let Line { mut heard, frames } = line;
    let end = converse(&mut talk, &mut heard, &frames, &drain).await;
    let (event_id, why) = (log_id::PUSH_ENDED, end.as_str());
    tracing::debug!(event_id, why, "a connection for pushed events has ended");
    if let Some(last) = talk.goodbye(&end) {
        let _ = tokio::time::timeout(GOODBYE_MAX, frames.send(vec![last])).await;
    }
    drop(frames);
    talk.finish(&end).await;
}

async fn converse<T: Talk>(
    talk: &mut T,
    heard: &mut mpsc::Receiver<Heard>,
    frames: &mpsc::Sender<Frame>,
    drain: &CancellationToken,
) -> End {
    let (mut answers, mut room, mut pace) = (Frame::new(), None, Pace::new(Instant::now()));
    let mut look = tokio::time::interval(pace::LOOK_EVERY);
    loop {
        if !answers.is_empty()
            && let Some(room) = room.take()
        {
            mpsc::Permit::send(room, std::mem::take(&mut answers));
            pace.said(Instant::now());
        }
        tokio::select! {
            biased;
            () = drain.cancelled() => {
                flush(answers, room, frames).await;
                return End::Draining;
            }
            () = frames.closed() => return End::Gone,
            _ = look.tick() => match pace.look(Instant::now(), room.is_none()) {
                Look::Fine => {}
                Look::Ping => {
                    if let (Some(ping), true) = (talk.ping(), answers.is_empty()) {
                        answers.push(ping);
                    }
                }
                Look::Silent => return End::Silent,
                Look::Stalled => return End::Stalled,
            },
            reserved = frames.reserve(), if room.is_none() => match reserved {
                Ok(reserved) => {
                    room = Some(reserved);
                    pace.flows(Instant::now());
                }
                Err(_) => return End::Gone,
            },
            told = heard.recv(), if answers.len() < ANSWERS_MAX => match told {
                None | Some(Heard::Gone) => return End::Gone,
                Some(Heard::Alive) => pace.heard(Instant::now()),
                Some(Heard::Broken(problem)) => return End::Broken(problem),
                Some(Heard::Data(data)) => {
                    pace.heard(Instant::now());
                    if let Err(end) = talk.heard(data, &mut answers).await {
                        flush(answers, room, frames).await;
                        return end;
                    }
                }
            },
            frame = talk.next(), if room.is_some() && answers.is_empty() => {
                if let (Some(room), false) = (room.take(), frame.is_empty()) {
                    room.send(frame);
                    pace.said(Instant::now());
                }
            }
        }
    }
}

/// What was answered before the end goes out before the last word.
async fn flush(answers: Frame, room: Option<mpsc::Permit<'_, Frame>>, frames: &mpsc::Sender<Frame>) {
    if answers.is_empty() {
        return;
    }
    match room {
        Some(room) => room.send(answers),
        None => drop(tokio::time::timeout(GOODBYE_MAX, frames.send(answers)).await),
    }
}

/// All connections of this kind of the host.
pub(crate) struct Push {
    metrics: Arc<Metrics>,
    places: Arc<Semaphore>,
    open: TaskTracker,
    cut: CancellationToken,
}

impl Push {
    /// `open` is waited for when the host stops; `cut` ends the waiting.
    pub(crate) fn new(metrics: Arc<Metrics>, open: TaskTracker, cut: CancellationToken) -> Self {
        Self { metrics, places: Arc::new(Semaphore::new(CONNECTIONS_MAX)), open, cut }
    }

    /// Counted among the open connections from now on.
    pub(crate) fn enter(&self, transport: &'static str) -> Result<Place, Problem> {
        let permit = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            let message = format!("there are {CONNECTIONS_MAX} connections for pushed events; try again later");
            Problem::new(Code::Overloaded, message)
        })?;
        self.metrics.push_connections.with_label_values(&[transport]).inc();
        let event_id = log_id::PUSH_STARTED;
        tracing::debug!(event_id, transport, "a connection for pushed events");
        let metrics = Arc::clone(&self.metrics);
        Ok(Place { metrics, transport, cut: self.cut.clone(), _permit: permit, _open: self.open.token() })
    }
}

/// A connection's place among all. The host waits for it when it stops.
pub(crate) struct Place {
    metrics: Arc<Metrics>,
    transport: &'static str,
    cut: CancellationToken,
    _permit: OwnedSemaphorePermit,
    _open: TaskTrackerToken,
}

impl Place {
    /// Keeps the place until `connection` is over, or the host waits no longer.
    pub(crate) async fn hold(self, connection: impl Future<Output = ()>) {
        let _ = self.cut.clone().run_until_cancelled(connection).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.metrics.push_connections.with_label_values(&[self.transport]).dec();
    }
}
