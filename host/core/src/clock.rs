//! The one source of time. Core never reads the system clock any other way, so a test owns time.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::sync::watch;

/// Microseconds since the Unix epoch, UTC. Fits in 2^53 - 1 until the year 2255.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

#[async_trait]
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Timestamp;

    /// Resolves when it is `time` or later.
    async fn wait_until(&self, time: Timestamp);
}

#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the replacement")]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
    }

    async fn wait_until(&self, time: Timestamp) {
        /// The system's clock may be set meanwhile, so it is looked at now and then.
        const LOOK_US: u64 = 60_000_000;
        while let Some(wait) = time.0.checked_sub(self.now().0).filter(|wait| *wait > 0) {
            tokio::time::sleep(Duration::from_micros(wait.unsigned_abs().min(LOOK_US))).await;
        }
    }
}

/// A clock that moves only when it is told to.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<watch::Sender<Timestamp>>);

impl ManualClock {
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(watch::Sender::new(now)))
    }

    pub fn set(&self, now: Timestamp) {
        self.0.send_replace(now);
    }

    pub fn advance_us(&self, us: i64) {
        self.0.send_modify(|now| now.0 += us);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::at(Timestamp::default())
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    async fn wait_until(&self, time: Timestamp) {
        // It fails when the clock is gone, which this borrow keeps.
        let _ = self.0.subscribe().wait_for(|now| *now >= time).await;
    }
}
