//! From a name to a connection, over an address that was looked at.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use wasmill_core::saga::http::address;

/// For one address; the request's own time-out stands above it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Of those that a name stands for, so many are tried.
const ADDRESSES_MAX: usize = 4;

/// Why there is no connection. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("`{host}` cannot be found: {source}")]
    Name { host: String, source: io::Error },
    #[error("`{host}` stands for no address")]
    NoAddress { host: String },
    #[error(
        "`{host}` is {address}, which is not on the public network; an operator can allow it with `network.private_hosts`"
    )]
    NotPublic { host: String, address: IpAddr },
    #[error("{address} cannot be reached: {source}")]
    Unreachable { address: SocketAddr, source: io::Error },
    #[error("`{host}` cannot be trusted: {source}")]
    Tls { host: String, source: io::Error },
    #[error("the host cannot do TLS: {0}")]
    Trust(String),
}

impl ConnectError {
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, ConnectError::NotPublic { .. })
    }
}

/// Whose certificates are believed: those that the system trusts, read when first needed.
#[derive(Clone, Default)]
pub(super) struct Trust(Arc<OnceLock<Result<TlsConnector, String>>>);

impl Trust {
    /// It believes these and no others.
    #[cfg(test)]
    pub(super) fn only(roots: RootCertStore) -> Self {
        let trust = Self::default();
        let _ = trust.0.set(connector(roots));
        trust
    }

    async fn connector(&self) -> Result<TlsConnector, ConnectError> {
        let this = Self(Arc::clone(&self.0));
        // It reads files.
        let load = move || this.0.get_or_init(|| connector(system_roots())).clone();
        let loaded = tokio::task::spawn_blocking(load).await;
        loaded.unwrap_or_else(|error| Err(error.to_string())).map_err(ConnectError::Trust)
    }
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // Single files that cannot be read are the system's affair; without any, no certificate is believed.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn connector(roots: RootCertStore) -> Result<TlsConnector, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = versions.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

#[derive(Clone)]
pub(super) struct Connector {
    /// Whether addresses may be private.
    private: bool,
    trust: Trust,
}

impl Connector {
    pub(super) fn new(private: bool, trust: Trust) -> Self {
        Self { private, trust }
    }

    async fn connect(self, uri: Uri) -> Result<TokioIo<Stream>, ConnectError> {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let is_https = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let addresses = self.addresses(&host, port).await?;
        let tcp = connect_to_any(&addresses, &host).await?;
        if !is_https {
            return Ok(TokioIo::new(Stream(Box::pin(tcp))));
        }
        let untrusted = |source| ConnectError::Tls { host: host.clone(), source };
        let name = ServerName::try_from(host.clone()).map_err(|error| untrusted(io::Error::other(error)))?;
        let tls = self.trust.connector().await?.connect(name, tcp).await.map_err(untrusted)?;
        Ok(TokioIo::new(Stream(Box::pin(tls))))
    }

    /// Those that may be connected to. If there are only others, one of them is told.
    async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
        let found = tokio::net::lookup_host((host, port)).await;
        let found = found.map_err(|source| ConnectError::Name { host: host.into(), source })?;
        let (allowed, others): (Vec<SocketAddr>, Vec<SocketAddr>) =
            found.partition(|found| self.private || address::is_public(found.ip()));
        match (allowed.is_empty(), others.first()) {
            (false, _) => Ok(allowed),
            (true, Some(other)) => Err(ConnectError::NotPublic { host: host.into(), address: other.ip() }),
            (true, None) => Err(ConnectError::NoAddress { host: host.into() }),
        }
    }
}

async fn connect_to_any(addresses: &[SocketAddr], host: &str) -> Result<TcpStream, ConnectError> {
    let mut last = ConnectError::NoAddress { host: host.into() };
    for &address in addresses.iter().take(ADDRESSES_MAX) {
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
        match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => {
                // Requests are small, and each is waited for. It can fail only on a connection that is gone.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(source) => last = ConnectError::Unreachable { address, source },
        }
    }
    Err(last)
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

trait Io: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

/// With TLS or without.
pub(super) struct Stream(Pin<Box<dyn Io>>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_read(context, into)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_shutdown(context)
    }
}
