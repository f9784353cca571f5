//! What a plugin says of itself: the JSON that `describe` answers (`wit/descriptor.schema.json`).

use serde::{Deserialize, Serialize};

use crate::limits::plugin as limits;
use crate::log::filter::{Filter, FilterTerm};
use crate::name::{InvalidName, Pattern};
use crate::saga::{self, definition::Step};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Projection,
    Handler,
    Upcaster,
    Saga,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Projection => "projection",
            Kind::Handler => "handler",
            Kind::Upcaster => "upcaster",
            Kind::Saga => "saga",
        }
    }

    pub fn from_stored(text: &str) -> Option<Self> {
        [Self::Projection, Self::Handler, Self::Upcaster, Self::Saga].into_iter().find(|kind| kind.as_str() == text)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Descriptor {
    pub name: String,
    pub version: String,
    pub kind: Kind,
    #[serde(default)]
    pub description: String,
    /// Any entry may match; none at all means every event.
    #[serde(default)]
    pub subscribes: Vec<Subscription>,
    #[serde(default)]
    pub collections: Vec<Collection>,
    /// It folds each key by itself.
    #[serde(default)]
    pub by_key: bool,
    #[serde(default)]
    pub config: Vec<Setting>,
    #[serde(default)]
    pub schemas: Vec<Schema>,
    #[serde(default)]
    pub lifts: Vec<Lift>,
    #[serde(default)]
    pub steps: Vec<Step>,
    #[serde(default)]
    pub saga: Option<saga::definition::Options>,
    #[serde(default)]
    pub capabilities: Vec<String>,
}

/// Globs; within an entry each list that is given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscription {
    #[serde(default)]
    pub streams: Vec<String>,
    #[serde(default)]
    pub types: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Collection {
    pub name: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub indexes: Vec<Index>,
}

/// A field that documents can be found and sorted by: names with dots between them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    pub field: String,
}

/// What an operator can set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    pub name: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub default: Option<String>,
    #[serde(default)]
    pub required: bool,
}

/// A JSON Schema that comes with the plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    #[serde(rename = "type")]
    pub event_type: String,
    pub version: u32,
    pub schema: serde_json::Value,
}

/// A step of an upcaster: from a type and version to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Lift {
    #[serde(rename = "type")]
    pub event_type: String,
    pub version: u32,
    /// The same type without.
    #[serde(default)]
    pub to_type: Option<String>,
    pub to_version: u32,
}

impl Lift {
    pub fn to_type(&self) -> &str {
        self.to_type.as_deref().unwrap_or(&self.event_type)
    }
}

/// Why a descriptor is refused.
#[derive(Debug, thiserror::Error)]
pub enum DescriptorError {
    #[error("it has {bytes} bytes, more than {}", limits::DESCRIPTOR_BYTES_MAX)]
    TooLarge { bytes: usize },
    #[error("it is not the JSON of wit/descriptor.schema.json: {0}")]
    Shape(String),
    /// Each entry is a path into the descriptor and what is wrong there.
    #[error("{}", .0.iter().map(|(at, what)| format!("{at}: {what}")).collect::<Vec<_>>().join("; "))]
    Rules(Vec<(String, String)>),
}

impl Descriptor {
    /// Reads and checks what a plugin whose exports make it a `kind` says of itself.
    pub fn parse(json: &str, kind: Kind) -> Result<Self, DescriptorError> {
        if json.len() > limits::DESCRIPTOR_BYTES_MAX {
            return Err(DescriptorError::TooLarge { bytes: json.len() });
        }
        let descriptor: Self = serde_json::from_str(json).map_err(|error| DescriptorError::Shape(error.to_string()))?;
        let broken = descriptor.broken_rules(kind);
        if broken.is_empty() { Ok(descriptor) } else { Err(DescriptorError::Rules(broken)) }
    }

    /// What is known of a plugin whose own words cannot be read.
    pub fn unreadable(name: &str, kind: Kind) -> Self {
        Self {
            name: name.to_owned(),
            version: String::new(),
            kind,
            description: String::new(),
            subscribes: Vec::new(),
            collections: Vec::new(),
            by_key: false,
            config: Vec::new(),
            schemas: Vec::new(),
            lifts: Vec::new(),
            steps: Vec::new(),
            saga: None,
            capabilities: Vec::new(),
        }
    }

