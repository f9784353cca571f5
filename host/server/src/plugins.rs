//! Plugins and their life cycle, as both faces see them.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use wasmill_core::code::{Code, Problem};
use wasmill_core::plugin::deploy::{DeployError, DeployOptions};
use wasmill_core::plugin::descriptor::Kind;
use wasmill_core::plugin::settings::Settings;
use wasmill_core::plugin::setup::{Setup, SetupChange};
use wasmill_core::plugin::status::PluginStatus;
use wasmill_core::record::RevisionRecord;
use wasmill_core::saga::view::OpenSagas;

use crate::app::App;
use crate::errors::report;

pub(crate) const DRAIN_DEFAULT: Duration = Duration::from_secs(30);
/// Who wants to wait longer asks again.
pub(crate) const DRAIN_MAX: Duration = Duration::from_secs(600);

/// How long one who looks at all plugins waits for them.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// Revisions of one answer.
pub(crate) const REVISIONS_MAX: usize = 1_000;

/// A plugin after something was done to it.
pub(crate) struct Done {
    pub(crate) status: PluginStatus,
    /// Whether that made a new revision.
    pub(crate) changed: bool,
}

/// A revision, and what it is to its plugin now.
pub(crate) struct Revision {
    pub(crate) record: RevisionRecord,
    pub(crate) setup: Setup,
    pub(crate) role: Role,
}

impl Revision {
    fn of(plugin: &PluginStatus, record: RevisionRecord) -> Self {
        let role = role(plugin, record.number);
        Self { setup: Setup::parse(&record.setup), role, record }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Kept, so that one can go back to it.
    Kept,
    /// It works, or answers queries.
    Running,
    /// Its read model is being built.
    Building,
    /// Its read model served before, and is kept up to date.
    Standby,
}

impl Role {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Role::Kept => "kept",
            Role::Running => "running",
            Role::Building => "building",
            Role::Standby => "standby",
        }
    }
}

pub(crate) async fn status(app: &App, name: &str) -> Result<PluginStatus, Problem> {
    app.host.plugins.status(name).await.map_err(report)
}

/// All of them, in byte order of their names.
pub(crate) async fn list(app: &App) -> Result<Vec<PluginStatus>, Problem> {
    let mut list = Vec::new();
    for plugin in app.host.plugins.list() {
        match app.host.plugins.status(&plugin.name).await {
            Ok(status) => list.push(status),
            // It was removed meanwhile.
            Err(DeployError::NotFound(_)) => {}
            Err(error) => return Err(report(error)),
        }
    }
    Ok(list)
}

/// How a plugin is, with its sagas.
pub(crate) struct Overview {
    pub(crate) status: PluginStatus,
    /// Those that have not ended, if it is a saga.
    pub(crate) open_sagas: Option<OpenSagas>,
}

pub(crate) async fn overview(app: &App, name: &str) -> Result<Overview, Problem> {
    let status = status(app, name).await?;
    let open_sagas = match status.record.kind {
        Kind::Saga => Some(app.host.sagas.open_by_revision(name).await.map_err(report)?),
        Kind::Projection | Kind::Handler | Kind::Upcaster => None,
    };
    Ok(Overview { status, open_sagas })
}

/// One with sagas that have not ended is removed by force only: they need its code.
pub(crate) async fn remove(app: &App, name: &str, force: bool) -> Result<(), Problem> {
    let is_saga = app.host.plugins.get(name).is_ok_and(|plugin| plugin.kind == Kind::Saga);
    if is_saga && !force && app.host.sagas.has_open(name).await.map_err(report)? {
        let message = format!("sagas of `{name}` have not ended");
        return Err(Problem::new(Code::PluginInUse, message));
    }
    app.host.plugins.remove(name).await.map_err(report)?;
    if is_saga {
        app.host.sagas.forget_type(name);
    }
    Ok(())
}

