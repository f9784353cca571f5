//! The threads that guests run on: their own, since a guest computes for milliseconds between two awaits, and the
//! host's tasks beside it would wait.
//!
//! There are two lanes. A call begins in the quick one; one that has computed for longer than a batch should take
//! goes on in the slow one, whose threads the system lets run when nobody else wants to. So plugins that loop, crash
//! or compute for a second at a time share what is left over, and the others do not notice them.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

/// What a call may compute in the quick lane: 256 events take Python 4 ms, the slowest of the languages (measured).
const QUICK: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Quick,
    Slow,
}

#[derive(Debug)]
pub(crate) struct GuestThreads {
    /// Present until the drop.
    lanes: Option<Lanes>,
}

#[derive(Debug)]
struct Lanes {
    quick: Runtime,
    slow: Runtime,
}

impl GuestThreads {
    /// Each lane has `threads`.
    pub(crate) fn start(threads: usize) -> std::io::Result<Self> {
        let lane = |name: &'static str| {
            // No I/O: a guest awaits the store and the host's HTTP client, which wake from elsewhere
            // and may have time-outs.
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(threads.max(1)).thread_name(name).enable_time();
            builder
        };
        let quick = lane("wasm-guest").build()?;
        let slow = lane("wasm-slow").on_thread_start(give_way).build()?;
        Ok(Self { lanes: Some(Lanes { quick, slow }) })
    }

    /// Runs `future` on a guest thread. Dropping the returned future ends it at its next await.
    pub(crate) async fn run<F>(&self, lane: Lane, future: F) -> F::Output
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let Lanes { quick, slow } = self.lanes.as_ref().expect("they are taken only by the drop");
        let mut future = Box::pin(future);
        if lane == Lane::Quick {
            match outcome(quick, Short { future: Some(future), spent: Duration::ZERO }).await {
                Turn::Over(output) => return output,
                Turn::Long(rest) => future = rest,
            }
        }
        outcome(slow, future).await
    }
}

async fn outcome<F>(runtime: &Runtime, future: F) -> F::Output
where
    F: Future<Output: Send> + Send + 'static,
{
    let mut task = AbortOnDrop(runtime.spawn(future));
    match (&mut task.0).await {
        Ok(output) => output,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => unreachable!("the runtime outlives the call, and only the drop aborts"),
        },
    }
}

impl Drop for GuestThreads {
    fn drop(&mut self) {
        // The last owner may be an async task, where waiting for threads is not allowed.
        if let Some(Lanes { quick, slow }) = self.lanes.take() {
            quick.shutdown_background();
            slow.shutdown_background();
        }
    }
}

/// A future that comes back when it has computed for too long. A guest yields at each tick, so that is seen.
struct Short<F: Future> {
    future: Option<Pin<Box<F>>>,
    spent: Duration,
}

enum Turn<F: Future> {
    Over(F::Output),
    Long(Pin<Box<F>>),
}

// What is pinned is in a box.
impl<F: Future> Unpin for Short<F> {}

impl<F: Future> Future for Short<F> {
    type Output = Turn<F>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Turn<F>> {
        let mut future = self.future.take().expect("it is not polled when it is over");
        let began = Instant::now();
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Turn::Over(output));
        }
        self.spent += began.elapsed();
        if self.spent >= QUICK {
            // What it waits for is told anew by whoever polls it next.
            return Poll::Ready(Turn::Long(future));
        }
        self.future = Some(future);
        Poll::Pending
    }
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Has the thread that calls it run behind all others: it gets about a tenth of a core that others want.
#[cfg(target_os = "linux")]
pub(crate) fn give_way() {
    const NICE: libc::c_int = 10;
    // SAFETY: it takes no pointer. On Linux it is the calling thread that is meant; where it fails, the thread runs as
    // all others do.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
}

/// Elsewhere it is only a thread.
#[cfg(not(target_os = "linux"))]
pub(crate) fn give_way() {}

#[cfg(test)]
mod tests {
    use super::*;

    async fn compute(how_long: Duration, names: &mut Vec<String>) {
        let began = Instant::now();
        while began.elapsed() < how_long {
            let tick = Instant::now();
            while tick.elapsed() < Duration::from_millis(2) {
                std::hint::spin_loop();
            }
            names.push(std::thread::current().name().unwrap_or_default().to_owned());
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_computes_for_long_goes_on_in_the_slow_lane() {
        let threads = GuestThreads::start(1).unwrap();
        let run = async |lane, how_long| {
            let call = async move {
                let mut names = Vec::new();
                compute(how_long, &mut names).await;
                names
            };
            threads.run(lane, call).await
        };
        let short = run(Lane::Quick, Duration::from_millis(1)).await;
        assert_eq!(short, ["wasm-guest"]);
        let long = run(Lane::Quick, 3 * QUICK).await;
        assert_eq!((long[0].as_str(), long[long.len() - 1].as_str()), ("wasm-guest", "wasm-slow"), "{long:?}");
        assert!(run(Lane::Slow, Duration::from_millis(1)).await.iter().all(|name| name == "wasm-slow"));
    }

    #[tokio::test]
    async fn what_only_waits_stays_in_the_quick_lane() {
        let threads = GuestThreads::start(1).unwrap();
        let call = async {
            tokio::time::sleep(2 * QUICK).await;
            std::thread::current().name().unwrap_or_default().to_owned()
        };
        assert_eq!(threads.run(Lane::Quick, call).await, "wasm-guest");
    }
}
