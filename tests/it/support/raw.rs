//! A gRPC call with bytes that no generated client would send.

use bytes::{Buf, BufMut, Bytes};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Request, Status};

use super::TestHost;

/// Calls `path` with `message` as the encoded request.
pub async fn call(host: &TestHost, path: &'static str, message: &'static [u8]) -> Result<Bytes, Status> {
    let mut client = tonic::client::Grpc::new(host.channel().await);
    client.ready().await.expect("the channel is ready");
    let path = path.parse().expect("a path");
    client.unary(Request::new(Bytes::from_static(message)), path, RawCodec).await.map(tonic::Response::into_inner)
}

#[derive(Clone, Copy, Default)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