/// Those that can be asked now, for who looks at the host: how far a handler is, the store may have to say, and
/// nobody who looks waits for that.
pub(crate) async fn seen(app: &App) -> Vec<PluginStatus> {
    let mut seen = Vec::new();
    let look = async {
        for plugin in app.host.plugins.list() {
            seen.extend(app.host.plugins.status(&plugin.name).await.ok());
        }
    };
    // What was seen by then is told.
    let _ = tokio::time::timeout(LOOK_MAX, look).await;
    seen
}

/// The author's own version, which stands in the descriptor.
pub(crate) fn version_in(descriptor: &str) -> String {
    let descriptor: Option<Value> = serde_json::from_str(descriptor).ok();
    descriptor.and_then(|descriptor| Some(descriptor.get("version")?.as_str()?.to_owned())).unwrap_or_default()
}

/// Positions of the log that it is not done with.
pub(crate) fn lag_events(status: &PluginStatus) -> u64 {
    status.tail.0.saturating_sub(status.position.0)
}

/// `start_at` is what the place where it begins is called by the caller.
pub(crate) async fn deploy(
    app: &App,
    component: Bytes,
    options: &DeployOptions,
    start_at: &str,
) -> Result<Done, Problem> {
    if options.start.is_some() {
        let kind = app.host.plugins.check(component.clone()).await.map_err(report)?.descriptor.kind;
        if kind != Kind::Handler {
            let message = format!("only a handler begins somewhere in the log; this is a {}", kind.as_str());
            return Err(Problem::new(Code::InvalidArgument, &message).with(start_at, message));
        }
    }
    let deployed = app.host.plugins.deploy(component, options).await.map_err(report)?;
    let status = status(app, &deployed.plugin.name).await?;
    Ok(Done { status, changed: deployed.changed })
}

/// A new revision of the same component, with another configuration or other grants.
pub(crate) async fn configure(app: &App, name: &str, change: SetupChange) -> Result<Done, Problem> {
    let deployed = app.host.plugins.configure(name, change).await.map_err(report)?;
    Ok(Done { status: status(app, name).await?, changed: deployed.changed })
}

pub(crate) async fn roll_back(app: &App, name: &str, to: Option<u32>) -> Result<PluginStatus, Problem> {
    app.host.plugins.roll_back(name, to).await.map_err(report)?;
    status(app, name).await
}

/// The newest `limit` revisions, the newest first.
pub(crate) async fn revisions(app: &App, name: &str, limit: usize) -> Result<Vec<Revision>, Problem> {
    let plugin = status(app, name).await?;
    let records = app.host.plugins.revisions(name).await.map_err(report)?;
    Ok(records.into_iter().rev().take(limit).map(|record| Revision::of(&plugin, record)).collect())
}

/// A revision with its component; without a number the one that works or answers queries now.
pub(crate) async fn component(app: &App, name: &str, number: Option<u32>) -> Result<(Revision, Bytes), Problem> {
    let plugin = status(app, name).await?;
    let (record, component) = app.host.plugins.revision(name, number).await.map_err(report)?;
    Ok((Revision::of(&plugin, record), component))
}

fn role(plugin: &PluginStatus, number: u32) -> Role {
    if number == plugin.running {
        return Role::Running;
    }
    let is = |build: &Option<wasmill_core::plugin::status::BuildStatus>| {
        build.as_ref().is_some_and(|build| build.revision == number)
    };
    match (is(&plugin.building), is(&plugin.standby)) {
        (true, _) => Role::Building,
        (false, true) => Role::Standby,
        (false, false) => Role::Kept,
    }
}

pub(crate) async fn settings(app: &App, name: &str) -> Result<Settings, Problem> {
    Ok(status(app, name).await?.settings)
}

/// Changes settings by a JSON merge patch (RFC 7396): what is null has its default again.
pub(crate) async fn change_settings(app: &App, name: &str, patch: &Value) -> Result<Settings, Problem> {
    let after = patched(&settings(app, name).await?, patch)?;
    let wanted = patch.get("wanted").map(|_| after.wanted);
    // A patch that fits some settings fits all: what is wrong with it is wrong with itself.
    let change = |settings: &mut Settings| {
        if let Ok(patched) = patched(settings, patch) {
            *settings = patched;
        }
    };
    app.host.plugins.change_settings(name, wanted, change).await.map_err(report)
}

