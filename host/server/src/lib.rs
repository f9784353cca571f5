//! The faces of Wasmill: gRPC, HTTP, sockets and the command line, and the wiring behind them.

pub mod config;
pub mod telemetry;

pub mod errors;
pub mod wire;

mod access;
mod app;
mod convert;
mod deliveries;
mod pages;
mod plugin_logs;
mod plugins;
mod publish;
mod queries;
mod queues;
mod receipts;
mod replays;
mod rights;
mod sagas;
mod schedules;
mod schemas;
mod stream_configs;

mod groups;
mod grpc;
mod http;
mod hub;
mod push;
mod ws;

mod outgoing;

mod front;
pub mod serve;

pub mod cli;

/// The generated messages, clients and servers of `proto/wasmill/v1`.
#[allow(clippy::all, unreachable_pub, unused_qualifications)]
pub mod proto {
    tonic::include_proto!("wasmill.v1");
    /// For reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/wasmill.v1.bin"));
}
