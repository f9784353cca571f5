//! Some upcasters together: which events they lift, in which steps, to what.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;

use super::upcaster::Upcaster;
use crate::event::{Event, Position};
use crate::limits::plugin as limits;
use crate::log::filter::Filter;
use crate::name::Pattern;
use crate::plugin::descriptor::Lift;

/// Why upcasters do not go together. Each entry is a plugin's lift, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(|(at, what)| format!("{at}: {what}")).collect::<Vec<_>>().join("; "))]
pub struct InvalidLifts(pub Vec<(String, String)>);

/// One step of an event's way to its newest version.
#[derive(Debug)]
struct Step {
    upcaster: Arc<Upcaster>,
    to_type: String,
    to_version: u32,
}

/// Immutable but for what it remembers.
#[derive(Debug)]
pub struct LiftSet {
    number: u64,
    /// By type, then by version.
    steps: HashMap<String, BTreeMap<u32, Step>>,
    cache: Mutex<Cache>,
}

/// Events that were lifted, by position.
#[derive(Debug)]
struct Cache {
    events: LruCache<Position, Event>,
    bytes: usize,
}

impl Default for LiftSet {
    fn default() -> Self {
        Self::of(0, HashMap::new())
    }
}

impl LiftSet {
    fn of(number: u64, steps: HashMap<String, BTreeMap<u32, Step>>) -> Self {
        let cache = Cache { events: LruCache::unbounded(), bytes: 0 };
        Self { number, steps, cache: Mutex::new(cache) }
    }

    /// Puts upcasters together. No two lift the same, and no chain comes back to where it began.
    pub fn new(number: u64, upcasters: Vec<Arc<Upcaster>>) -> Result<Self, InvalidLifts> {
        let mut steps: HashMap<String, BTreeMap<u32, Step>> = HashMap::new();
        let mut broken = Vec::new();
        for upcaster in upcasters {
            for Lift { event_type, version, to_type, to_version } in upcaster.lifts() {
                let at = format!("{}: `{event_type}` version {version}", upcaster.plugin());
                let versions = steps.entry(event_type.clone()).or_default();
                if let Some(step) = versions.get(version) {
                    broken.push((at, format!("upcaster `{}` lifts it already", step.upcaster.plugin())));
                    continue;
                }
                let to_type = to_type.clone().unwrap_or_else(|| event_type.clone());
                let step = Step { upcaster: Arc::clone(&upcaster), to_type, to_version: *to_version };
                versions.insert(*version, step);
            }
        }
        let set = Self::of(number, steps);
        broken.extend(set.circles());
        if broken.is_empty() { Ok(set) } else { Err(InvalidLifts(broken)) }
    }

    fn circles(&self) -> Vec<(String, String)> {
        let mut broken = Vec::new();
        for (event_type, versions) in &self.steps {
            for version in versions.keys() {
                let mut seen = HashSet::from([(event_type.as_str(), *version)]);
                let mut at = (event_type.as_str(), *version);
                while let Some(step) = self.step(at.0, at.1) {
                    at = (&step.to_type, step.to_version);
                    let comes_back = !seen.insert(at);
                    if comes_back || seen.len() > limits::LIFTS_OF_EVENT_MAX {
                        let what = if comes_back { "is lifted in a circle" } else { "is lifted too often" };
                        broken.push((format!("`{event_type}` version {version}"), format!("it {what}")));
                        break;
                    }
                }
            }
        }
        broken.sort();
        broken
    }

    /// 0 is the set without upcasters.
    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub fn upcaster(&self, plugin: &str) -> Option<&Arc<Upcaster>> {
        let steps = self.steps.values().flat_map(BTreeMap::values);
        steps.map(|step| &step.upcaster).find(|upcaster| upcaster.plugin() == plugin)
    }

    fn step(&self, event_type: &str, version: u32) -> Option<&Step> {
        self.steps.get(event_type)?.get(&version)
    }

    fn step_of(&self, event: &Event) -> Option<&Step> {
        self.step(event.event_type(), event.schema_version())
    }

    /// Types and versions that are lifted: from each, to each newest one.
    pub fn lifted(&self) -> impl Iterator<Item = ((&str, u32), (&str, u32))> {
        let from = self.steps.iter().flat_map(|(name, versions)| versions.keys().map(move |v| (name.as_str(), *v)));
        from.map(|from| (from, self.newest(from)))
    }

    fn newest<'a>(&'a self, from: (&'a str, u32)) -> (&'a str, u32) {
        let mut at = from;
        while let Some(step) = self.step(at.0, at.1) {
            at = (&step.to_type, step.to_version);
        }
        at
    }

    /// What has to be read so that nothing is missed which matches once it is lifted.
    pub fn widened(&self, filter: &Filter) -> Filter {
        if self.is_empty() || filter.matches_all() {
            return filter.clone();
        }
        filter.before_lifting(|wanted| {
            let becomes = self.lifted().filter(|((from, _), (to, _))| !wanted.matches(from) && wanted.matches(to));
            // Stored types may hold a `*`: as a pattern they match themselves, and are looked at again.
            becomes.filter_map(|((from, _), _)| Pattern::new(from).ok()).collect()
        })
    }

