use serde::Serialize;

use crate::saga::Declared as DeclaredStep;
use crate::{Collection, Lift};

#[cfg(not(target_family = "wasm"))]
mod checks;
mod saga;

pub use saga::StartsOn;

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
    #[cfg(feature = "schema")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    schemas: Vec<DeclaredSchema>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    by_key: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    config: Vec<Setting>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lifts: Vec<DeclaredLift>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    steps: Vec<DeclaredStep>,
    #[serde(skip_serializing_if = "Option::is_none")]
    saga: Option<saga::Options>,
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
    Saga,
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

/// What the data of one version of an event type looks like.
#[cfg(feature = "schema")]
#[derive(Clone, Debug, Serialize)]
struct DeclaredSchema {
    r#type: String,
    version: u32,
    schema: schemars::Schema,
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
            #[cfg(feature = "schema")]
            schemas: Vec::new(),
            by_key: false,
            config: Vec::new(),
            lifts: Vec::new(),
            steps: Vec::new(),
            saga: None,
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
    /// characters. It is granted when the plugin is deployed, or not. Handlers and sagas only.
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

    /// Declares that the data of `event_type` in `version` (from 1 on) is a `T`: the host registers the JSON
    /// Schema of that when the plugin is deployed, and refuses the plugin if it does not go with the versions
    /// beside it. At most 64.
    ///
    /// The schema is that of what is read: a field with a default need not be there. Give `T`
    /// `#[serde(deny_unknown_fields)]` if it is to gain fields later: where any other field was allowed before,
    /// old data may have anything under the new name.
    ///
    /// ```
    /// use wasmill_guest::{Descriptor, JsonSchema};
    ///
    /// #[derive(JsonSchema, serde::Deserialize)]
    /// #[schemars(crate = "wasmill_guest::schemars")]
    /// #[serde(deny_unknown_fields)]
    /// struct Placed {
    ///     order_id: String,
    ///     #[serde(default)]
    ///     pence: u64,
    /// }
    ///
    /// let descriptor = Descriptor::new("orders", "1.0.0").schema::<Placed>("order.placed", 1);
    /// # let _ = descriptor;
    /// ```
    #[cfg(feature = "schema")]
    #[must_use]
    pub fn schema<T: schemars::JsonSchema>(mut self, event_type: impl Into<String>, version: u32) -> Self {
        // Each by itself: what one refers to stands in its own `$defs`.
        let settings = schemars::generate::SchemaSettings::draft2020_12();
        let schema = settings.into_generator().into_root_schema_for::<T>();
        self.schemas.push(DeclaredSchema { r#type: event_type.into(), version, schema });
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
const HTTP: &str = "http:";
const SECRET: &str = "secret:";

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

#[cfg(all(test, feature = "schema"))]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Placed {
        order_id: String,
        /// In pence.
        amount: i64,
        #[serde(default)]
        lines: Vec<Line>,
        note: Option<String>,
    }

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    #[expect(dead_code, reason = "only its shape matters")]
    enum Line {
        Article { sku: String },
        Voucher,
    }

    /// The host's own tests register this text.
    #[test]
    fn a_type_gives_its_schema() {
        let descriptor = Descriptor::new("orders", "1.0.0").schema::<Placed>("order.placed", 2);
        let json: serde_json::Value = serde_json::from_str(&descriptor.to_json()).expect("it is JSON");
        let [declared] = json["schemas"].as_array().expect("a list").as_slice() else { panic!("one: {json}") };
        assert_eq!((&declared["type"], &declared["version"]), (&"order.placed".into(), &2.into()));
        let wanted = serde_json::json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Placed",
            "type": "object",
            "additionalProperties": false,
            "required": ["orderId", "amount"],
            "properties": {
                "orderId": { "type": "string" },
                "amount": { "description": "In pence.", "type": "integer", "format": "int64" },
                "lines": { "type": "array", "items": { "$ref": "#/$defs/Line" } },
                "note": { "type": ["string", "null"] }
            },
            "$defs": { "Line": { "oneOf": [
                { "type": "string", "enum": ["Voucher"] },
                {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["Article"],
                    "properties": { "Article": {
                        "type": "object", "required": ["sku"], "properties": { "sku": { "type": "string" } }
                    } }
                }
            ] } }
        });
        assert_eq!(declared["schema"], wanted);
        assert!(!Descriptor::new("a", "1").to_json().contains("schemas"), "nothing is said of none");
    }
}
