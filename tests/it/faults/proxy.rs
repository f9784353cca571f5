//! A TCP proxy that loses connections, so that a test decides when.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::host::PATIENCE;

/// How many bytes are passed on at once.
const BUFFER_BYTES: usize = 16 << 10;

pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    to: SocketAddr,
    /// How many bytes all connections together may still pass on before they are cut; `u64::MAX` is no
    /// bound.
    budget: AtomicU64,
    generations: watch::Sender<Generations>,
}

/// Connections are counted in generations: each loss makes the next ones another generation.
#[derive(Clone, Copy, Debug, Default)]
struct Generations {
    newest: u64,
    /// Older ones than this pass nothing on and stay open; other old ones are cut.
    silent_before: u64,
}

impl Proxy {
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let own = listener.local_addr().expect("it listens").port();
        let (to, budget) = (([127, 0, 0, 1], port).into(), AtomicU64::new(u64::MAX));
        let shared = Arc::new(Shared { to, budget, generations: watch::Sender::default() });
        Self { port: own, accepting: tokio::spawn(accept(listener, Arc::clone(&shared))), shared }
    }

    /// Cuts all connections when they have passed on so many bytes more, mostly in the middle of a
    /// message; waits until that has happened.
    pub async fn cut_after(&self, bytes: u64) {
        let mut generations = self.shared.generations.subscribe();
        let before = generations.borrow_and_update().newest;
        self.shared.budget.store(bytes, Ordering::SeqCst);
        let cut = generations.wait_for(|generations| generations.newest > before);
        let cut = tokio::time::timeout(PATIENCE, cut).await.map(drop);
        cut.expect("host and server talk to each other");
    }

    /// From now on the connections that there are pass nothing on, and are not closed either.
    pub fn silence(&self) {
        self.shared.generations.send_modify(|generations| {
            generations.newest += 1;
            generations.silent_before = generations.newest;
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        let (generation, shared) = (shared.generations.borrow().newest, Arc::clone(&shared));
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(shared.to).await else { return };
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
            tokio::select! {
                () = pass(from_client, to_server, &shared, generation) => {}
                () = pass(from_server, to_client, &shared, generation) => {}
            }
        });
    }
}

/// Passes on until one side ends, or it is cut.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared, generation: u64) {
    let (mut generations, mut buffer) = (shared.generations.subscribe(), vec![0; BUFFER_BYTES]);
    loop {
        let now = *generations.borrow_and_update();
        if generation < now.silent_before {
            std::future::pending::<()>().await;
        } else if generation < now.newest {
            return;
        }
        let read = tokio::select! {
            _ = generations.changed() => continue,
            read = from.read(&mut buffer) => read,
        };
        let Ok(count @ 1..) = read else { return };
        let passed = shared.take(count as u64) as usize;
        if to.write_all(&buffer[..passed]).await.is_err() || passed < count {
            return;
        }
    }
}

impl Shared {
    /// How many of these bytes pass: fewer when the cut comes now.
    fn take(&self, bytes: u64) -> u64 {
        let spend = |budget: u64| (budget != u64::MAX).then(|| budget.checked_sub(bytes).unwrap_or(u64::MAX));
        match self.budget.fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend) {
            Ok(budget) if budget < bytes => {
                self.generations.send_modify(|generations| generations.newest += 1);
                budget
            }
            Ok(_) | Err(_) => bytes,
        }
    }
}
