//! Lines into appends: events of one stream that stand near each other become one append.
//!
//! The order within a stream is kept exactly, the order between streams nearly: an event moves forward
//! by fewer lines than the window is wide, so with a window of 1 not at all. Pure.

use std::collections::{HashMap, VecDeque};

use prost::Message as _;
use wasmill_core::limits::publish::{APPEND_BYTES_MAX, APPEND_EVENTS_MAX};

use super::lines::Parsed;
use crate::proto::NewEvent;

/// Events of one stream, in the order of their lines.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Append {
    pub stream: String,
    pub events: Vec<NewEvent>,
    /// The line of each event.
    pub lines: Vec<u64>,
}

/// How lines are grouped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grouping {
    /// Events of an append.
    pub append_events_max: usize,
    /// Encoded events of an append. The host's own limit, less what it counts besides.
    pub append_bytes_max: usize,
    /// Lines that an append may wait for more events of its stream, once there are others behind it.
    pub window_lines: u64,
    /// Encoded events that wait altogether: the memory that this takes.
    pub window_bytes_max: usize,
}

impl Default for Grouping {
    fn default() -> Self {
        Self {
            append_events_max: APPEND_EVENTS_MAX,
            append_bytes_max: APPEND_BYTES_MAX / 4,
            window_lines: 4_096,
            window_bytes_max: 16 << 20,
        }
    }
}

#[derive(Debug, Default)]
struct Open {
    append: Append,
    bytes: usize,
}

/// Appends that are being put together, in the order of their first lines.
#[derive(Debug)]
pub(crate) struct Grouper {
    grouping: Grouping,
    waiting: VecDeque<Open>,
    /// How many have left `waiting`: an append's number less this is its place there.
    left: usize,
    /// Number of the append that takes the next event of a stream.
    open: HashMap<String, usize>,
    bytes: usize,
    line: u64,
}

impl Grouper {
    pub(crate) fn new(grouping: Grouping) -> Self {
        Self { grouping, waiting: VecDeque::new(), left: 0, open: HashMap::new(), bytes: 0, line: 0 }
    }

    pub(crate) fn push(&mut self, parsed: Parsed) {
        let bytes = parsed.event.encoded_len() + parsed.stream.len();
        self.line = parsed.line;
        self.bytes += bytes;
        let open = self.place(&parsed.stream, bytes);
        open.bytes += bytes;
        open.append.events.push(parsed.event);
        open.append.lines.push(parsed.line);
    }

    /// The append of `stream` that has room, or a new one at the end.
    fn place(&mut self, stream: &str, bytes: usize) -> &mut Open {
        if let Some(number) = self.open.get(stream) {
            let index = number - self.left;
            let open = &self.waiting[index];
            let full = open.append.events.len() >= self.grouping.append_events_max;
            if !full && open.bytes + bytes <= self.grouping.append_bytes_max {
                return &mut self.waiting[index];
            }
        }
        self.open.insert(stream.to_owned(), self.left + self.waiting.len());
        let append = Append { stream: stream.to_owned(), ..Append::default() };
        self.waiting.push_back(Open { append, bytes: 0 });
        self.waiting.back_mut().expect("it was just put there")
    }

    /// The next append that has waited long enough.
    pub(crate) fn pop_ready(&mut self) -> Option<Append> {
        let first_line = *self.waiting.front()?.append.lines.first()?;
        // The last one can take events without overtaking any.
        let old = self.waiting.len() > 1 && self.line - first_line + 1 >= self.grouping.window_lines;
        if old || self.bytes > self.grouping.window_bytes_max { self.pop() } else { None }
    }

    /// The next append, ready or not: there are no more lines.
    pub(crate) fn pop(&mut self) -> Option<Append> {
        let open = self.waiting.pop_front()?;
        if self.open.get(&open.append.stream) == Some(&self.left) {
            self.open.remove(&open.append.stream);
        }
        self.left += 1;
        self.bytes -= open.bytes;
        Some(open.append)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: u64, stream: usize) -> Parsed {
        let event = NewEvent { id: line.to_string(), data: vec![b'1'; 50].into(), ..NewEvent::default() };
        Parsed { line, stream: format!("s-{stream}"), event }
    }

    /// Groups lines whose streams are given, and checks what must hold however they are grouped.
    fn group(streams: &[usize], grouping: Grouping) -> Vec<Append> {
        let mut grouper = Grouper::new(grouping);
        let mut appends = Vec::new();
        for (stream, line) in streams.iter().zip(1..) {
            grouper.push(parsed(line, *stream));
            while let Some(append) = grouper.pop_ready() {
                appends.push(append);
            }
        }
        while let Some(append) = grouper.pop() {
            appends.push(append);
        }
        assert_eq!(appends.iter().map(|append| append.events.len()).sum::<usize>(), streams.len());
        let mut last_of: HashMap<&str, u64> = HashMap::new();
        let (mut first, mut farthest) = (0, 0);
        for append in &appends {
            assert!(append.events.len() <= grouping.append_events_max && append.lines[0] > first);
            first = append.lines[0];
            for (line, event) in append.lines.iter().zip(&append.events) {
                assert_eq!(event.id, line.to_string());
                farthest = farthest.max(*line);
                assert!(farthest - line < grouping.window_lines, "line {farthest} has overtaken {line}");
                let before = last_of.insert(&append.stream, *line).unwrap_or_default();
                assert!(before < *line, "{} has {line} after {before}", append.stream);
            }
        }
        appends
    }

    fn numbers(count: usize, of: usize) -> Vec<usize> {
        let mut seed = 7_usize;
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % of
        };
        (0..count).map(|_| next().min(next())).collect()
    }

    #[test]
    fn each_streams_order_is_kept_whatever_the_window() {
        for (window_lines, append_events_max) in [(1, 1), (2, 10), (16, 3), (100, 1_000), (100_000, 1_000)] {
            for of in [1, 3, 200] {
                group(&numbers(5_000, of), Grouping { window_lines, append_events_max, ..Grouping::default() });
            }
        }
    }

    #[test]
    fn events_of_a_stream_that_stand_near_each_other_are_one_append() {
        let appends = group(&[1, 2, 1, 2, 1, 3], Grouping { window_lines: 10, ..Grouping::default() });
        let sizes: Vec<_> = appends.iter().map(|append| (append.stream.as_str(), append.events.len())).collect();
        assert_eq!(sizes, [("s-1", 3), ("s-2", 2), ("s-3", 1)]);
    }

    #[test]
    fn in_exact_order_neighbours_are_one_append() {
        let grouping = Grouping { window_lines: 1, append_events_max: 3, ..Grouping::default() };
        let appends = group(&[1, 1, 2, 1, 3, 3, 3, 3], grouping);
        let lines: Vec<_> = appends.iter().map(|append| append.lines.clone()).collect();
        assert_eq!(lines, [vec![1, 2], vec![3], vec![4], vec![5, 6, 7], vec![8]]);
    }

    #[test]
    fn memory_is_bounded_by_bytes_and_so_is_an_append() {
        let grouping = Grouping { append_bytes_max: 300, window_bytes_max: 1_000, ..Grouping::default() };
        let mut grouper = Grouper::new(grouping);
        for line in 1..1_000 {
            grouper.push(parsed(line, line as usize % 2));
            while let Some(append) = grouper.pop_ready() {
                assert!(append.events.iter().map(|event| event.encoded_len()).sum::<usize>() <= 300);
            }
            assert!(grouper.bytes <= 1_000);
        }
    }
}