fn patched(settings: &Settings, patch: &Value) -> Result<Settings, Problem> {
    let refused = |at: String, what: String| {
        Problem::new(Code::InvalidArgument, format!("the settings are refused: {at}: {what}")).with(at, what)
    };
    if !patch.is_object() {
        return Err(refused("settings".into(), "give an object with the settings that change".into()));
    }
    let mut whole = settings_json(settings);
    merge(&mut whole, patch);
    serde_path_to_error::deserialize(whole).map_err(|error| {
        let path = error.path().to_string();
        let at = if path == "." { "settings".to_owned() } else { path };
        refused(at, error.into_inner().to_string())
    })
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (name, change) in changes {
        match change {
            Value::Null => drop(fields.remove(name)),
            change => merge(fields.entry(name.clone()).or_insert(Value::Null), change),
        }
    }
}

/// Settings without what is not said.
pub(crate) fn settings_json(settings: &Settings) -> Value {
    let mut json = serde_json::to_value(settings).unwrap_or_default();
    without_nulls(&mut json);
    json
}

pub(crate) fn without_nulls(value: &mut Value) {
    let Value::Object(fields) = value else { return };
    fields.retain(|_, field| !field.is_null());
    fields.values_mut().for_each(without_nulls);
}

/// What operators want of a plugin.
pub(crate) async fn want(
    app: &App,
    name: &str,
    wanted: wasmill_core::plugin::settings::Wanted,
) -> Result<Overview, Problem> {
    app.host.plugins.change_settings(name, Some(wanted), |_| {}).await.map_err(report)?;
    overview(app, name).await
}

/// Waits until it has worked off what the log has now, and pauses it; `false` when the time was not enough.
pub(crate) async fn drain(app: &App, name: &str, wait: Duration) -> Result<bool, Problem> {
    tokio::select! {
        biased;
        () = app.drain.cancelled() => Err(App::draining()),
        drained = app.host.plugins.drain(name, wait) => drained.map_err(report),
    }
}

/// Lets a read model serve that waits for a person, or gives up the one that served before; `false` when there
/// is none.
pub(crate) async fn confirm(app: &App, name: &str, drop_standby: bool) -> Result<bool, Problem> {
    let plugins = &app.host.plugins;
    let done = if drop_standby { plugins.confirm(name).await } else { plugins.confirm_swap(name).await };
    done.map_err(report)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wasmill_core::plugin::settings::{OnFailure, Wanted};

    use super::*;

    #[test]
    fn a_patch_changes_what_it_names_and_null_brings_a_default_back() {
        let before = json!({ "wanted": "paused", "attempts": 3, "retry": { "baseMs": 5, "factor": 3 } });
        let before: Settings = serde_json::from_value(before).unwrap();
        let patch =
            json!({ "wanted": null, "attempts": 4, "retry": { "baseMs": null, "maxMs": 9 }, "onFailure": "park" });
        let after = patched(&before, &patch).unwrap();
        assert_eq!((after.wanted, after.attempts, after.on_failure), (Wanted::Running, Some(4), Some(OnFailure::Park)));
        assert_eq!((after.retry.base_ms, after.retry.factor, after.retry.max_ms), (None, Some(3), Some(9)));
        assert_eq!(patched(&after, &json!({ "retry": null })).unwrap().retry, Settings::default().retry);
        assert_eq!(patched(&before, &json!({})).unwrap(), before);
        let shown = settings_json(&before);
        assert_eq!(shown["retry"], json!({ "baseMs": 5, "factor": 3 }));
        assert!(shown.get("onFailure").is_none(), "{shown}");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let at = |patch: Value| patched(&Settings::default(), &patch).unwrap_err().details.remove(0).at;
        assert_eq!(at(json!({ "colour": 1 })), "colour");
        assert_eq!(at(json!({ "retry": { "baseMs": "soon" } })), "retry.baseMs");
        assert_eq!(at(json!({ "onFailure": "explode" })), "onFailure");
        assert_eq!(at(json!({ "retry": 7 })), "retry");
        assert_eq!(at(json!([])), "settings");
    }
}
