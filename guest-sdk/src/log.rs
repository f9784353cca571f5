//! The plugin's log. Writing never fails; the host adds plugin, revision and event, and caps rate and
//! length.

use crate::host;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// Writes a line with fields, which can be searched for one by one.
pub fn write(level: Level, message: &str, fields: &[(&str, &str)]) {
    host::log_write(level, message, fields);
}

pub fn trace(message: &str) {
    write(Level::Trace, message, &[]);
}

pub fn debug(message: &str) {
    write(Level::Debug, message, &[]);
}

pub fn info(message: &str) {
    write(Level::Info, message, &[]);
}

pub fn warn(message: &str) {
    write(Level::Warn, message, &[]);
}

pub fn error(message: &str) {
    write(Level::Error, message, &[]);
}
