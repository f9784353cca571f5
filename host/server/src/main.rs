//! The binary `wasmill`: hands its arguments to the command line, and is the only place that ends the process.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    wasmill_server::cli::main(std::env::args_os()).into()
}
