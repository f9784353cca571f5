use serde::Serialize;

use crate::Collection;

#[cfg(not(target_family = "wasm"))]
mod checks;

/// Who a plugin is and what it asks of the host. It travels as the JSON that
/// `wit/descriptor.schema.json` describes.
#[derive(Clone, Debug, Serialize)]
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
}

/// Which world of the contract a plugin implements. The export macros set it, so that it cannot
/// disagree with what is exported.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Projection,
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
        let (name, description) = (collection.name(), collection.description());
        let indexes = collection.indexes().iter().map(|field| Index { field }).collect();
        self.collections.push(DeclaredCollection { name, description, indexes });
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
