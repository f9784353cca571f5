use serde::Serialize;

use crate::{Collection, Lift};

#[cfg(not(target_family = "wasm"))]
mod checks;

/// Who a plugin is and what it asks of the host. It travels as the JSON that
/// `wit/descriptor.schema.json` describes.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    name: String,
    version: String,
    kind: Option<Kind>,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subscribes: Vec<Subscription>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    collections: Vec<DeclaredCollection>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    by_key: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    config: Vec<Setting>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lifts: Vec<DeclaredLift>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    capabilities: Vec<String>,
}

/// Which world of the contract a plugin implements. The export macros set it, so that it cannot
/// disagree with what is exported.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Projection,
    Handler,
    Upcaster,
}

#[derive(Clone, Debug, Serialize)]
struct DeclaredCollection {
    name: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    indexes: Vec<Index>,
}

#[derive(Clone, Debug, Serialize)]
struct Index {
    field: &'static str,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DeclaredLift {
    #[serde(rename = "type")]
    event_type: &'static str,
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_type: Option<&'static str>,
    to_version: u32,
}

/// Something that an operator can set; [`config::get`](crate::config::get) answers what it was set to.
#[derive(Clone, Debug, Serialize)]
pub struct Setting {
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    required: bool,
}

/// One choice of events: those whose stream and type match. In a pattern only `*` is special, and
/// stands for any run of characters.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Subscription {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    streams: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    types: Vec<String>,
}

impl Descriptor {
    /// `name` is 1 to 64 of `a-z`, `0-9` and `-`, and begins with a letter; `version` is the author's
    /// own, up to 64 bytes.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            kind: None,
            description: String::new(),
            subscribes: Vec::new(),
            collections: Vec::new(),
            by_key: false,
            config: Vec::new(),
            lifts: Vec::new(),
            capabilities: Vec::new(),
        }
    }

    /// Says what the plugin is for. Up to 1,000 bytes.
    #[must_use]
    pub fn describe(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Asks for the events of `subscription`, beside those of earlier calls. Without any, a plugin is
    /// fed every event.
    #[must_use]
    pub fn subscribe(mut self, subscription: Subscription) -> Self {
        self.subscribes.push(subscription);
        self
    }

    /// Declares a collection. At most 64; only declared ones can be used.
    #[must_use]
    pub fn collection<T>(mut self, collection: &Collection<T>) -> Self {
        let indexes = collection.indexes().iter().map(|field| Index { field }).collect();
        let (name, description) = (collection.name(), collection.description());
        self.collections.push(DeclaredCollection { name, description, indexes });
        self
    }

    /// Says that the plugin folds each key by itself: it reads and writes no document for events of two
    /// keys. Then it may be divided into partitions, and one key's bad event need not stop the others.
    #[must_use]
    pub fn by_key(mut self) -> Self {
        self.by_key = true;
        self
    }

    /// Declares something that an operator can set. At most 64.
    #[must_use]
    pub fn setting(mut self, setting: Setting) -> Self {
        self.config.push(setting);
        self
    }

    /// Asks to be allowed to append to the streams that match `pattern`, in which `*` stands for any run of
    /// characters. It is granted when the plugin is deployed, or not. Handlers only.
    #[must_use]
    pub fn appends_to(self, pattern: &str) -> Self {
        self.capability(format!("{APPEND}{pattern}"))
    }

    /// Asks for a capability by its name. At most 16.
    #[must_use]
    pub fn capability(mut self, capability: impl Into<String>) -> Self {
        self.capabilities.push(capability.into());
        self
    }

    pub(crate) fn lifts(mut self, lifts: &[Lift]) -> Self {
        self.lifts = lifts.iter().map(DeclaredLift::of).collect();
        self
    }

    pub(crate) fn of_kind(mut self, kind: Kind) -> Self {
        self.kind = Some(kind);
        self
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a descriptor holds nothing but strings")
    }
}

/// What stands before the pattern of a capability to append.
const APPEND: &str = "append:";

impl DeclaredLift {
    fn of(lift: &Lift) -> Self {
        let (event_type, version) = lift.from();
        let (to_type, to_version) = lift.to();
        Self { event_type, version, to_type: (to_type != event_type).then_some(to_type), to_version }
    }
}

impl Setting {
    /// `name` is 1 to 64 of letters, digits, `.`, `_` and `-`, and begins with a letter.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), description: String::new(), default: None, required: false }
    }

    /// Says what it is for. Up to 1,000 bytes.
    #[must_use]
    pub fn describe(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// What it is when nobody sets it.
    #[must_use]
    pub fn default(mut self, value: impl Into<String>) -> Self {
        self.default = Some(value.into());
        self
    }

    /// It has to be set when the plugin is deployed.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }
}

impl Subscription {
    /// Events of every type in the streams that match any of `patterns`.
    pub fn to_streams<P: Into<String>>(patterns: impl IntoIterator<Item = P>) -> Self {
        Self { streams: patterns.into_iter().map(Into::into).collect(), types: Vec::new() }
    }

    /// Events of the types that match any of `patterns`, in every stream.
    pub fn to_types<P: Into<String>>(patterns: impl IntoIterator<Item = P>) -> Self {
        Self::default().of_types(patterns)
    }

    /// Narrows it to events of the types that match any of `patterns`.
    #[must_use]
    pub fn of_types<P: Into<String>>(mut self, patterns: impl IntoIterator<Item = P>) -> Self {
        self.types.extend(patterns.into_iter().map(Into::into));
        self
    }
}
