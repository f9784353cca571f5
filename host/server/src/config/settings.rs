//! What the sources say about each key, and all that is wrong with it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use super::sources::Sources;
use super::value::Value;

/// One thing that can be configured, with its name in each source.
#[derive(Debug)]
pub struct Key {
    /// Section and name in the file, such as `server.listen`.
    pub path: &'static str,
    pub flag: &'static str,
    pub env: &'static str,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Flag(&'static str),
    Environment(&'static str),
    File(String),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag(flag) => write!(f, "flag {flag}"),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::File(path) => write!(f, "file {path}"),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} ({origin}): {problem}; give {expected}")]
pub struct ConfigError {
    pub key: String,
    pub origin: Origin,
    /// What is wrong.
    pub problem: String,
    /// What would be right.
    pub expected: String,
}

/// The strongest value of each key, not yet understood.
#[derive(Debug, Default)]
pub(super) struct Settings {
    values: BTreeMap<&'static str, (Origin, Vec<String>)>,
    errors: Vec<ConfigError>,
}

impl Settings {
    pub(super) fn gather(sources: Sources) -> Self {
        let mut settings = Self::default();
        // From weak to strong, so that the stronger replaces.
        match sources.read_file() {
            Ok(Some(file)) => settings.take_file(&file.name, file.table),
            Ok(None) => {}
            Err(error) => settings.errors.push(error),
        }
        for key in super::parts::KEYS {
            if let Some(text) = sources.env.get(key.env) {
                settings.values.insert(key.path, (Origin::Environment(key.env), vec![text.clone()]));
            }
            let flags = sources.args.texts(key);
            if !flags.is_empty() {
                settings.values.insert(key.path, (Origin::Flag(key.flag), flags));
            }
        }
        settings
    }

    fn take_file(&mut self, file: &str, table: toml::Table) {
        let origin = || Origin::File(file.to_owned());
        for (path, value) in flatten(table) {
            let Some(key) = super::parts::KEYS.iter().find(|key| key.path == path) else {
                self.errors.push(unknown(path, origin()));
                continue;
            };
            match texts(&value) {
                Some(texts) => drop(self.values.insert(key.path, (origin(), texts))),
                None => self.errors.push(ConfigError {
                    key: path,
                    origin: origin(),
                    problem: format!("a {} stands where a plain value belongs", value.type_str()),
                    expected: "a text, a number, true or false".into(),
                }),
            }
        }
    }

    /// The value of a key, or its default where nothing is said, or something wrong.
    pub(super) fn value<T: Value>(&mut self, key: &Key, default: T) -> T {
        self.optional(key).unwrap_or(default)
    }

    pub(super) fn optional<T: Value>(&mut self, key: &Key) -> Option<T> {
        let (_, texts) = self.values.get(key.path)?;
        match T::from_texts(texts) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.refuse(key, problem, T::EXPECTED);
                None
            }
        }
    }

    /// A value with bounds.
    pub(super) fn within<T: Value + PartialOrd + fmt::Display>(
        &mut self,
        key: &Key,
        default: T,
        range: RangeInclusive<T>,
    ) -> T {
        match self.optional(key) {
            Some(value) if !range.contains(&value) => {
                let expected = format!("{} to {}", range.start(), range.end());
                self.refuse(key, format!("{value} is out of range"), expected);
                default
            }
            value => value.unwrap_or(default),
        }
    }

    pub(super) fn refuse(&mut self, key: &Key, problem: impl Into<String>, expected: impl Into<String>) {
        let origin = self.values.get(key.path).map_or(Origin::Default, |(origin, _)| origin.clone());
        let (problem, expected) = (problem.into(), expected.into());
        self.errors.push(ConfigError { key: key.path.into(), origin, problem, expected });
    }

    pub(super) fn finish<T>(self, config: T) -> Result<T, Vec<ConfigError>> {
        if self.errors.is_empty() { Ok(config) } else { Err(self.errors) }
    }
}

/// The table's values by dotted path.
fn flatten(table: toml::Table) -> Vec<(String, toml::Value)> {
    let mut flat = Vec::new();
    for (name, value) in table {
        match value {
            toml::Value::Table(section) => {
                let section = flatten(section).into_iter();
                flat.extend(section.map(|(path, value)| (format!("{name}.{path}"), value)));
            }
            value => flat.push((name, value)),
        }
    }
    flat
}

fn texts(value: &toml::Value) -> Option<Vec<String>> {
    match value {
        toml::Value::String(text) => Some(vec![text.clone()]),
        toml::Value::Integer(number) => Some(vec![number.to_string()]),
        toml::Value::Boolean(truth) => Some(vec![truth.to_string()]),
        toml::Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

fn unknown(path: String, origin: Origin) -> ConfigError {
    let name = path.rsplit('.').next().unwrap_or_default();
    let similar = |key: &&Key| {
        let known = key.path.rsplit('.').next().unwrap_or_default();
        known == name || known.starts_with(name) || name.starts_with(known)
    };
    let expected = match super::parts::KEYS.iter().copied().find(similar) {
        Some(key) => format!("`{}`, if that is meant", key.path),
        None => format!("one of {}", super::parts::KEYS.iter().map(|key| key.path).collect::<Vec<_>>().join(", ")),
    };
    ConfigError { key: path, origin, problem: "there is no such key".into(), expected }
}
