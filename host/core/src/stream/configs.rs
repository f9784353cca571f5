//! The stream configurations of a host, in memory, and what they come to for each stream.
//!
//! Field by field, the most specific record that says something wins: the host's defaults, then the
//! patterns that match, then the stream's own record. Of two patterns the one with the longer literal
//! text (without its `*`) is more specific, of two as long the later one in byte order.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use super::config::{InvalidConfig, StreamConfig, Validation};
use super::effective::{Access, Caller, Effective};
use crate::code::{Code, Problem};
use crate::limits::stream as limits;
use crate::log::commit::{CommitError, Committer};
use crate::log_id;
use crate::name::{Pattern, StreamName};
use crate::record::StreamConfigRecord;
use crate::store::{Change, Store, StoreError, Unit};

/// What a configuration is about. Patterns stand before streams, each in byte order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// All streams that match.
    Pattern(Pattern),
    Stream(StreamName),
}

/// Who has said what holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The host: its own configuration, or what is built in.
    Default,
    Record(Subject),
}

/// What holds for a stream, and who has said so.
#[derive(Clone, Debug)]
pub struct Explained {
    pub effective: Effective,
    /// One entry for each field that is not the host's default, such as `retention.maxEvents`.
    pub origins: BTreeMap<&'static str, Subject>,
}

impl Explained {
    pub fn origin(&self, field: &str) -> Origin {
        self.origins.get(field).cloned().map_or(Origin::Default, Origin::Record)
    }
}

/// Why a configuration was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(transparent)]
    Invalid(#[from] InvalidConfig),
    #[error("`{0}` has no `*`: it is no pattern, but the name of a stream, which has a configuration of its own")]
    NotAPattern(Pattern),
    #[error("there are {0} {1} already, which is the limit")]
    TooMany(usize, &'static str),
    #[error("it could not be stored")]
    Commit(#[from] CommitError),
}

impl From<ConfigError> for Problem {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::Invalid(invalid) => invalid.into(),
            ConfigError::NotAPattern(_) => Problem::new(Code::InvalidName, error.to_string()),
            ConfigError::TooMany(..) => Problem::new(Code::LimitReached, error.to_string()),
            ConfigError::Commit(commit) => commit.into(),
        }
    }
}

/// All stream configurations. Cloning shares them.
#[derive(Clone)]
pub struct StreamConfigs(Arc<Shared>);

struct Shared {
    store: Arc<dyn Store>,
    committer: Committer,
    /// What the host says of all streams.
    defaults: Arc<StreamConfig>,
    rules: RwLock<Arc<Rules>>,
    /// Held over a change and its commit, so that memory follows the store.
    changing: tokio::sync::Mutex<()>,
}

type Records = BTreeMap<Subject, Arc<StreamConfig>>;

/// One state of all records; replaced as a whole.
struct Rules {
    records: Records,
    /// The most specific one last.
    patterns: Vec<(Pattern, Arc<StreamConfig>)>,
    /// For streams of which no record says anything.
    default: Arc<Effective>,
    /// Nothing keeps a stream from clients that read.
    open_to_readers: bool,
    group_receipts: bool,
    validates: bool,
    /// What was asked for lately; emptied when it is full.
    known: RwLock<HashMap<StreamName, Arc<Effective>>>,
}

impl StreamConfigs {
    /// Without any record yet: see [`StreamConfigs::reload`].
    pub fn new(store: Arc<dyn Store>, committer: Committer, defaults: StreamConfig) -> Self {
        let defaults = Arc::new(defaults);
        let rules = RwLock::new(Arc::new(Rules::new(Records::new(), &defaults)));
        Self(Arc::new(Shared { store, committer, defaults, rules, changing: tokio::sync::Mutex::default() }))
    }

    /// Takes over what is stored: at the start, and when another host has changed it. A record that
    /// cannot be read is passed over and said in the log.
    pub async fn reload(&self) -> Result<(), StoreError> {
        let _changing = self.0.changing.lock().await;
        let stored = self.0.store.stream_configs().await?;
        self.set(stored.into_iter().filter_map(read).collect());
        Ok(())
    }

