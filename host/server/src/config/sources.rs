//! Where configuration comes from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::ServeArgs;
use super::settings::{ConfigError, Origin};

/// Read when it is there and no other file was named.
const DEFAULT_FILE: &str = "wasmill.toml";
const FILE_ENV: &str = "WASMILL_CONFIG";

#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub args: ServeArgs,
    /// The whole environment. Names that are not ours are left alone, `WASMILL_`s included: container
    /// platforms set `WASMILL_PORT` and the like beside a service of that name.
    pub env: BTreeMap<String, String>,
    /// Where `wasmill.toml` is looked for.
    pub working_dir: PathBuf,
}

pub(super) struct File {
    pub(super) name: String,
    pub(super) table: toml::Table,
}

impl Sources {
    /// Those of this process.
    pub fn of_process(args: ServeArgs) -> Self {
        let env =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self { args, env: env.collect(), working_dir: PathBuf::from(".") }
    }

    pub(super) fn read_file(&self) -> Result<Option<File>, ConfigError> {
        let from_env = || self.env.get(FILE_ENV).map(|path| (PathBuf::from(path), Origin::Environment(FILE_ENV)));
        let from_flag = self.args.config.as_ref().map(|path| (path.clone(), Origin::Flag("--config")));
        let named = from_flag.or_else(from_env);
        let must_exist = named.is_some();
        let (path, origin) = named.unwrap_or_else(|| (DEFAULT_FILE.into(), Origin::Default));
        let name = path.display().to_string();
        let text = match std::fs::read_to_string(self.working_dir.join(&path)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => return Ok(None),
            Err(error) => {
                let problem = format!("the file {name} cannot be read: {error}");
                let expected = "a TOML file that can be read".into();
                return Err(ConfigError { key: "config".into(), origin, problem, expected });
            }
        };
        match text.parse::<toml::Table>() {
            Ok(table) => Ok(Some(File { name, table })),
            Err(error) => {
                let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
                let problem = format!("line {line} is not TOML: {}", error.message());
                Err(ConfigError { key: "config".into(), origin: Origin::File(name), problem, expected: "TOML".into() })
            }
        }
    }
}
