//! Configuration: flags > environment (`WASMILL_*`) > file (`wasmill.toml`) > defaults.
//!
//! Every mistake is reported at once, with where it came from and what would be right, before
//! anything is opened. Nothing here touches the world but the file itself and the token's file.

mod args;
mod parts;
mod settings;
mod sources;
mod value;

pub use args::ServeArgs;
pub use parts::{
    AccessConfig, LogConfig, LogFormat, NetworkConfig, RetentionConfig, ServerConfig, StoreConfig, WasmConfig,
};
pub use settings::{ConfigError, Key, Origin};
pub use sources::Sources;
pub use value::Token;

use settings::Settings;

/// All that the host can be told. Each part belongs to the room that uses it.
#[derive(Clone, Debug)]
pub struct Config {
    pub server: ServerConfig,
    pub access: AccessConfig,
    pub store: StoreConfig,
    pub retention: RetentionConfig,
    pub wasm: WasmConfig,
    pub network: NetworkConfig,
    pub log: LogConfig,
}

impl Config {
    pub fn load(sources: Sources) -> Result<Self, Vec<ConfigError>> {
        let mut settings = Settings::gather(sources);
        let config = Self {
            server: ServerConfig::read(&mut settings),
            access: AccessConfig::read(&mut settings),
            store: StoreConfig::read(&mut settings),
            retention: RetentionConfig::read(&mut settings),
            wasm: WasmConfig::read(&mut settings),
            network: NetworkConfig::read(&mut settings),
            log: LogConfig::read(&mut settings),
        };
        config.check_together(&mut settings);
        settings.finish(config)
    }

    /// Rules that hold between keys.
    fn check_together(&self, settings: &mut Settings) {
        let beyond_loopback = !self.server.listen.ip().is_loopback();
        if beyond_loopback && self.access.token.is_none() && !self.access.insecure {
            settings.refuse(
                &parts::LISTEN,
                format!("{} can be reached from other machines, and no token is configured", self.server.listen),
                "a token (`access.token_file`), an address of this machine such as 127.0.0.1:7400, or --insecure",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, env: &[(&str, &str)], args: ServeArgs) -> Result<Config, Vec<ConfigError>> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("wasmill.toml"), file).unwrap();
        let env = env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Config::load(Sources { args, env, working_dir: dir.path().into() })
    }

    #[test]
    fn nothing_configured_is_a_host_on_loopback() {
        let config = load("", &[], ServeArgs::default()).unwrap();
        assert_eq!(config.server.listen.to_string(), "127.0.0.1:7400");
        assert_eq!(config.store.data_dir.to_str(), Some("./wasmill-data"));
        assert!(config.access.token.is_none() && config.access.allowed_origins.is_empty());
    }

    #[test]
    fn flags_beat_environment_beats_file() {
        let file = "[server]\nlisten = '127.0.0.1:1'\ndrain_timeout = '1s'\n[log]\nlevel = 'warn'\n";
        let env = [("WASMILL_LISTEN", "127.0.0.1:2"), ("WASMILL_DRAIN_TIMEOUT", "2s")];
        let args = ServeArgs { listen: Some("127.0.0.1:3".into()), ..ServeArgs::default() };
        let config = load(file, &env, args).unwrap();
        assert_eq!(config.server.listen.port(), 3);
        assert_eq!(config.server.drain_timeout.as_secs(), 2);
        assert_eq!(config.log.level, "warn");
    }

    #[test]
    fn every_mistake_is_reported_at_once_with_its_origin() {
        let file = "colour = 1\n[wasm]\nmemory_limit = '64 apples'\nmemory_limits = '1MiB'\n[server]\nlisten = 7\n";
        let env = [("WASMILL_CALL_DEADLINE", "soon"), ("WASMILL_LOG_FORMAT", "xml")];
        let args = ServeArgs { readers: Some("0".into()), ..ServeArgs::default() };
        let errors: Vec<String> = load(file, &env, args).unwrap_err().iter().map(ToString::to_string).collect();
        let has = |parts: &[&str]| {
            assert!(errors.iter().any(|error| parts.iter().all(|part| error.contains(part))), "{parts:?}: {errors:#?}");
        };
        has(&["colour", "wasmill.toml", "no such key"]);
        has(&["wasm.memory_limits", "wasm.memory_limit"]);
        has(&["wasm.memory_limit", "64 apples", "64MiB"]);
        has(&["server.listen", "`7`", "127.0.0.1:7400"]);
        has(&["wasm.call_deadline", "WASMILL_CALL_DEADLINE", "soon", "250ms"]);
        has(&["log.format", "xml", "json"]);
        has(&["store.readers", "--readers", "1 to"]);
        assert_eq!(errors.len(), 7, "{errors:#?}");
    }

    #[test]
    fn retention_may_be_kept_to_a_part_of_the_day() {
        let config = load("[retention]\nwindow = '22:30-04:00'\nevery = '5min'\n", &[], ServeArgs::default()).unwrap();
        assert_eq!((config.retention.0.every.as_secs(), config.retention.0.window.is_some()), (300, true));
        for wrong in ["25:00-01:00", "1-2", "01:00", "01:00-01:60"] {
            let errors = load("", &[("WASMILL_RETENTION_WINDOW", wrong)], ServeArgs::default()).unwrap_err();
            assert!(errors[0].to_string().contains("01:00-05:30"), "{errors:?}");
        }
    }

    #[test]
    fn private_hosts_are_hosts() {
        let env = [("WASMILL_PRIVATE_HOSTS", "partner.internal, 10.0.0.7,*.lan"), ("WASMILL_SECRET_KEY", "geheim")];
        let config = load("", &env, ServeArgs::default()).unwrap();
        assert_eq!(config.network.private_hosts, ["partner.internal", "10.0.0.7", "*.lan"]);
        assert!(!format!("{config:?}").contains("geheim"));
        let errors = load("[network]\nprivate_hosts = ['http://a']\n", &[], ServeArgs::default()).unwrap_err();
        assert!(errors[0].to_string().contains("without scheme"), "{errors:?}");
    }

    #[test]
    fn beyond_loopback_needs_a_token() {
        let args = ServeArgs { listen: Some("0.0.0.0:7400".into()), ..ServeArgs::default() };
        let errors = load("", &[], args.clone()).unwrap_err();
        assert!(errors[0].to_string().contains("token"), "{errors:?}");
        assert!(load("", &[("WASMILL_TOKEN", "0123456789abcdef")], args.clone()).is_ok());
        assert!(load("", &[], ServeArgs { insecure: true, ..args }).is_ok());
    }

    #[test]
    fn a_token_is_never_printed() {
        let config = load("", &[("WASMILL_TOKEN", "0123456789abcdef")], ServeArgs::default()).unwrap();
        assert!(!format!("{config:?}").contains("0123456789"));
        let errors = load("", &[("WASMILL_TOKEN", "geheim")], ServeArgs::default()).unwrap_err();
        assert!(!errors[0].to_string().contains("geheim"), "{}", errors[0]);
    }

    #[test]
    fn a_file_that_was_named_has_to_be_there() {
        let args = ServeArgs { config: Some("elsewhere.toml".into()), ..ServeArgs::default() };
        let errors = load("", &[], args).unwrap_err();
        assert!(errors[0].to_string().contains("elsewhere.toml"), "{errors:?}");
    }

    #[test]
    fn a_file_that_is_not_toml_is_pointed_into() {
        let errors = load("[server\nlisten = 1", &[], ServeArgs::default()).unwrap_err();
        assert!(errors[0].to_string().contains("line 1"), "{}", errors[0]);
    }
}
