//! `log`: the plugin's own log. It never fails, and a flood is counted and dropped.

use wasmill_core::plugin::log::Level;

use crate::sandbox::Sandbox;
use crate::worlds::v0_1::bindings::wasmill::plugin::log::{Attributes, Host, Level as GuestLevel};

impl Host for Sandbox {
    fn write(&mut self, level: GuestLevel, message: String, fields: Attributes) -> wasmtime::Result<()> {
        let level = match level {
            GuestLevel::Trace => Level::Trace,
            GuestLevel::Debug => Level::Debug,
            GuestLevel::Info => Level::Info,
            GuestLevel::Warn => Level::Warn,
            GuestLevel::Error => Level::Error,
        };
        self.voice.say(level, &message, fields);
        Ok(())
    }
}
