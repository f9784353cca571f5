//! A partner of sagas: a shop that reserves goods, charges cards and ships, each with what undoes it.
//!
//! Every effect is a line in a [`ledger`](Ledger), by which a test sees afterwards what was really done: it survives
//! kills of whoever called, and of the partner. What is asked again with the same idempotency key gets its first answer
//! and does nothing. What is undone before it was done is never done. A test may [tell](Fault) it to fail, to hang and to
//! hang up, before its effect or behind it.
//!
//! | request | effect |
//! | --- | --- |
//! | `POST /reserve`, `/release` | the order's items are set aside, or are free again |
//! | `POST /authorize`, `/void` | the order's amount is held, or is not any more; a body with `simulatePaymentFailure` is declined, 402 |
//! | `POST /ship`, `/recall` | what is set aside and held goes out, or comes back |
//! | `GET /orders/ID`, `GET /balance` | what stands for an order; what is open in all |
//! | `PUT /fault` | a [`Fault`], as JSON |
//!
//! A body is a JSON object with `orderId`, and `items` and `amount` where they count. Each `POST` needs the header
//! `idempotency-key`.

mod fault;
mod ledger;
mod service;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::AbortHandle;

pub use fault::{Fault, Kind, Moment};
pub use ledger::{Balance, Entry, Ledger, Operation, Standing, Tally};

use fault::Faults;

/// A partner that runs until it is dropped.
#[derive(Debug)]
pub struct Partner {
    address: SocketAddr,
    ledger: Arc<Ledger>,
    faults: Arc<Faults>,
    task: AbortHandle,
}

impl Partner {
    /// On a port of its own on this machine. With a file its ledger outlives it.
    pub async fn start(ledger: Option<&Path>) -> io::Result<Self> {
        Self::on(TcpListener::bind("127.0.0.1:0").await?, ledger)
    }

    pub fn on(listener: TcpListener, ledger: Option<&Path>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let ledger = Arc::new(Ledger::open(ledger)?);
        let faults = Arc::new(Faults::default());
        let task = tokio::spawn(service::run(listener, Arc::clone(&ledger), Arc::clone(&faults))).abort_handle();
        Ok(Self { address, ledger, faults, task })
    }

    /// Without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Misbehaves from now on; see [`Fault`].
    pub fn tell(&self, fault: Fault) {
        self.faults.tell(fault);
    }

    /// How often an order was misbehaved to.
    pub fn befallen(&self, order_id: &str) -> u64 {
        self.faults.befallen(order_id)
    }

    /// Requests that have come, by operation, repeated and failed ones included.
    pub fn asked(&self, operation: Operation) -> u64 {
        self.faults.asked(operation)
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        self.task.abort();
    }
}
