//! What is promised when something fails (`examples/storage/README.md`), shown on the real binary under load.
//!
//! Every test does the same thing around a fault of its own: publishers and followers run all the while
//! ([`load`]), and in the end the log is read as a whole and compared with what publishers were told
//! ([`verify`]).

mod follower;
mod load;
mod publisher;
mod source;
mod verify;

mod kill;

mod receipts;

mod lost;
mod postgres;
mod proxy;

mod fsync;
mod strace;

mod full;
mod tmpfs;

mod damage;
