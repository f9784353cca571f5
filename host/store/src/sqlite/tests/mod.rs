//! The SQLite store beside the contract, and what only a file can show.

mod contract;
