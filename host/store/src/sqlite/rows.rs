//! Any number of rows as two parameters, so that one cached statement writes or finds them all.
//!
//! sqlx hands each statement to the connection's thread and back, which costs more than a row does; and
//! a statement with a parameter for each value has to be prepared anew for each number of rows. So texts
//! and bytes travel end to end in one blob, and JSON, `[[1,25,3], ...]`, holds each row's numbers: its
//! own, and where in the blob its texts are. In SQL, with their bytes and numbers bound in that order:
//!
//! ```sql
//! select value ->> 0, substr(packed, value ->> 1, value ->> 2) from (select ? as packed), jsonb_each(?)
//! ```

use std::fmt::Write;

use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments};

/// A statement with its parameters.
pub(super) type Statement = Query<'static, Sqlite, SqliteArguments>;

#[derive(Debug)]
pub(super) struct Rows {
    bytes: Vec<u8>,
    numbers: String,
    count: usize,
}

/// A text or blob within the rows' bytes: for `substr`, so `at` counts from 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) at: i64,
    pub(super) length: i64,
}

impl Rows {
    pub(super) fn new() -> Self {
        // An empty blob would read as null; the first byte is never looked at.
        Self { bytes: vec![0], numbers: "[".into(), count: 0 }
    }

    /// Room for `count` rows that bring `bytes` bytes.
    pub(super) fn with_capacity(count: usize, bytes: usize) -> Self {
        let mut rows = Self::new();
        rows.bytes.reserve(bytes);
        rows.numbers.reserve(count * 48);
        rows
    }

    /// Adds a text or blob for the next row to name.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Span {
        let at = self.bytes.len() as i64 + 1;
        self.bytes.extend_from_slice(bytes);
        Span { at, length: bytes.len() as i64 }
    }

    pub(super) fn push(&mut self, numbers: &[i64]) {
        self.numbers.push_str(if self.count == 0 { "[" } else { ",[" });
        for (n, number) in numbers.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(self.numbers, "{comma}{number}").expect("a string takes all that is written to it");
        }
        self.numbers.push(']');
        self.count += 1;
    }

    /// A row of one text alone.
    pub(super) fn push_text(&mut self, text: &str) {
        let span = self.put(text.as_bytes());
        self.push(&[span.at, span.length]);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn byte_count(&self) -> usize {
        self.bytes.len()
    }

    /// Binds the bytes, then the numbers.
    pub(super) fn bind_to(mut self, statement: Statement) -> Statement {
        self.numbers.push(']');
        statement.bind(self.bytes).bind(self.numbers)
    }
}
