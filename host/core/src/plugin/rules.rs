//! What must hold of the parts of a descriptor that only some plugins have.

use std::collections::HashSet;

use super::capability::{Capability, CapabilityError, known_to};
use super::descriptor::{Collection, Descriptor, Kind, Lift, identifier_rule, is_identifier};
use crate::limits::plugin as limits;
use crate::name;
use crate::saga;
use crate::saga::http::grant::GrantError;

/// Hands every rule that is broken to `refuse`: where, and what would be right.
pub(super) fn check(descriptor: &Descriptor, refuse: &mut impl FnMut(String, String)) {
    let kind = descriptor.kind;
    let has_state = matches!(kind, Kind::Projection | Kind::Handler);
    only_for(!descriptor.collections.is_empty(), has_state, ("collections", kind), refuse);
    only_for(!descriptor.lifts.is_empty(), kind == Kind::Upcaster, ("lifts", kind), refuse);
    only_for(!descriptor.steps.is_empty(), kind == Kind::Saga, ("steps", kind), refuse);
    only_for(descriptor.saga.is_some(), kind == Kind::Saga, ("saga", kind), refuse);
    let is_fed = matches!(kind, Kind::Projection | Kind::Handler);
    only_for(!descriptor.subscribes.is_empty(), is_fed, ("subscribes", kind), refuse);
    for (i, collection) in descriptor.collections.iter().enumerate() {
        check_indexes(i, collection, refuse);
    }
    let lists = [
        ("config", descriptor.config.len(), limits::ENTRIES_MAX),
        ("schemas", descriptor.schemas.len(), limits::ENTRIES_MAX),
        ("lifts", descriptor.lifts.len(), limits::LIFTS_MAX),
        ("steps", descriptor.steps.len(), limits::ENTRIES_MAX),
    ];
    for (name, _, max) in lists.into_iter().filter(|(_, length, max)| length > max) {
        refuse(name.into(), format!("it has at most {max} entries"));
    }
    check_config(descriptor, refuse);
    check_schemas(descriptor, refuse);
    if kind == Kind::Upcaster {
        check_lifts(&descriptor.lifts, refuse);
    }
    if kind == Kind::Saga {
        check_steps(descriptor, refuse);
        saga::definition::check(descriptor, refuse);
    }
    check_capabilities(descriptor, refuse);
}

fn only_for(has: bool, may_have: bool, (what, kind): (&str, Kind), refuse: &mut impl FnMut(String, String)) {
    if has && !may_have {
        refuse(what.into(), format!("a plugin of kind {} has none", kind.as_str()));
    }
}

fn check_indexes(i: usize, collection: &Collection, refuse: &mut impl FnMut(String, String)) {
    if collection.indexes.len() > limits::INDEXES_MAX {
        refuse(format!("collections[{i}].indexes"), format!("it has at most {} entries", limits::INDEXES_MAX));
    }
    let mut seen = HashSet::new();
    for (j, index) in collection.indexes.iter().enumerate() {
        let at = || format!("collections[{i}].indexes[{j}].field");
        let field = &index.field;
        let whole = field.split('.').all(|name| !name.is_empty()) && !field.chars().any(char::is_control);
        if !whole || field.len() > limits::FIELD_BYTES_MAX {
            refuse(at(), format!("`{field}` is not a field: names with dots between them, up to 200 bytes"));
        }
        if !seen.insert(field) {
            refuse(at(), format!("`{field}` stands twice"));
        }
    }
}

fn check_config(descriptor: &Descriptor, refuse: &mut impl FnMut(String, String)) {
    let mut seen = HashSet::new();
    for (i, setting) in descriptor.config.iter().enumerate() {
        let name = &setting.name;
        let fits = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.len() <= limits::NAME_BYTES_MAX
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if !fits {
            let rule = "1 to 64 of a-z, A-Z, 0-9, `.`, `_` and `-`, beginning with a letter";
            refuse(format!("config[{i}].name"), format!("`{name}` is not the name of a setting: {rule}"));
        }
        if !seen.insert(name) {
            refuse(format!("config[{i}].name"), format!("`{name}` stands twice"));
        }
        if setting.default.as_ref().is_some_and(|default| default.len() > limits::SETTING_BYTES_MAX) {
            refuse(format!("config[{i}].default"), format!("it has at most {} bytes", limits::SETTING_BYTES_MAX));
        }
    }
}

