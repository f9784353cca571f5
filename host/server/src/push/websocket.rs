//! A WebSocket as the transport of a connection.

use axum::body::Body;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::http::Response;
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wasmill_core::code::{Code, Problem};

use super::{Frame, GOODBYE_MAX, Heard, PING_EVERY, Place, Talk, Wire, line, run};

/// Whether the transport keeps the connection alive with pings of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pings {
    Sent,
    /// Some clients take a ping for a message, and the protocol has its own.
    Spared,
}

/// What every upgrade that failed is told.
pub(crate) fn refused(rejection: &WebSocketUpgradeRejection) -> Problem {
    Problem::new(Code::InvalidArgument, "this is no handshake of a WebSocket").with("upgrade", rejection.body_text())
}

/// Answers the handshake and has `talk` speak on the socket.
pub(crate) fn accept(
    upgrade: WebSocketUpgrade,
    message_bytes_max: usize,
    place: Place,
    drain: CancellationToken,
    pings: Pings,
    talk: impl Talk + 'static,
) -> Response<Body> {
    let upgrade = upgrade.max_message_size(message_bytes_max).max_frame_size(message_bytes_max);
    upgrade.on_upgrade(move |socket| place.hold(carry(socket, message_bytes_max, drain, pings, talk)))
}

async fn carry(socket: WebSocket, message_bytes_max: usize, drain: CancellationToken, pings: Pings, talk: impl Talk) {
    let (sink, stream) = socket.split();
    let (line, Wire { heard, frames }) = line();
    let (over, gone) = (CancellationToken::new(), CancellationToken::new());
    let talking = async {
        let _over = over.clone().drop_guard();
        run(talk, line, drain).await;
    };
    let writing = async {
        let too_slow = async {
            over.cancelled().await;
            tokio::time::sleep(GOODBYE_MAX).await;
        };
        tokio::select! {
            () = write(sink, frames, pings, &gone) => {}
            () = too_slow => {}
        }
    };
    let reading = async {
        read(stream, heard, message_bytes_max).await;
        gone.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = async { tokio::join!(talking, writing) } => {}
        () = reading => {}
    }
}

async fn read(mut stream: SplitStream<WebSocket>, heard: mpsc::Sender<Heard>, message_bytes_max: usize) {
    loop {
        let told = match stream.next().await {
            Some(Ok(Message::Text(text))) => Heard::Data(text.into()),
            Some(Ok(Message::Binary(data))) => Heard::Data(data),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Heard::Alive,
            Some(Ok(Message::Close(_))) | None => Heard::Gone,
            Some(Err(error)) if is_too_large(&error) => {
                let message = format!("a message here has at most {message_bytes_max} bytes");
                Heard::Broken(Problem::new(Code::BodyTooLarge, message))
            }
            Some(Err(_)) => Heard::Gone,
        };
        let last = matches!(told, Heard::Gone | Heard::Broken(_));
        if heard.send(told).await.is_err() || last {
            break;
        }
    }
    // The client's goodbye, if it comes.
    while let Some(Ok(_)) = stream.next().await {}
}

/// The library that knows it is not a dependency of ours, so its words decide.
fn is_too_large(error: &axum::Error) -> bool {
    error.to_string().contains("too long") || error.to_string().contains("too large")
}

async fn write(
    mut sink: SplitSink<WebSocket, Message>,
    mut frames: mpsc::Receiver<Frame>,
    pings: Pings,
    gone: &CancellationToken,
) {
    // Whatever else is written: a client that only listens is heard of by its pongs.
    let mut ping = tokio::time::interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    loop {
        let written = tokio::select! {
            _ = ping.tick(), if pings == Pings::Sent => sink.send(Message::Ping(Bytes::new())).await,
            frame = frames.recv() => match frame {
                None => break,
                Some(frame) => send(&mut sink, frame).await,
            },
        };
        if written.is_err() {
            return;
        }
    }
    if sink.close().await.is_ok() {
        gone.cancelled().await;
    }
}

async fn send(sink: &mut SplitSink<WebSocket, Message>, frame: Frame) -> Result<(), axum::Error> {
    for message in frame {
        // Everything that is written here is JSON, which is UTF-8.
        let text = Utf8Bytes::try_from(message).unwrap_or_default();
        sink.feed(Message::Text(text)).await?;
    }
    sink.flush().await
}
