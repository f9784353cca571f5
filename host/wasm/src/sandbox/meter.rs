//! How long a guest computes. Time passes while the call is being polled and at no other time: what
//! it waits for (the store, its turn on a thread) is not its fault.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// One call at a time. It is read by the epoch callback on the thread that polls the call, so the
/// atomics only have to be atomics, not an order.
#[derive(Debug)]
pub(crate) struct Meter {
    start: Instant,
    limit_ns: AtomicU64,
    /// Spent in the polls that are over.
    spent_ns: AtomicU64,
    /// When the present poll began, after `start`.
    entered_ns: AtomicU64,
}

impl Default for Meter {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self { start: Instant::now(), limit_ns: zero(), spent_ns: zero(), entered_ns: zero() }
    }
}

impl Meter {
    fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The limit, when the call under way has used it up.
    pub(crate) fn overdrawn(&self) -> Option<Duration> {
        let in_poll = self.now_ns().saturating_sub(self.entered_ns.load(Relaxed));
        let spent = self.spent_ns.load(Relaxed).saturating_add(in_poll);
        let limit = self.limit_ns.load(Relaxed);
        (spent > limit).then(|| Duration::from_nanos(limit))
    }

    /// What the last call has computed.
    pub(crate) fn spent(&self) -> Duration {
        Duration::from_nanos(self.spent_ns.load(Relaxed))
    }

    /// Measures `call` from nothing against `limit`.
    pub(crate) fn measure<F: Future>(self: Arc<Self>, limit: Duration, call: F) -> impl Future<Output = F::Output> {
        self.limit_ns.store(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        self.spent_ns.store(0, Relaxed);
        Measured { meter: self, call: Box::pin(call) }
    }
}

struct Measured<F> {
    meter: Arc<Meter>,
    call: Pin<Box<F>>,
}

impl<F: Future> Future for Measured<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let entered = self.meter.now_ns();
        self.meter.entered_ns.store(entered, Relaxed);
        let polled = self.call.as_mut().poll(context);
        self.meter.spent_ns.fetch_add(self.meter.now_ns().saturating_sub(entered), Relaxed);
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_time_inside_polls_counts() {
        let meter = Arc::new(Meter::default());
        let limit = Duration::from_millis(20);
        let seen = Arc::clone(&meter);
        let call = async {
            tokio::time::sleep(limit * 3).await;
            assert_eq!(seen.overdrawn(), None, "waiting was counted");
            let began = Instant::now();
            while began.elapsed() < limit * 2 {
                std::hint::spin_loop();
            }
            assert_eq!(seen.overdrawn(), Some(limit), "computing was not counted");
        };
        Arc::clone(&meter).measure(limit, call).await;
        let next = async { assert_eq!(seen.overdrawn(), None, "the next call begins with the last one's time") };
        Arc::clone(&meter).measure(limit, next).await;
    }
}