fn check_schemas(descriptor: &Descriptor, refuse: &mut impl FnMut(String, String)) {
    let mut seen = HashSet::new();
    for (i, schema) in descriptor.schemas.iter().enumerate() {
        check_type(&format!("schemas[{i}]"), &schema.event_type, schema.version, refuse);
        if !seen.insert((&schema.event_type, schema.version)) {
            let (name, version) = (&schema.event_type, schema.version);
            refuse(format!("schemas[{i}]"), format!("`{name}` version {version} stands twice"));
        }
    }
}

fn check_lifts(lifts: &[Lift], refuse: &mut impl FnMut(String, String)) {
    if lifts.is_empty() {
        refuse("lifts".into(), "an upcaster says what it lifts: {\"type\", \"version\", \"toVersion\"}".into());
    }
    let mut seen = HashSet::new();
    for (i, lift) in lifts.iter().enumerate() {
        check_type(&format!("lifts[{i}]"), &lift.event_type, lift.version, refuse);
        check_type(&format!("lifts[{i}]"), lift.to_type(), lift.to_version, refuse);
        if lift.to_type() == lift.event_type && lift.to_version <= lift.version {
            let (from, to) = (lift.version, lift.to_version);
            refuse(
                format!("lifts[{i}].toVersion"),
                format!("version {from} cannot be lifted to {to}: it goes upwards"),
            );
        }
        if !seen.insert((&lift.event_type, lift.version)) {
            let (name, version) = (&lift.event_type, lift.version);
            refuse(format!("lifts[{i}]"), format!("`{name}` version {version} stands twice"));
        }
    }
}

fn check_type(at: &str, event_type: &str, version: u32, refuse: &mut impl FnMut(String, String)) {
    if let Err(error) = name::check(event_type) {
        refuse(format!("{at}.type"), error.to_string());
    }
    if version == 0 {
        refuse(format!("{at}.version"), "versions are counted from 1".into());
    }
}

fn check_steps(descriptor: &Descriptor, refuse: &mut impl FnMut(String, String)) {
    if descriptor.steps.is_empty() {
        refuse("steps".into(), "a saga has at least one step".into());
    }
    let mut seen = HashSet::new();
    for (i, step) in descriptor.steps.iter().enumerate() {
        if !is_identifier(&step.name, "-") {
            refuse(format!("steps[{i}].name"), identifier_rule(&step.name, "-"));
        }
        if !seen.insert(&step.name) {
            refuse(format!("steps[{i}].name"), format!("`{}` stands twice", step.name));
        }
    }
}

fn check_capabilities(descriptor: &Descriptor, refuse: &mut impl FnMut(String, String)) {
    if descriptor.capabilities.len() > limits::CAPABILITIES_MAX {
        refuse("capabilities".into(), format!("it has at most {} entries", limits::CAPABILITIES_MAX));
    }
    for (i, text) in descriptor.capabilities.iter().enumerate() {
        if let Err(what) = check_capability(text, descriptor) {
            refuse(format!("capabilities[{i}]"), what);
        }
    }
}

fn check_capability(text: &str, descriptor: &Descriptor) -> Result<(), String> {
    let kind = descriptor.kind;
    let of_this_kind = |error: CapabilityError| match error {
        CapabilityError::Unknown { text } => unknown(&text, kind),
        error => error.to_string(),
    };
    let capability = Capability::parse(text).map_err(of_this_kind)?;
    if !capability.is_for(kind) {
        return Err(unknown(text, kind));
    }
    let Capability::Http(grant) = capability else { return Ok(()) };
    match grant.setting().filter(|name| !descriptor.config.iter().any(|setting| setting.name == *name)) {
        Some(name) => Err(GrantError::NoSuchSetting(name.into()).to_string()),
        None => Ok(()),
    }
}

fn unknown(text: &str, kind: Kind) -> String {
    format!("there is no capability `{text}` for a {}{}", kind.as_str(), known_to(kind))
}
