//! What gRPC alone costs here: the same calls to a server that answers at once and keeps nothing.
//! A host can come near it and not pass it.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::Ipv4Addr;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use wasmill_core::limits::publish::APPEND_BYTES_MAX;

use super::append::drive;
use super::load;
use super::report::Measurement;
use crate::cli::client::Remote;
use crate::cli::exit::Failure;
use crate::cli::output::Output;
use crate::proto::{AppendRequest, AppendResponse};

pub(crate) async fn run(
    publishers: usize,
    batch: usize,
    size: usize,
    duration: Duration,
    output: Output,
) -> Result<Measurement, Failure> {
    let failed = |error: std::io::Error| Failure::failed("listen", format!("the echo server does not start: {error}"));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
    let target = super::target::Target::at(Remote::local(listener.local_addr().map_err(failed)?));
    let serving = Server::builder().tcp_nodelay(true).add_service(Echo);
    // Ends with the measurement: a task that is dropped is stopped.
    let mut server = tokio::task::JoinSet::new();
    server.spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));

    let connections = load::connect(&target, publishers).await?;
    let publishers_and_requests = (0..publishers).map(|number| {
        (connections[number % connections.len()].log(), vec![load::request(format!("echo-{number}"), batch, size)])
    });
    let bar = output.spinner("gRPC alone");
    bar.set_message(format!("{publishers} callers x {batch} events"));
    let measured = drive(publishers_and_requests.collect(), duration).await;
    bar.finish_and_clear();
    let (calls, latencies, took) = measured?;
    let what = format!("gRPC alone, {publishers} x {batch}");
    Ok(Measurement::of(what, calls * batch as u64, took).with_latency(&latencies))
}

/// Answers `Append` under the host's own path, so that the very same client can call it.
#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "wasmill.v1.LogService";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let codec = ProstCodec::<AppendResponse, AppendRequest>::default();
            Ok(Grpc::new(codec).max_decoding_message_size(2 * APPEND_BYTES_MAX).unary(Answer, request).await)
        })
    }
}

struct Answer;

impl UnaryService<AppendRequest> for Answer {
    type Response = AppendResponse;
    type Future = Ready<Result<Response<AppendResponse>, Status>>;

    fn call(&mut self, request: Request<AppendRequest>) -> Self::Future {
        let last = request.get_ref().events.len() as u64;
        ready(Ok(Response::new(AppendResponse { last_offset: last, last_position: last, ..AppendResponse::default() })))
    }
}