    /// Every record, patterns first.
    pub fn list(&self) -> Vec<(Subject, Arc<StreamConfig>)> {
        let rules = self.rules();
        rules.records.iter().map(|(subject, config)| (subject.clone(), Arc::clone(config))).collect()
    }

    pub fn get(&self, subject: &Subject) -> Option<Arc<StreamConfig>> {
        self.rules().records.get(subject).cloned()
    }

    /// What holds for a stream, be there such a stream or not.
    pub fn effective(&self, stream: &StreamName) -> Arc<Effective> {
        self.rules().effective(stream, &self.0.defaults)
    }

    /// The same with who has said it.
    pub fn explain(&self, stream: &StreamName) -> Explained {
        let rules = self.rules();
        let layers = rules.layers(stream);
        let mut origins = BTreeMap::new();
        let configs = std::iter::once(&self.0.defaults).chain(layers.iter().map(|(_, config)| config));
        let effective = Effective::of(configs.map(|config| &**config), |field, index| {
            if let Some(layer) = index.checked_sub(1) {
                origins.insert(field, layers[layer].0.clone());
            }
        });
        Explained { effective, origins }
    }

    /// Whether retention may have something to do for any stream.
    pub(super) fn let_anything_go(&self) -> bool {
        self.0.defaults.lets_go() || self.rules().records.values().any(|config| config.lets_go())
    }

    pub fn may_publish(&self, stream: &StreamName, caller: Caller) -> bool {
        self.effective(stream).allows(caller, Access::Publish)
    }

    pub fn may_read(&self, stream: &StreamName, caller: Caller) -> bool {
        self.effective(stream).allows(caller, Access::Read)
    }

    /// Whether what a group's members acknowledge of a stream is noted as read by the group.
    pub fn notes_group_receipts(&self, stream: &StreamName) -> bool {
        self.rules().group_receipts && self.effective(stream).config().receipts.groups == Some(true)
    }

    /// Whether that is so for any stream, so that there is no need to ask for each.
    pub fn notes_any_group_receipts(&self) -> bool {
        self.rules().group_receipts
    }

    /// Whether events of any stream are validated, so that there is no need to ask for each.
    pub(crate) fn validates_any(&self) -> bool {
        self.rules().validates
    }

    /// True when clients may read every stream, so that there is no need to ask for each.
    pub fn all_open_to_readers(&self) -> bool {
        self.rules().open_to_readers
    }

    /// Replaces what is said of `subject`, or says it for the first time.
    pub async fn put(&self, subject: &Subject, config: StreamConfig) -> Result<(), ConfigError> {
        config.check()?;
        if let Subject::Pattern(pattern) = subject
            && pattern.is_exact()
        {
            return Err(ConfigError::NotAPattern(pattern.clone()));
        }
        let _changing = self.0.changing.lock().await;
        let mut records = self.rules().records.clone();
        if !records.contains_key(subject) {
            check_room(&records, subject)?;
        }
        self.store(subject, Some(config.to_json())).await?;
        records.insert(subject.clone(), Arc::new(config));
        self.set(records);
        Ok(())
    }

    /// Forgets what is said of `subject`; false when nothing was.
    pub async fn remove(&self, subject: &Subject) -> Result<bool, ConfigError> {
        let _changing = self.0.changing.lock().await;
        let mut records = self.rules().records.clone();
        if records.remove(subject).is_none() {
            return Ok(false);
        }
        self.store(subject, None).await?;
        self.set(records);
        Ok(true)
    }

    async fn store(&self, subject: &Subject, config: Option<String>) -> Result<(), CommitError> {
        let (pattern, exact) = match subject {
            Subject::Pattern(pattern) => (pattern.as_str().to_owned(), false),
            Subject::Stream(stream) => (stream.as_str().to_owned(), true),
        };
        let change = Change::PutStreamConfig { pattern: pattern.clone(), exact, config: config.clone() };
        self.0.committer.commit(Unit::change(vec![change])).await?;
        let event_id = log_id::STREAM_CONFIG_CHANGED;
        tracing::info!(event_id, pattern, exact, config, "a stream configuration has changed");
        Ok(())
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.0.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, records: Records) {
        let rules = Arc::new(Rules::new(records, &self.0.defaults));
        *self.0.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
    }
}

