//! How every command reaches a host: over gRPC, like any other client.

use std::fmt;
use std::time::Duration;

use clap::Args;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::COMMON_OPTIONS;
use super::exit::{Exit, Failure};
use super::table::quoted;
use crate::proto::group_service_client::GroupServiceClient;
use crate::proto::log_service_client::LogServiceClient;
use crate::proto::plugin_service_client::PluginServiceClient;
use crate::proto::projection_service_client::ProjectionServiceClient;
use crate::proto::queue_service_client::QueueServiceClient;
use crate::proto::receipt_service_client::ReceiptServiceClient;
use crate::proto::replay_service_client::ReplayServiceClient;
use crate::proto::saga_service_client::SagaServiceClient;
use crate::proto::schedule_service_client::ScheduleServiceClient;
use crate::proto::schema_service_client::SchemaServiceClient;
use crate::proto::stream_service_client::StreamServiceClient;

pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:7400";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A page of a read is closed at 1 MiB; one event of the largest size may stand above it.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// What may be under way before it is read: enough for a page or two of a fast read over one stream.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Which host, and by what right.
#[derive(Args, Clone, Debug)]
pub(crate) struct Remote {
    /// The host's address
    #[arg(long, env = "WASMILL_URL", default_value = DEFAULT_URL, value_name = "URL",
          help_heading = COMMON_OPTIONS, display_order = 901)]
    pub url: String,
    /// The token that the host asks for
    #[arg(long, env = "WASMILL_TOKEN", hide_env_values = true, value_name = "TOKEN",
          help_heading = COMMON_OPTIONS, display_order = 902)]
    pub token: Option<Token>,
}

/// A secret that is sent and never shown, not even when it is wrong: so any text is one until it is used.
#[derive(Clone)]
pub(crate) struct Token(String);

impl From<&str> for Token {
    fn from(token: &str) -> Self {
        Self(token.to_owned())
    }
}

impl Token {
    fn bearer(&self) -> Result<MetadataValue<Ascii>, Failure> {
        let wrong = |_| Failure::usage("--token: a token consists of visible ASCII characters");
        let mut value: MetadataValue<Ascii> = format!("Bearer {}", self.0).parse().map_err(wrong)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

/// Puts the token on every call.
#[derive(Clone, Debug)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

pub(crate) type Connection = InterceptedService<Channel, Bearer>;

/// One connection to a host. Clones share it.
#[derive(Clone)]
pub(crate) struct Client {
    connection: Connection,
}

impl Remote {
    /// For a host on this machine.
    pub(crate) fn local(address: std::net::SocketAddr) -> Self {
        Self { url: format!("http://{address}"), token: None }
    }

    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        let bearer = self.token.as_ref().map(Token::bearer).transpose()?;
        let channel = self.endpoint()?.connect().await.map_err(|error| self.unreachable(&error))?;
        Ok(Client { connection: InterceptedService::new(channel, Bearer(bearer)) })
    }

    fn endpoint(&self) -> Result<Endpoint, Failure> {
        let wrong = |why: &str| Failure::usage(format!("--url {}: {why}", quoted(&self.url)));
        let url = match self.url.split_once("://") {
            Some(("http", _)) => self.url.clone(),
            Some(("https", _)) => {
                return Err(wrong("this client speaks plain http; let a proxy on this machine add TLS"));
            }
            Some(_) => return Err(wrong("not an http URL")),
            None => format!("http://{}", self.url),
        };
        let endpoint = Endpoint::from_shared(url).map_err(|_| wrong("not a URL such as http://127.0.0.1:7400"))?;
        if !matches!(endpoint.uri().path(), "" | "/") {
            return Err(wrong("give it without a path; a host answers at the root only"));
        }
        Ok(endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES))
    }

    fn unreachable(&self, error: &tonic::transport::Error) -> Failure {
        let mut cause: &dyn std::error::Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        let message = format!("no host answers at {}: {cause}", self.url);
        Failure { retryable: true, ..Failure::new(Exit::Unreachable, "unreachable", message) }
            .with_help("start one with `wasmill serve`, or say where it is with --url or WASMILL_URL")
    }
}

impl Client {
    pub(crate) fn log(&self) -> LogServiceClient<Connection> {
        LogServiceClient::new(self.connection.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn streams(&self) -> StreamServiceClient<Connection> {
        StreamServiceClient::new(self.connection.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn groups(&self) -> GroupServiceClient<Connection> {
        GroupServiceClient::new(self.connection.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn queues(&self) -> QueueServiceClient<Connection> {
        QueueServiceClient::new(self.connection.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn schedules(&self) -> ScheduleServiceClient<Connection> {
        ScheduleServiceClient::new(self.connection.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn schemas(&self) -> SchemaServiceClient<Connection> {
        SchemaServiceClient::new(self.connection.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn receipts(&self) -> ReceiptServiceClient<Connection> {
        ReceiptServiceClient::new(self.connection.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn replays(&self) -> ReplayServiceClient<Connection> {
        ReplayServiceClient::new(self.connection.clone())
    }

    pub(crate) fn sagas(&self) -> SagaServiceClient<Connection> {
        SagaServiceClient::new(self.connection.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn plugins(&self) -> PluginServiceClient<Connection> {
        PluginServiceClient::new(self.connection.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn projections(&self) -> ProjectionServiceClient<Connection> {
        ProjectionServiceClient::new(self.connection.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_shown() {
        let remote = Remote { url: String::new(), token: Some("s3cret".into()) };
        let bearer = remote.token.as_ref().unwrap().bearer().unwrap();
        assert!(!format!("{remote:?} {:?}", Bearer(Some(bearer))).contains("s3cret"));
        let failure = Token::from("s3cret\nline").bearer().unwrap_err();
        assert!(failure.exit == Exit::Usage && !failure.to_text().contains("s3cret"));
    }

    #[test]
    fn a_url_that_cannot_work_is_a_usage_error() {
        let exit = |url: &str| Remote { url: url.into(), token: None }.endpoint().err().map(|failure| failure.exit);
        assert_eq!(exit("127.0.0.1:7400"), None);
        assert_eq!(exit("http://localhost:7400"), None);
        assert_eq!(exit("https://example.org"), Some(Exit::Usage));
        assert_eq!(exit("ftp://example.org"), Some(Exit::Usage));
        assert_eq!(exit("http://a b"), Some(Exit::Usage));
        assert_eq!(exit("http://localhost:7400/api"), Some(Exit::Usage));
        assert_eq!(exit(""), Some(Exit::Usage));
    }
}