    fn broken_rules(&self, kind: Kind) -> Vec<(String, String)> {
        let mut broken = Vec::new();
        let mut refuse = |at: String, what: String| broken.push((at, what));
        if !is_identifier(&self.name, "-") {
            refuse("name".into(), identifier_rule(&self.name, "-"));
        }
        if self.name == RESERVED_NAME {
            refuse("name".into(), format!("`{RESERVED_NAME}` is a word of the API, /api/plugins/{RESERVED_NAME}"));
        }
        if self.version.is_empty() || self.version.len() > limits::VERSION_BYTES_MAX {
            refuse("version".into(), format!("it has 1 to {} bytes", limits::VERSION_BYTES_MAX));
        }
        if self.description.len() > limits::DESCRIPTION_BYTES_MAX {
            refuse("description".into(), format!("it has at most {} bytes", limits::DESCRIPTION_BYTES_MAX));
        }
        if self.kind != kind {
            let (says, exports) = (self.kind.as_str(), kind.as_str());
            refuse("kind".into(), format!("it says {says}, but the component exports the {exports} interface"));
        }
        if self.subscribes.len() > limits::SUBSCRIPTIONS_MAX {
            refuse("subscribes".into(), format!("it has at most {} entries", limits::SUBSCRIPTIONS_MAX));
        }
        if let Err((at, error)) = self.try_filter() {
            refuse(at, error.to_string());
        }
        if self.collections.len() > limits::COLLECTIONS_MAX {
            refuse("collections".into(), format!("it has at most {} entries", limits::COLLECTIONS_MAX));
        }
        for (i, collection) in self.collections.iter().enumerate() {
            if !is_identifier(&collection.name, "-_") {
                refuse(format!("collections[{i}].name"), identifier_rule(&collection.name, "-_"));
            }
            if self.collections[..i].iter().any(|earlier| earlier.name == collection.name) {
                refuse(format!("collections[{i}].name"), format!("`{}` stands twice", collection.name));
            }
        }
        super::rules::check(self, &mut refuse);
        broken
    }

    /// What it wants to be handed.
    pub fn filter(&self) -> Filter {
        self.try_filter().unwrap_or_default()
    }

    fn try_filter(&self) -> Result<Filter, (String, InvalidName)> {
        let patterns = |globs: &[String], at: &str| {
            let one = |(i, glob): (usize, &String)| Pattern::new(glob).map_err(|error| (format!("{at}[{i}]"), error));
            globs.iter().enumerate().map(one).collect::<Result<Vec<_>, _>>()
        };
        let term = |(i, subscription): (usize, &Subscription)| {
            Ok(FilterTerm {
                streams: patterns(&subscription.streams, &format!("subscribes[{i}].streams"))?,
                types: patterns(&subscription.types, &format!("subscribes[{i}].types"))?,
                ..FilterTerm::default()
            })
        };
        Ok(Filter::new(self.subscribes.iter().enumerate().map(term).collect::<Result<_, _>>()?))
    }
}

/// A plugin of this name could not be addressed.
const RESERVED_NAME: &str = "check";

pub(super) fn is_identifier(text: &str, extra: &str) -> bool {
    text.len() <= limits::NAME_BYTES_MAX
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || extra.contains(c))
}

pub(super) fn identifier_rule(text: &str, extra: &str) -> String {
    let max = limits::NAME_BYTES_MAX;
    format!("`{text}` is not a name: 1 to {max} of a-z, 0-9 and {extra}, beginning with a letter")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_broken_rule_is_named() {
        let json = r#"{"name":"Bad","version":"1","kind":"handler","collections":[{"name":"a"},{"name":"a"}],
            "subscribes":[{"streams":["ok"],"types":["\u0007"]}],"capabilities":["http"]}"#;
        let Err(DescriptorError::Rules(broken)) = Descriptor::parse(json, Kind::Projection) else { panic!() };
        let at: Vec<_> = broken.iter().map(|(at, _)| at.as_str()).collect();
        assert_eq!(at, ["name", "kind", "subscribes[0].types[0]", "collections[1].name", "capabilities[0]"]);
    }

    #[test]
    fn unknown_fields_are_refused_by_name() {
        let error = Descriptor::parse(r#"{"name":"a","version":"1","kind":"projection","colour":1}"#, Kind::Projection);
        assert!(error.unwrap_err().to_string().contains("colour"));
    }
}