    /// Whether reading through this set instead of `other` could make a difference to a reader of `filter`.
    pub fn differs_for(&self, other: &Self, filter: &Filter) -> bool {
        let ways = |set: &Self| -> Vec<(String, u32, String, u32, String)> {
            let of = |((from, version), (to, to_version)): ((&str, u32), (&str, u32))| {
                let by = set.revisions_on_the_way(from, version);
                (from.to_owned(), version, to.to_owned(), to_version, by)
            };
            set.lifted().map(of).collect()
        };
        let (ours, theirs) = (ways(self), ways(other));
        let wants = |name: &str| {
            let wants = |types: &[Pattern]| types.is_empty() || types.iter().any(|pattern| pattern.matches(name));
            filter.matches_all() || filter.terms().iter().any(|term| wants(&term.types))
        };
        let only_in = |a: &[_], b: &[_]| {
            a.iter()
                .any(|way: &(String, u32, String, u32, String)| !b.contains(way) && (wants(&way.0) || wants(&way.2)))
        };
        only_in(&ours, &theirs) || only_in(&theirs, &ours)
    }

    fn revisions_on_the_way(&self, event_type: &str, version: u32) -> String {
        let mut by = Vec::new();
        let mut at = (event_type, version);
        while let Some(step) = self.step(at.0, at.1) {
            by.push(step.upcaster.name());
            at = (&step.to_type, step.to_version);
        }
        by.join(" ")
    }

    /// Whether what would lift the event is resting after crashes: that it could not be lifted may pass.
    pub fn is_resting(&self, event: &Event) -> bool {
        let mut at = (event.event_type(), event.schema_version());
        while let Some(step) = self.step(at.0, at.1) {
            if step.upcaster.is_resting() {
                return true;
            }
            at = (&step.to_type, step.to_version);
        }
        false
    }

    /// Those events that match in their newest version, in it or as they are stored.
    pub(crate) async fn matching(&self, events: Vec<Event>, filter: &Filter, stored: bool) -> Vec<Event> {
        let before = stored.then(|| events.clone());
        let mut lifted = self.lift(events).await;
        match before {
            None => {
                lifted.retain(|event| filter.matches(event));
                lifted
            }
            Some(before) => {
                let pairs = before.into_iter().zip(lifted);
                pairs.filter(|(_, lifted)| filter.matches(lifted)).map(|(stored, _)| stored).collect()
            }
        }
    }

    /// Every event in its newest version. One that cannot be lifted stays as it is, and says so.
    pub async fn lift(&self, mut events: Vec<Event>) -> Vec<Event> {
        if self.is_empty() || !events.iter().any(|event| self.step_of(event).is_some()) {
            return events;
        }
        let originals = self.take_known(&mut events);
        let mut pending: Vec<usize> = originals.keys().copied().collect();
        pending.sort_unstable();
        while let Some(first) = pending.first() {
            let Some(step) = self.step_of(&events[*first]) else {
                pending.remove(0);
                continue;
            };
            let upcaster = Arc::clone(&step.upcaster);
            let batch = self.batch_of(&upcaster, &pending, &events);
            let answers = upcaster.lift(batch.iter().map(|at| events[*at].clone()).collect()).await;
            for (at, answer) in batch.into_iter().zip(answers) {
                events[at] = match answer.and_then(|lifted| self.checked(&events[at], lifted)) {
                    Ok(lifted) => lifted,
                    Err(why) => {
                        pending.retain(|pending| *pending != at);
                        originals[&at].not_lifted(&format!("{}: {why}", upcaster.name()))
                    }
                };
            }
            pending.retain(|at| self.step_of(&events[*at]).is_some());
        }
        self.remember(originals.keys().map(|at| &events[*at]));
        events
    }

    /// Those that one call takes.
    fn batch_of(&self, upcaster: &Arc<Upcaster>, pending: &[usize], events: &[Event]) -> Vec<usize> {
        let mut bytes = 0;
        let its = pending
            .iter()
            .copied()
            .filter(|at| self.step_of(&events[*at]).is_some_and(|step| Arc::ptr_eq(&step.upcaster, upcaster)));
        its.take(limits::CALL_EVENTS_MAX)
            .take_while(|at| {
                let first = bytes == 0;
                bytes += events[*at].raw().len();
                first || bytes <= limits::CALL_BYTES_MAX
            })
            .collect()
    }

    /// Whether an upcaster has made of the event what it says that it makes of it.
    fn checked(&self, before: &Event, after: Event) -> Result<Event, String> {
        let Some(Step { to_type, to_version, .. }) = self.step_of(before) else { return Ok(after) };
        if after.event_type() == to_type && after.schema_version() == *to_version {
            return Ok(after);
        }
        let (made, version) = (after.event_type(), after.schema_version());
        Err(format!("it made `{made}` version {version}; its descriptor says `{to_type}` version {to_version}"))
    }

    /// Puts in what is remembered, and answers the events that are left to be lifted.
    fn take_known(&self, events: &mut [Event]) -> HashMap<usize, Event> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let mut unknown = HashMap::new();
        for (at, event) in events.iter_mut().enumerate() {
            if self.step_of(event).is_none() {
                continue;
            }
            match cache.events.get(&event.position()) {
                // Not yet stored events have no position of their own.
                Some(lifted) if lifted.id() == event.id() => *event = lifted.clone(),
                _ => drop(unknown.insert(at, event.clone())),
            }
        }
        unknown
    }

    fn remember<'a>(&self, lifted: impl Iterator<Item = &'a Event>) {
        const OVERHEAD_BYTES: usize = 128;
        let weight = |event: &Event| event.raw().len() + OVERHEAD_BYTES;
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        // What failed may go well the next time.
        for event in lifted.filter(|event| event.upcast_error().is_none()) {
            cache.bytes += weight(event);
            if let Some((_, old)) = cache.events.push(event.position(), event.clone()) {
                cache.bytes -= weight(&old);
            }
        }
        while cache.bytes > limits::LIFTED_CACHE_BYTES_MAX {
            let Some((_, old)) = cache.events.pop_lru() else { break };
            cache.bytes -= weight(&old);
        }
    }
}
