//! A host inside this process.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::cli::client::{Client, Remote};
use crate::cli::exit::{Exit, Failure};
use crate::config::{Config, ServeArgs, Sources};
use crate::proto::GetLogRequest;
use crate::serve;

/// The host migrates its database and compiles plugins before it answers.
const START_TIMEOUT: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_millis(5);

pub(crate) struct OwnHost {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), Failure>>,
}

/// Binds `wanted`, or else `usual`, or else, if that is taken or not cared for, any free port.
pub(crate) async fn listen(wanted: Option<SocketAddr>, usual: SocketAddr, any: bool) -> Result<TcpListener, Failure> {
    let bind = |address| async move {
        let bound = TcpListener::bind(address).await;
        bound.map_err(|error| Failure::failed("listen", format!("cannot listen on {address}: {error}")))
    };
    let free = SocketAddr::new(usual.ip(), 0);
    match wanted {
        Some(address) => bind(address).await,
        None if any => bind(free).await,
        None => match bind(usual).await {
            Ok(listener) => Ok(listener),
            Err(_) => bind(free).await,
        },
    }
}

impl OwnHost {
    /// A host with nothing configured but its place: neither the environment nor a file is looked at.
    pub(crate) fn start(listener: TcpListener, data_dir: &Path, working_dir: &Path) -> Result<Self, Failure> {
        let address = listener.local_addr().map_err(|error| Failure::failed("listen", error.to_string()))?;
        let args = ServeArgs {
            listen: Some(address.to_string()),
            data_dir: Some(data_dir.display().to_string()),
            log_level: Some("warn".into()),
            log_format: Some("text".into()),
            ..ServeArgs::default()
        };
        let sources = Sources { args, env: Default::default(), working_dir: working_dir.into() };
        let config = Config::load(sources).map_err(|errors| {
            let message: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Failure::new(Exit::Configuration, "configuration", message.join("; "))
        })?;
        crate::telemetry::init(&config.log);
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            // A sender that is gone asks for a stop, too.
            let _ = stopped.await;
        };
        let running = serve::run(listener, config, shutdown);
        let failed = |error| Failure::failed("serve", wasmill_core::tasks::chain(&error));
        let task = tokio::spawn(async move { running.await.map_err(failed) });
        Ok(Self { address, stop, task })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connects once the host has started.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        let unreachable = || Failure::new(Exit::Unreachable, "unreachable", "the host does not start");
        let remote = Remote::local(self.address);
        let connected = tokio::time::timeout(START_TIMEOUT, async {
            while !self.task.is_finished() {
                if let Ok(client) = remote.connect().await
                    && client.log().get_log(GetLogRequest {}).await.is_ok()
                {
                    return Ok(client);
                }
                tokio::time::sleep(RETRY).await;
            }
            Err(unreachable())
        });
        connected.await.unwrap_or_else(|_| Err(unreachable()))
    }

    pub(crate) async fn stop(self) -> Result<(), Failure> {
        // A host that has ended already is asked in vain.
        let _ = self.stop.send(());
        self.task.await.unwrap_or_else(|error| Err(Failure::failed("serve", error.to_string())))
    }
}
