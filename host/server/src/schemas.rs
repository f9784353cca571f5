//! Schemas, as both faces see them.

use wasmill_core::code::{Code, Problem};
use wasmill_core::schema::{
    Compatibility, Judgement, NewSchema, Registered, Schema, SchemaError, TypeInfo, TypePage, Violation,
};

use crate::app::App;
use crate::errors::report;

pub(crate) async fn register(app: &App, new: NewSchema) -> Result<Registered, Problem> {
    app.host.schemas.register(new).await.map_err(report)
}

/// What would become of a schema that is registered.
pub(crate) struct Checked {
    /// The version that it would get; `None` if it would get none.
    pub(crate) version: Option<u32>,
    pub(crate) incompatibilities: Vec<Incompatible>,
}

/// What does not go with a version beside it.
pub(crate) struct Incompatible {
    pub(crate) at: String,
    pub(crate) message: String,
    pub(crate) old_version: u32,
    pub(crate) new_version: u32,
    pub(crate) direction: Compatibility,
    pub(crate) certain: bool,
}

/// Incompatibilities are no failure of this; a schema that is none is.
pub(crate) async fn check(app: &App, new: NewSchema) -> Result<Checked, Problem> {
    match app.host.schemas.check_all(&[new]).await {
        Ok(registered) => {
            let version = registered.first().map(|one| one.info.version);
            Ok(Checked { version, incompatibilities: Vec::new() })
        }
        Err(SchemaError::Incompatible(details)) => {
            let incompatible = |detail: wasmill_core::code::Detail| {
                let fact =
                    |name| detail.facts.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
                let number = |name| fact(name).and_then(|number| number.parse().ok()).unwrap_or_default();
                let direction = match fact("direction") {
                    Some("forward") => Compatibility::Forward,
                    _ => Compatibility::Backward,
                };
                Incompatible {
                    old_version: number("old_version"),
                    new_version: number("new_version"),
                    direction,
                    certain: fact("certain") == Some("true"),
                    at: detail.at,
                    message: detail.message,
                }
            };
            Ok(Checked { version: None, incompatibilities: details.into_iter().map(incompatible).collect() })
        }
        Err(error) => Err(report(error)),
    }
}

pub(crate) fn list(app: &App, after: Option<&str>, limit: usize) -> TypePage {
    app.host.schemas.list(after, limit)
}

pub(crate) fn show_type(app: &App, event_type: &str) -> Result<TypeInfo, Problem> {
    app.host.schemas.get(event_type).map_err(report)
}

pub(crate) async fn show(app: &App, event_type: &str, version: Option<u32>) -> Result<Schema, Problem> {
    app.host.schemas.schema(event_type, version).await.map_err(report)
}

pub(crate) async fn set_compatibility(app: &App, event_type: &str, mode: Compatibility) -> Result<TypeInfo, Problem> {
    app.host.schemas.set_compatibility(event_type, mode).await.map_err(report)
}

pub(crate) async fn delete(app: &App, event_type: &str, version: u32, force: bool) -> Result<(), Problem> {
    app.host.schemas.delete(event_type, version, force).await.map_err(report)
}

/// The version that data was put to, and where it breaks it.
pub(crate) async fn validate(
    app: &App,
    event_type: &str,
    version: Option<u32>,
    data: &[u8],
) -> Result<(u32, Vec<Violation>), Problem> {
    let (info, judgement) = app.host.schemas.validate(event_type, version, data).await.map_err(report)?;
    match judgement {
        Judgement::Keeps | Judgement::Unknown => Ok((info.version, Vec::new())),
        Judgement::NotJson => Err(Problem::new(Code::MalformedBody, "the data is not JSON")),
        Judgement::Breaks(violations) => Ok((info.version, violations)),
    }
}
