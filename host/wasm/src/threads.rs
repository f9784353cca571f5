//! The threads that guests run on: their own, since a guest computes for milliseconds between two
//! awaits, and the host's tasks beside it would wait.

use std::future::Future;

use tokio::runtime::{Builder, Runtime};

#[derive(Debug)]
pub(crate) struct GuestThreads {
    /// Present until the drop.
    runtime: Option<Runtime>,
}

impl GuestThreads {
    pub(crate) fn start(threads: usize) -> std::io::Result<Self> {
        // No I/O: a guest awaits the store and the host's HTTP client, which wake from elsewhere and may have
        // time-outs.
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(threads.max(1)).thread_name("wasm-guest").enable_time().build()?;
        Ok(Self { runtime: Some(runtime) })
    }

    /// Runs `future` on a guest thread. Dropping the returned future ends it at its next await.
    pub(crate) async fn run<F>(&self, future: F) -> F::Output
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let runtime = self.runtime.as_ref().expect("it is taken only by the drop");
        let mut task = AbortOnDrop(runtime.spawn(future));
        match (&mut task.0).await {
            Ok(output) => output,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => unreachable!("the runtime outlives the call, and only the drop aborts"),
            },
        }
    }
}

impl Drop for GuestThreads {
    fn drop(&mut self) {
        // The last owner may be an async task, where waiting for threads is not allowed.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
