//! The log: how events get in, in what order, and how they get out.

pub mod commit;
pub mod filter;
mod follow;
pub mod others;
pub mod publish;
pub mod read;
pub mod tail;
