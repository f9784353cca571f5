//! What was really done.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    Reserve,
    Release,
    Authorize,
    Void,
    Ship,
    Recall,
}

impl Operation {
    pub const ALL: [Operation; 6] =
        [Self::Reserve, Self::Release, Self::Authorize, Self::Void, Self::Ship, Self::Recall];

    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Reserve => "reserve",
            Operation::Release => "release",
            Operation::Authorize => "authorize",
            Operation::Void => "void",
            Operation::Ship => "ship",
            Operation::Recall => "recall",
        }
    }

    /// What this one undoes.
    fn undoes(self) -> Option<Operation> {
        match self {
            Operation::Release => Some(Operation::Reserve),
            Operation::Void => Some(Operation::Authorize),
            Operation::Recall => Some(Operation::Ship),
            Operation::Reserve | Operation::Authorize | Operation::Ship => None,
        }
    }
}

/// One request that was understood: a line of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    pub operation: Operation,
    pub order_id: String,
    pub idempotency_key: String,
    pub items: u64,
    pub amount: u64,
    /// Whether anything was done: not what was declined, nor what undoes nothing.
    pub effect: bool,
    pub status: u16,
}

/// What stands for one order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    pub reserved: Tally,
    pub authorized: Tally,
    pub shipped: Tally,
}

/// Of one kind of effect, how often it was done and undone, and what is open of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    pub done: u32,
    pub undone: u32,
    /// It was undone before it was done, and is refused from then on.
    pub barred: bool,
    /// Items, or money; at most once.
    pub open: u64,
}

/// What is open in all. What was shipped is settled: a saga that has ended, whichever way, leaves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Balance {
    /// Set aside, and neither shipped nor free again.
    pub items: u64,
    /// Held, and neither charged nor given back.
    pub amount: u64,
    pub shipped_orders: u64,
}

/// Keeps effects in order, and in a file if it has one.
#[derive(Debug)]
pub struct Ledger(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    entries: Vec<Entry>,
    orders: BTreeMap<String, Standing>,
    /// Entry by operation and key.
    answered: HashMap<(Operation, String), usize>,
    file: Option<File>,
}

/// What is asked of the ledger.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) operation: Operation,
    pub(crate) order_id: String,
    pub(crate) idempotency_key: String,
    pub(crate) items: u64,
    pub(crate) amount: u64,
    pub(crate) declined: bool,
}

impl Ledger {
    /// What a file holds already is done already; a line that was cut off is not.
    pub(crate) fn open(path: Option<&Path>) -> io::Result<Self> {
        let mut books = Books::default();
        if let Some(path) = path {
            let mut whole = 0;
            if let Ok(file) = File::open(path) {
                for line in BufReader::new(file).split(b'\n') {
                    let line = line?;
                    let Ok(entry) = serde_json::from_slice(&line) else { break };
                    whole += line.len() as u64 + 1;
                    books.note(entry);
                }
            }
            let file = OpenOptions::new().create(true).append(true).open(path)?;
            file.set_len(whole)?;
            books.file = Some(file);
        }
        Ok(Self(Mutex::new(books)))
    }

    /// Does what is asked, or finds that it was done.
    pub(crate) fn answer(&self, asked: Asked) -> io::Result<Entry> {
        let books = &mut *self.books();
        let place = (asked.operation, asked.idempotency_key.clone());
        if let Some(known) = books.answered.get(&place) {
            return Ok(books.entries[*known].clone());
        }
        let entry = books.judge(asked);
        if let Some(file) = &mut books.file {
            let mut line = serde_json::to_vec(&entry)?;
            line.push(b'\n');
            file.write_all(&line)?;
        }
        books.note(entry.clone());
        Ok(entry)
    }

    /// All of them, in order.
    pub fn entries(&self) -> Vec<Entry> {
        self.books().entries.clone()
    }

    pub fn standing(&self, order_id: &str) -> Standing {
        self.books().orders.get(order_id).copied().unwrap_or_default()
    }

    pub fn orders(&self) -> BTreeMap<String, Standing> {
        self.books().orders.clone()
    }

    pub fn balance(&self) -> Balance {
        let mut balance = Balance::default();
        for standing in self.books().orders.values() {
            let is_shipped = standing.shipped.open > 0;
            balance.shipped_orders += u64::from(is_shipped);
            if !is_shipped {
                balance.items += standing.reserved.open;
                balance.amount += standing.authorized.open;
            }
        }
        balance
    }

    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    fn tally(&mut self, of: Operation) -> &mut Tally {
        match of {
            Operation::Reserve | Operation::Release => &mut self.reserved,
            Operation::Authorize | Operation::Void => &mut self.authorized,
            Operation::Ship | Operation::Recall => &mut self.shipped,
        }
    }
}

impl Books {
    fn judge(&self, asked: Asked) -> Entry {
        let Asked { operation, order_id, idempotency_key, items, amount, declined } = asked;
        let mut standing = self.orders.get(&order_id).copied().unwrap_or_default();
        let tally = *standing.tally(operation);
        let is_there = standing.reserved.open > 0 && standing.authorized.open > 0;
        let (effect, status) = match operation {
            _ if operation.undoes().is_some() => (tally.open > 0, 200),
            _ if tally.barred || tally.open > 0 => (false, 409),
            Operation::Authorize if declined => (false, 402),
            Operation::Ship if !is_there => (false, 409),
            _ => (true, 201),
        };
        Entry { operation, order_id, idempotency_key, items, amount, effect, status }
    }

    fn note(&mut self, entry: Entry) {
        let tally = self.orders.entry(entry.order_id.clone()).or_default().tally(entry.operation);
        match (entry.operation.undoes(), entry.effect) {
            (Some(_), true) => {
                tally.undone += 1;
                (tally.open, tally.barred) = (0, true);
            }
            (Some(_), false) => tally.barred = true,
            (None, true) => {
                tally.done += 1;
                tally.open = match entry.operation {
                    Operation::Authorize => entry.amount.max(1),
                    Operation::Ship => 1,
                    _ => entry.items.max(1),
                };
            }
            (None, false) => {}
        }
        self.answered.insert((entry.operation, entry.idempotency_key.clone()), self.entries.len());
        self.entries.push(entry);
    }
}