fn check_room(records: &Records, subject: &Subject) -> Result<(), ConfigError> {
    let patterns = records.keys().take_while(|subject| matches!(subject, Subject::Pattern(_))).count();
    if matches!(subject, Subject::Pattern(_)) && patterns >= limits::PATTERNS_MAX {
        return Err(ConfigError::TooMany(patterns, "patterns with a configuration"));
    }
    if records.len() >= limits::CONFIGS_MAX {
        return Err(ConfigError::TooMany(records.len(), "stream configurations"));
    }
    Ok(())
}

fn read(record: StreamConfigRecord) -> Option<(Subject, Arc<StreamConfig>)> {
    let StreamConfigRecord { pattern, exact, config } = record;
    let subject = match exact {
        true => Some(Subject::Stream(StreamName::from_stored(&pattern))),
        false => Pattern::new(&pattern).ok().map(Subject::Pattern),
    };
    match (subject, StreamConfig::parse(&config)) {
        (Some(subject), Ok(config)) => Some((subject, Arc::new(config))),
        (_, parsed) => {
            let reason = parsed.err().map_or_else(|| "its pattern is none".into(), |error| error.to_string());
            tracing::error!(
                event_id = log_id::STREAM_CONFIG_UNREADABLE,
                pattern,
                exact,
                reason,
                "a stored stream configuration cannot be read and is passed over"
            );
            None
        }
    }
}

impl Rules {
    fn new(records: Records, defaults: &StreamConfig) -> Self {
        let pattern = |(subject, config): (&Subject, &Arc<StreamConfig>)| match subject {
            Subject::Pattern(pattern) => Some((pattern.clone(), Arc::clone(config))),
            Subject::Stream(_) => None,
        };
        let mut patterns: Vec<_> = records.iter().filter_map(pattern).collect();
        // Stable, and the records are in byte order.
        patterns.sort_by_key(|(pattern, _)| pattern.literal_bytes());
        let default = Arc::new(Effective::of([defaults], |_, _| {}));
        // By themselves: what none of them says cannot come of several.
        let open = |config: &StreamConfig| Effective::of([config], |_, _| {}).allows(Caller::Api, Access::Read);
        let open_to_readers = open(defaults) && records.values().all(|config| open(config));
        let wanted = |config: &StreamConfig| config.receipts.groups == Some(true);
        let group_receipts = wanted(defaults) || records.values().any(|config| wanted(config));
        let validating = |config: &StreamConfig| config.schema.validation.is_some_and(|on| on != Validation::None);
        let validates = validating(defaults) || records.values().any(|config| validating(config));
        Self { records, patterns, default, open_to_readers, group_receipts, validates, known: RwLock::default() }
    }

    fn effective(&self, stream: &StreamName, defaults: &StreamConfig) -> Arc<Effective> {
        if self.records.is_empty() {
            return Arc::clone(&self.default);
        }
        if let Some(known) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(stream) {
            return Arc::clone(known);
        }
        let layers = self.layers(stream);
        let effective = match layers.as_slice() {
            [] => Arc::clone(&self.default),
            layers => {
                let said = layers.iter().map(|(_, config)| &**config);
                Arc::new(Effective::of(std::iter::once(defaults).chain(said), |_, _| {}))
            }
        };
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= limits::EFFECTIVE_CACHED_MAX {
            known.clear();
        }
        known.insert(stream.clone(), Arc::clone(&effective));
        effective
    }

    /// What is said of a stream, the most specific last.
    fn layers(&self, stream: &StreamName) -> Vec<(Subject, Arc<StreamConfig>)> {
        let matching = self.patterns.iter().filter(|(pattern, _)| pattern.matches(stream.as_str()));
        let mut layers: Vec<_> =
            matching.map(|(pattern, config)| (Subject::Pattern(pattern.clone()), Arc::clone(config))).collect();
        let own = Subject::Stream(stream.clone());
        if let Some(config) = self.records.get(&own) {
            layers.push((own, Arc::clone(config)));
        }
        layers
    }
}
