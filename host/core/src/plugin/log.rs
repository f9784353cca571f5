//! What plugins say: the newest lines of each, bounded, and the same lines in the host's log.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::clock::Timestamp;
use crate::limits::plugin::{LOG_LINE_BYTES_MAX, LOG_LINES_MAX, LOG_LINES_PER_CALL_MAX};
use crate::log_id;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl Level {
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Counts the plugin's lines since the host started, dropped ones included.
    pub number: u64,
    pub time: Timestamp,
    pub level: Level,
    pub message: String,
    pub fields: Vec<(String, String)>,
}

/// The log of one plugin: a ring of its newest lines.
#[derive(Debug)]
pub struct PluginLog {
    plugin: String,
    ring: Mutex<Ring>,
    /// How many lines were ever written: what wakes those who follow.
    written: watch::Sender<u64>,
    /// Where its lines go as well.
    whole: Option<Arc<PluginLog>>,
}

#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<LogLine>,
    written: u64,
    in_call: usize,
    dropped_in_call: usize,
    /// Of all calls, since somebody has asked.
    dropped: u64,
}

impl PluginLog {
    pub fn new(plugin: impl Into<String>) -> Self {
        Self { plugin: plugin.into(), ring: Mutex::default(), written: watch::Sender::new(0), whole: None }
    }

    /// The log of one of several instances that run at the same time. Its lines are lines of `whole` too.
    pub(crate) fn of_instance(whole: Arc<PluginLog>) -> Self {
        Self { whole: Some(Arc::clone(&whole)), ..Self::new(whole.plugin.clone()) }
    }

    /// A call begins: its allowance of lines is whole again.
    pub fn begin_call(&self, now: Timestamp) {
        let dropped = {
            let mut ring = self.ring();
            ring.in_call = 0;
            std::mem::take(&mut ring.dropped_in_call)
        };
        if dropped > 0 {
            let message =
                format!("{dropped} lines of one call were dropped; a call may write {LOG_LINES_PER_CALL_MAX}");
            self.push(now, Level::Warn, message, Vec::new());
        }
    }

    /// Takes a line of the guest; too long ones are cut, too many in one call are counted and dropped.
    pub fn write(&self, now: Timestamp, level: Level, message: &str, fields: Vec<(String, String)>) {
        {
            let mut ring = self.ring();
            ring.in_call += 1;
            if ring.in_call > LOG_LINES_PER_CALL_MAX {
                ring.dropped_in_call += 1;
                ring.dropped += 1;
                return;
            }
        }
        let mut room = LOG_LINE_BYTES_MAX;
        let message = cut(message, &mut room);
        let fields = fields.into_iter().map(|(name, value)| (cut(&name, &mut room), cut(&value, &mut room)));
        let fields = fields.take_while(|(name, _)| !name.is_empty()).collect();
        self.push(now, level, message, fields);
    }

    /// Lines that were dropped since this was asked last.
    pub(crate) fn take_dropped(&self) -> u64 {
        std::mem::take(&mut self.ring().dropped)
    }

    fn push(&self, time: Timestamp, level: Level, message: String, fields: Vec<(String, String)>) {
        match &self.whole {
            Some(whole) => whole.push(time, level, message.clone(), fields.clone()),
            None => tracing::debug!(
                event_id = log_id::PLUGIN_LOG_LINE,
                plugin = self.plugin,
                plugin_level = level.as_str(),
                ?fields,
                "{message}"
            ),
        }
        let mut ring = self.ring();
        let number = ring.written;
        ring.written += 1;
        if ring.lines.len() == LOG_LINES_MAX {
            ring.lines.pop_front();
        }
        ring.lines.push_back(LogLine { number, time, level, message, fields });
        self.written.send_replace(number + 1);
    }

    /// The newest `limit` lines of at least `level`, oldest first.
    pub fn tail(&self, limit: usize, level: Level) -> Vec<LogLine> {
        let ring = self.ring();
        let mut lines: Vec<_> = ring.lines.iter().rev().filter(|l| l.level >= level).take(limit).cloned().collect();
        lines.reverse();
        lines
    }

    /// Lines from number `from` on that are still here, of at least `level`, oldest first and `limit` at most;
    /// and the number to go on from. A number that was not reached yet is of another life of the host.
    pub fn since(&self, from: u64, level: Level, limit: usize) -> (Vec<LogLine>, u64) {
        let ring = self.ring();
        let from = if from > ring.written { 0 } else { from };
        let wanted = ring.lines.iter().filter(|line| line.number >= from && line.level >= level);
        let lines: Vec<LogLine> = wanted.take(limit).cloned().collect();
        let next = match lines.last() {
            Some(last) if lines.len() == limit => last.number + 1,
            _ => ring.written,
        };
        (lines, next)
    }

    /// The number that the next line gets.
    pub(crate) fn next_number(&self) -> u64 {
        self.ring().written
    }

    /// Resolves when there is a line with the number `next` or above.
    pub async fn written(&self, next: u64) {
        let mut written = self.written.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = written.wait_for(|written| *written > next).await;
    }

    fn ring(&self) -> std::sync::MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn cut(text: &str, room: &mut usize) -> String {
    let mut end = text.len().min(*room);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    *room -= end;
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_dropped() {
        let log = PluginLog::new("p");
        log.begin_call(Timestamp(0));
        for _ in 0..LOG_LINES_PER_CALL_MAX + 5 {
            log.write(Timestamp(1), Level::Info, "é".repeat(LOG_LINE_BYTES_MAX).as_str(), vec![]);
        }
        log.begin_call(Timestamp(2));
        let lines = log.tail(usize::MAX, Level::Trace);
        assert_eq!(lines.len(), LOG_LINES_PER_CALL_MAX + 1);
        assert!(lines[0].message.len() <= LOG_LINE_BYTES_MAX);
        assert!(lines[LOG_LINES_PER_CALL_MAX].message.starts_with("5 lines"));
        assert_eq!(log.tail(10, Level::Warn).len(), 1);
    }

    #[tokio::test]
    async fn a_follower_gets_every_line_that_is_still_there_once() {
        let log = PluginLog::new("p");
        let write = |n: usize| {
            log.begin_call(Timestamp(0));
            let level = if n.is_multiple_of(2) { Level::Info } else { Level::Warn };
            log.write(Timestamp(0), level, &n.to_string(), vec![]);
        };
        let numbers =
            |(lines, next): (Vec<LogLine>, u64)| (lines.iter().map(|line| line.number).collect::<Vec<_>>(), next);
        (0..5).for_each(write);
        assert_eq!(numbers(log.since(0, Level::Trace, 2)), (vec![0, 1], 2));
        assert_eq!(numbers(log.since(2, Level::Warn, 10)), (vec![3], 5));
        assert_eq!(numbers(log.since(5, Level::Trace, 10)), (vec![], 5));
        // From before a restart of the host.
        assert_eq!(numbers(log.since(77, Level::Trace, 10)), (vec![0, 1, 2, 3, 4], 5));
        let (waiting, ()) = tokio::join!(log.written(5), async { write(5) });
        assert_eq!((waiting, numbers(log.since(5, Level::Trace, 10))), ((), (vec![5], 6)));
        (0..LOG_LINES_MAX).for_each(write);
        assert_eq!(log.since(0, Level::Trace, 1).0[0].number, 6);
    }
}
