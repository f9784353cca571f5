//! The client, over servers on this machine.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wasmill_core::saga::http::{HttpClient, HttpError, HttpRequest, HttpResponse, HttpRules, code};

use super::Client;
use super::connect::Trust;

/// Made for these tests, for the name localhost and a hundred years:
/// `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out certificate.pem
/// -days 36500 -subj /CN=localhost -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE`
const CERTIFICATE: &[u8] = include_bytes!("localhost/certificate.pem");
const KEY: &[u8] = include_bytes!("localhost/key.pem");

const KIB: usize = 1024;
/// Far longer than anything takes that does not hang.
const LONG: Duration = Duration::from_secs(60);

fn rules(private: bool) -> HttpRules {
    HttpRules { private, response_bytes_max: 64 * KIB, timeout: LONG }
}

fn get(url: impl Into<String>) -> HttpRequest {
    HttpRequest { method: "GET".into(), url: url.into(), ..HttpRequest::default() }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Answers one connection with these bytes, and goes on to read what it is sent.
async fn answering(answer: impl Into<Vec<u8>>) -> SocketAddr {
    let (listener, address) = listen().await;
    let answer = answer.into();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await;
        // Whoever has heard enough hangs up.
        let _ = stream.write_all(&answer).await;
    });
    address
}

async fn head(stream: &mut TcpStream) {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read_buf(&mut read).await.map(|bytes| bytes > 0).ok(), Some(true), "no whole head came");
    }
}

