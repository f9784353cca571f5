//! The guest's stdout and stderr: lines of its plugin's log, and its last words when it crashes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmill_core::limits::plugin::LOG_LINE_BYTES_MAX;
use wasmill_core::plugin::log::Level;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::voice::Voice;

/// What the guest may hand over at once; WASI asks for something of this order.
const WRITE_BYTES_MAX: usize = 64 * 1024;
/// A panic message of Rust, a traceback's end of Python.
const LAST_WORDS_LINES_MAX: usize = 4;
const LAST_WORDS_LINE_BYTES_MAX: usize = 200;

#[derive(Clone)]
pub(crate) struct Output {
    stdout: Arc<Mutex<Lines>>,
    stderr: Arc<Mutex<Lines>>,
}

impl Output {
    pub(crate) fn new(voice: Voice) -> Self {
        let lines = |level| Arc::new(Mutex::new(Lines::new(level, voice.clone())));
        Self { stdout: lines(Level::Info), stderr: lines(Level::Warn) }
    }

    pub(super) fn stdout(&self) -> Stream {
        Stream(Arc::clone(&self.stdout))
    }

    pub(super) fn stderr(&self) -> Stream {
        Stream(Arc::clone(&self.stderr))
    }

    pub(crate) fn begin_call(&self) {
        lock(&self.stderr).last.clear();
    }

    /// A line that was not finished belongs to the call that began it.
    pub(crate) fn end_call(&self) {
        for lines in [&self.stdout, &self.stderr] {
            lock(lines).finish_line();
        }
    }

    /// The end of what this call wrote to stderr.
    pub(crate) fn last_words(&self) -> String {
        let lines = lock(&self.stderr);
        lines.last.iter().map(String::as_str).collect::<Vec<_>>().join(" / ")
    }
}

fn lock(lines: &Mutex<Lines>) -> std::sync::MutexGuard<'_, Lines> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Lines {
    level: Level,
    voice: Voice,
    /// The line so far, at most as long as the log would take it; the rest of it is dropped.
    unfinished: Vec<u8>,
    last: VecDeque<String>,
}

impl Lines {
    fn new(level: Level, voice: Voice) -> Self {
        Self { level, voice, unfinished: Vec::new(), last: VecDeque::new() }
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.extend(&rest[..end]);
            self.finish_line();
            rest = &rest[end + 1..];
        }
        self.extend(rest);
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = LOG_LINE_BYTES_MAX - self.unfinished.len();
        self.unfinished.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn finish_line(&mut self) {
        let line = String::from_utf8_lossy(&self.unfinished);
        let line = line.trim_end();
        if !line.is_empty() {
            self.voice.say(self.level, line, Vec::new());
            if self.last.len() == LAST_WORDS_LINES_MAX {
                self.last.pop_front();
            }
            self.last.push_back(line.chars().take(LAST_WORDS_LINE_BYTES_MAX).collect());
        }
        self.unfinished.clear();
    }
}

/// Never waits: the log takes or drops each line at once.
#[derive(Clone)]
pub(super) struct Stream(Arc<Mutex<Lines>>);

impl OutputStream for Stream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        lock(&self.0).write(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

#[async_trait::async_trait]
impl Pollable for Stream {
    async fn ready(&mut self) {}
}

impl IsTerminal for Stream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stream {
    /// WASI 0.3 would ask for this one; 0.2 never does.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use wasmill_core::clock::ManualClock;
    use wasmill_core::plugin::log::PluginLog;

    use super::*;

    #[test]
    fn output_becomes_lines_however_it_is_cut() {
        let log = Arc::new(PluginLog::new("p"));
        let output = Output::new(Voice::new(Some(Arc::clone(&log)), Arc::new(ManualClock::default())));
        let (mut stdout, mut stderr) = (output.stdout(), output.stderr());
        for piece in ["one\ntw", "o\r\n\nthr", "ee"] {
            stdout.write(Bytes::from(piece)).unwrap();
        }
        stderr.write(Bytes::from(vec![b'x'; 3 * LOG_LINE_BYTES_MAX])).unwrap();
        output.end_call();
        let lines = log.tail(10, Level::Trace);
        let said: Vec<_> = lines.iter().map(|line| (line.level, line.message.as_str())).collect();
        let long = "x".repeat(LOG_LINE_BYTES_MAX);
        let info = |text| (Level::Info, text);
        assert_eq!(said, [info("one"), info("two"), info("three"), (Level::Warn, long.as_str())]);
        assert_eq!(output.last_words(), "x".repeat(LAST_WORDS_LINE_BYTES_MAX));
    }
}
