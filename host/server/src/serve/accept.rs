//! The accept loop: HTTP/1 and HTTP/2 without TLS on one port, bounded in every direction.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wasmill_core::log_id;

use crate::front::Front;

/// A connection that has not brought its first whole request head by then is closed, and so is an
/// HTTP/1 connection that takes longer for a later one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Calls at one time over one HTTP/2 connection.
const STREAMS_MAX: u32 = 1_000;
/// What a client may send ahead on one call, and on one connection: a bulk append fills them.
const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// What is written but not yet taken by the client, for each call.
const SEND_BUFFER_BYTES_MAX: usize = 1024 * 1024;
const HEADERS_BYTES_MAX: u32 = 32 * 1024;
/// A peer that vanished without a word is noticed after these two.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// After a failed accept, which means that the process has run out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The connections that are open, and how they are told to end.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections {
    pub(super) open: TaskTracker,
    /// Answer what was asked, take in nothing new.
    pub(super) drain: CancellationToken,
    /// Enough waited.
    pub(super) cut: CancellationToken,
}

/// Takes in connections, each in a task of its own, until it is dropped.
pub(super) async fn accept(listener: Arc<TcpListener>, front: Arc<Front>, connections: Connections, max: usize) {
    let builder = Arc::new(builder());
    let places = Arc::new(Semaphore::new(max));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("it is never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let (builder, front) = (Arc::clone(&builder), Arc::clone(&front));
                let (drain, cut) = (connections.drain.clone(), connections.cut.clone());
                connections.open.spawn(async move {
                    cut.run_until_cancelled(serve(&builder, stream, front, drain)).await;
                    drop(place);
                });
            }
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                let event_id = log_id::REQUEST_FAILED;
                tracing::error!(event_id, error = %error, "no connection could be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEADERS_BYTES_MAX as usize * 2);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

async fn serve(builder: &Builder<TokioExecutor>, stream: TcpStream, front: Arc<Front>, drain: CancellationToken) {
    // Small answers go out at once. It can fail only on a connection that is gone.
    let _ = stream.set_nodelay(true);
    let asked = Arc::new(AtomicBool::new(false));
    let service = {
        let asked = Arc::clone(&asked);
        service_fn(move |request| {
            asked.store(true, Ordering::Relaxed);
            Arc::clone(&front).answer(request)
        })
    };
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let first_request_due = tokio::time::sleep(HEAD_TIMEOUT);
    let mut first_request_due = std::pin::pin!(first_request_due);
    let (mut draining, mut watching) = (false, true);
    loop {
        tokio::select! {
            // What goes wrong on a connection is its client's to see.
            _ = connection.as_mut() => return,
            () = drain.cancelled(), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            () = first_request_due.as_mut(), if watching => {
                if !asked.load(Ordering::Relaxed) {
                    return;
                }
                watching = false;
            }
        }
    }
}
