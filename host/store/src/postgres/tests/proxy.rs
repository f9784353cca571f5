//! A proxy before the server that cuts the writer's connection at a chosen moment.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// When a request of the writer is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// The server does not get it.
    BeforeTheRequest,
    /// The server has done it, and its answer does not come back.
    BeforeTheAnswer,
}

pub(super) struct Proxy {
    pub(super) url: String,
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    /// How, and at which of the writer's requests from now on.
    armed: Mutex<Option<(Cut, usize)>>,
    refuses: AtomicBool,
    connections: AtomicUsize,
}

impl Proxy {
    /// Before the server of a URL.
    pub(super) async fn before(url: &str) -> Self {
        let (head, rest) = url.split_once('@').expect("a user");
        let (server, database) = rest.split_once('/').expect("a database");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let url = format!("{head}@127.0.0.1:{port}/{database}?sslmode=disable");
        let (state, server) = (Arc::new(State::default()), server.to_owned());
        let task = tokio::spawn(accept(listener, server, Arc::clone(&state)));
        Self { url, state, task }
    }

    /// Cuts the writer's connection at its request `n`, the next one being 1.
    pub(super) fn cut(&self, cut: Cut, n: usize) {
        *self.state.armed.lock().expect("nobody panics") = Some((cut, n));
    }

    /// Takes back a cut; false when it has happened already.
    pub(super) fn disarm(&self) -> bool {
        self.state.armed.lock().expect("nobody panics").take().is_some()
    }

    /// Turns new connections away, until told otherwise.
    pub(super) fn refuse(&self, refuses: bool) {
        self.state.refuses.store(refuses, Ordering::SeqCst);
    }

    /// Connections that were made so far.
    pub(super) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, server: String, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        if state.refuses.load(Ordering::SeqCst) {
            continue;
        }
        state.connections.fetch_add(1, Ordering::SeqCst);
        let (server, state) = (server.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            // Whichever way ends first takes the other with it: both ends see a closed connection.
            let _ = carry(client, &server, &state).await;
        });
    }
}

async fn carry(client: TcpStream, server: &str, state: &State) -> io::Result<()> {
    client.set_nodelay(true)?;
    let server = TcpStream::connect(server).await?;
    server.set_nodelay(true)?;
    let ((mut from_client, to_client), (from_server, mut to_server)) = (client.into_split(), server.into_split());
    let mut startup = vec![0; 4];
    from_client.read_exact(&mut startup).await?;
    startup.resize(u32::from_be_bytes([startup[0], startup[1], startup[2], startup[3]]) as usize, 0);
    from_client.read_exact(&mut startup[4..]).await?;
    to_server.write_all(&startup).await?;
    let writer = startup.windows(14).any(|part| part == b"wasmill writer");
    let swallow = AtomicBool::new(false);
    tokio::select! {
        ended = requests(from_client, to_server, state, writer, &swallow) => ended,
        ended = answers(from_server, to_client, &swallow) => ended,
    }
}

/// A message: its kind, its length and what it says.
async fn message(from: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let mut message = vec![0; 5];
    from.read_exact(&mut message).await?;
    let length = u32::from_be_bytes([message[1], message[2], message[3], message[4]]) as usize;
    message.resize(1 + length, 0);
    from.read_exact(&mut message[5..]).await?;
    Ok(message)
}

/// Passes requests on, each of which ends with Sync or is a simple query.
async fn requests(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    state: &State,
    writer: bool,
    swallow: &AtomicBool,
) -> io::Result<()> {
    let mut request = Vec::new();
    loop {
        let message = message(&mut client).await?;
        let kind = message[0];
        request.extend(message);
        // The last word of a connection, and what belongs to logging in, ask for no answer.
        let asks = kind == b'S' || kind == b'Q';
        if !asks && kind != b'X' && kind != b'p' {
            continue;
        }
        if asks
            && writer
            && let Some(cut) = due(state)
        {
            if cut == Cut::BeforeTheRequest {
                return Ok(());
            }
            swallow.store(true, Ordering::SeqCst);
        }
        server.write_all(&std::mem::take(&mut request)).await?;
    }
}

/// Counts a request, and says whether it is the one.
fn due(state: &State) -> Option<Cut> {
    let mut armed = state.armed.lock().expect("nobody panics");
    let (cut, n) = (*armed)?;
    *armed = (n > 1).then_some((cut, n - 1));
    (n == 1).then_some(cut)
}

/// Passes answers back, each of which ends with ReadyForQuery.
async fn answers(mut server: OwnedReadHalf, mut client: OwnedWriteHalf, swallow: &AtomicBool) -> io::Result<()> {
    loop {
        let message = message(&mut server).await?;
        if !swallow.load(Ordering::SeqCst) {
            client.write_all(&message).await?;
        } else if message[0] == b'Z' {
            return Ok(());
        }
    }
}
