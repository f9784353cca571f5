//! Schemas, as they are shown.

use serde::Serialize;
use serde_json::value::RawValue;

use super::malformed;
use crate::cli::exit::Failure;
use crate::cli::output::Show;
use crate::cli::table::{grouped, quoted, rfc3339, table};
use crate::proto;

/// A version, in the JSON that HTTP gives.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Version {
    version: u32,
    id: String,
    bytes: u64,
    registered_at: String,
}

impl From<proto::SchemaVersion> for Version {
    fn from(version: proto::SchemaVersion) -> Self {
        let proto::SchemaVersion { version, id, bytes, registered_at_us } = version;
        Self { version, id, bytes, registered_at: rfc3339(registered_at_us) }
    }
}

fn version(version: Option<proto::SchemaVersion>) -> Result<Version, Failure> {
    Ok(version.ok_or_else(|| malformed("the answer holds no version"))?.into())
}

fn mode(mode: proto::SchemaCompatibility) -> &'static str {
    match mode {
        proto::SchemaCompatibility::Unspecified => "unspecified",
        proto::SchemaCompatibility::None => "none",
        proto::SchemaCompatibility::Backward => "backward",
        proto::SchemaCompatibility::Forward => "forward",
        proto::SchemaCompatibility::Full => "full",
    }
}

#[derive(Serialize)]
pub(super) struct Registered {
    r#type: String,
    #[serde(flatten)]
    version: Version,
    registered: bool,
}

impl TryFrom<proto::RegisterSchemaResponse> for Registered {
    type Error = Failure;

    fn try_from(answer: proto::RegisterSchemaResponse) -> Result<Self, Failure> {
        Ok(Self { r#type: answer.r#type, version: version(answer.version)?, registered: answer.registered })
    }
}

impl Show for Registered {
    fn to_text(&self) -> String {
        let (event_type, version) = (&self.r#type, self.version.version);
        match self.registered {
            true => format!("registered version {version} of {event_type}"),
            false => format!("version {version} of {event_type} has this schema already"),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Checked {
    pub(super) r#type: String,
    pub(super) compatible: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<u32>,
}

impl Show for Checked {
    fn to_text(&self) -> String {
        let of = self.version.map_or(String::new(), |version| format!("version {version} of "));
        format!("it can be registered as {of}{}", self.r#type)
    }
}

#[derive(Serialize)]
pub(super) struct Shown {
    r#type: String,
    #[serde(flatten)]
    version: Version,
    schema: Box<RawValue>,
}

impl TryFrom<proto::GetSchemaResponse> for Shown {
    type Error = Failure;

    fn try_from(answer: proto::GetSchemaResponse) -> Result<Self, Failure> {
        let schema = RawValue::from_string(answer.schema_json);
        let schema = schema.map_err(|_| malformed("the answer holds a schema that is not JSON"))?;
        Ok(Self { r#type: answer.r#type, version: version(answer.version)?, schema })
    }
}

impl Show for Shown {
    /// The schema alone, as it was registered: it may go into a file.
    fn to_text(&self) -> String {
        self.schema.get().to_owned()
    }

    fn note(&self) -> Option<String> {
        let Version { version, id, registered_at, .. } = &self.version;
        Some(format!("version {version} of {}, {id}, registered {registered_at}", self.r#type))
    }
}

/// A type and its versions.
#[derive(Serialize)]
pub(super) struct Type {
    r#type: String,
    compatibility: &'static str,
    versions: Vec<Version>,
}

impl From<proto::SchemaType> for Type {
    fn from(of: proto::SchemaType) -> Self {
        let compatibility = mode(of.compatibility());
        Self { r#type: of.r#type, compatibility, versions: of.versions.into_iter().map(Version::from).collect() }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Types {
    pub(super) types: Vec<Type>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_after: Option<String>,
}

impl Show for Types {
    fn to_text(&self) -> String {
        if self.types.is_empty() {
            return String::new();
        }
        let rows = self.types.iter().map(|of| {
            let latest = of.versions.last();
            [
                of.r#type.clone(),
                of.compatibility.to_owned(),
                of.versions.len().to_string(),
                latest.map_or("-".to_owned(), |latest| latest.version.to_string()),
                latest.map_or("-".to_owned(), |latest| grouped(latest.bytes)),
                latest.map_or("-".to_owned(), |latest| latest.registered_at.clone()),
            ]
        });
        table(["type", "compatibility", ">versions", ">latest", ">bytes", "registered"], rows)
    }

    fn note(&self) -> Option<String> {
        match &self.next_after {
            Some(after) => Some(format!("there are more: --after {}", quoted(after))),
            None => self.types.is_empty().then(|| "no schemas".into()),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Mode {
    r#type: String,
    compatibility: &'static str,
}

impl From<proto::SchemaType> for Mode {
    fn from(of: proto::SchemaType) -> Self {
        Self { compatibility: mode(of.compatibility()), r#type: of.r#type }
    }
}

impl Show for Mode {
    fn to_text(&self) -> String {
        format!("{}: {}", self.r#type, self.compatibility)
    }
}

#[derive(Serialize)]
pub(super) struct Deleted {
    pub(super) r#type: String,
    pub(super) deleted: u32,
}

impl Show for Deleted {
    fn to_text(&self) -> String {
        format!("deleted version {} of {}", self.deleted, self.r#type)
    }
}

#[derive(Serialize)]
pub(super) struct Valid {
    pub(super) r#type: String,
    pub(super) version: u32,
    pub(super) valid: bool,
}

impl Show for Valid {
    fn to_text(&self) -> String {
        format!("the data keeps version {} of the schema of {}", self.version, self.r#type)
    }
}