/// Says what it was asked: method, path and query, headers, body.
async fn echo(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
    let service = service_fn(|request: Request<hyper::body::Incoming>| async {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let mut told = format!("{} {}\n", head.method, head.uri);
        for (name, value) in &head.headers {
            told.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
        }
        told.push_str(std::str::from_utf8(&body).unwrap());
        let response = Response::builder().status(201).header("x-from", "echo").body(Full::new(Bytes::from(told)));
        Ok::<_, Infallible>(response.unwrap())
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn fails(client: &Client, request: HttpRequest, rules: &HttpRules) -> HttpError {
    client.send(request, rules).await.unwrap_err()
}

#[tokio::test]
async fn a_request_arrives_as_it_was_made_and_its_answer_comes_back() {
    let (listener, address) = listen().await;
    tokio::spawn(async move { echo(listener.accept().await.unwrap().0).await });
    let request = HttpRequest {
        method: "POST".into(),
        url: format!("http://{address}/v1/a?b=c"),
        headers: vec![("idempotency-key".into(), "k".into()), ("x".into(), "1".into()), ("x".into(), "2".into())],
        body: Bytes::from_static(b"hello"),
        timeout: None,
    };
    let client = Client::new();
    let HttpResponse { status, headers, body } = client.send(request, &rules(true)).await.unwrap();
    let told = String::from_utf8(body.to_vec()).unwrap();
    assert_eq!(status, 201);
    assert!(headers.contains(&("x-from".into(), "echo".into())), "{headers:?}");
    for part in ["POST /v1/a?b=c\n", "idempotency-key: k\n", "x: 1\n", "x: 2\n", "content-length: 5\n", "\nhello"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(told.contains(&format!("host: {address}\n")) && told.contains("user-agent: wasmill/"), "{told}");
}

#[tokio::test]
async fn a_private_address_is_refused_however_it_is_written_and_nothing_is_connected() {
    let (listener, address) = listen().await;
    let (client, port) = (Client::new(), address.port());
    // The last is what the host is told by the system, whatever name stands for it.
    for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "[::1]", "0.0.0.0", "localhost"] {
        let error = fails(&client, get(format!("http://{host}:{port}/")), &rules(false)).await;
        assert_eq!(error.code, code::REFUSED, "{host}: {error}");
        assert!(error.message.contains("not on the public network"), "{host}: {error}");
    }
    assert!(futures_util::FutureExt::now_or_never(listener.accept()).is_none(), "somebody has connected");
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off_while_it_is_read() {
    let client = Client::new();
    let claimed = b"HTTP/1.1 200 OK\r\ncontent-length: 104857600\r\n\r\n".to_vec();
    let mut chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..64 {
        chunked.extend_from_slice(b"8000\r\n");
        chunked.extend_from_slice(&[b'x'; 0x8000]);
        chunked.extend_from_slice(b"\r\n");
    }
    for answer in [claimed, chunked] {
        let address = answering(answer).await;
        let error = fails(&client, get(format!("http://{address}/")), &rules(true)).await;
        assert_eq!(error.code, code::TOO_LARGE, "{error}");
    }
}

#[tokio::test]
async fn a_head_without_end_is_cut_off() {
    let mut answer = b"HTTP/1.1 200 OK\r\n".to_vec();
    for n in 0..100_000 {
        answer.extend_from_slice(format!("x-{n}: y\r\n").as_bytes());
    }
    let address = answering(answer).await;
    let error = fails(&Client::new(), get(format!("http://{address}/")), &rules(true)).await;
    assert_eq!(error.code, code::BROKEN, "{error}");
}

#[tokio::test]
async fn whoever_never_answers_is_given_up() {
    let (listener, address) = listen().await;
    let silent = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await;
        // Until it is hung up on.
        stream.read_to_end(&mut Vec::new()).await
    });
    let short = HttpRules { timeout: Duration::from_millis(50), ..rules(true) };
    let error = fails(&Client::new(), get(format!("http://{address}/")), &short).await;
    assert_eq!(error.code, code::TIMEOUT, "{error}");
    silent.await.unwrap().ok();
}

#[tokio::test]
async fn an_exchange_that_nobody_waits_for_any_more_is_hung_up() {
    let (listener, address) = listen().await;
    let client = Client::new();
    let rules = rules(true);
    let mut asking = Box::pin(client.send(get(format!("http://{address}/")), &rules));
    let (mut stream, _) = tokio::select! {
        accepted = listener.accept() => accepted.unwrap(),
        _ = &mut asking => panic!("it was answered"),
    };
    head(&mut stream).await;
    drop(asking);
    assert!(matches!(stream.read(&mut [0; 16]).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn what_was_sent_is_told_from_what_was_not() {
    let client = Client::new();
    let (listener, address) = listen().await;
    drop(listener);
    let error = fails(&client, get(format!("http://{address}/")), &rules(true)).await;
    assert_eq!(error.code, code::CONNECT, "{error}");
    let error = fails(&client, get("http://no-such-host.invalid/"), &rules(true)).await;
    assert_eq!(error.code, code::CONNECT, "{error}");
    for answer in ["", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", "it is not HTTP\r\n\r\n"] {
        let address = answering(answer).await;
        let error = fails(&client, get(format!("http://{address}/")), &rules(true)).await;
        assert_eq!(error.code, code::BROKEN, "{answer}: {error}");
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let address = answering("HTTP/1.1 302 Found\r\nlocation: http://evil.example/\r\ncontent-length: 0\r\n\r\n").await;
    let response = Client::new().send(get(format!("http://{address}/")), &rules(true)).await.unwrap();
    assert_eq!(response.status, 302);
}

/// Guests' threads have no I/O of their own.
#[tokio::test]
async fn it_may_be_waited_for_on_another_runtime() {
    let address = answering("HTTP/1.1 204 No Content\r\n\r\n").await;
    let client = Client::new();
    let elsewhere = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async { client.send(get(format!("http://{address}/")), &rules(true)).await })
    };
    let response = tokio::task::spawn_blocking(elsewhere).await.unwrap();
    assert_eq!(response.unwrap().status, 204);
}

#[tokio::test]
async fn https_needs_a_certificate_that_is_trusted_for_the_name() {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE).unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate.clone()], key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = acceptor.accept(stream).await {
                tokio::spawn(echo(stream));
            }
        }
    });
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = Client::trusting(Trust::only(roots));
    let at = |host: &str| get(format!("https://{host}:{}/", address.port()));
    let response = client.send(at("localhost"), &rules(true)).await.unwrap();
    assert_eq!(response.status, 201);
    let error = fails(&client, at("127.0.0.1"), &rules(true)).await;
    assert_eq!(error.code, code::CONNECT, "{error}");
    let error = fails(&Client::new(), at("localhost"), &rules(true)).await;
    assert!(error.code == code::CONNECT && error.message.contains("cannot be trusted"), "{error}");
}
