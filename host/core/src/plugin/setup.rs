//! What a revision is deployed with: its configuration, and what it was granted. Both are fixed with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::capability::{Capability, CapabilityError};
use super::descriptor::Descriptor;
use crate::limits::plugin as limits;
use crate::name::Pattern;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Setup {
    pub config: BTreeMap<String, String>,
    /// Capabilities, as the descriptor names them.
    pub grants: BTreeSet<String>,
}

/// What a deployment changes of the setup that the plugin has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetupChange {
    pub set: BTreeMap<String, String>,
    pub unset: BTreeSet<String>,
    pub grant: BTreeSet<String>,
    pub revoke: BTreeSet<String>,
    /// Whatever the plugin asks for is granted.
    pub grant_all: bool,
}

/// Each entry is a setting or a capability, and what is wrong with it.
pub type Broken = Vec<(String, String)>;

impl Setup {
    pub fn parse(json: &str) -> Self {
        serde_json::from_str(json).unwrap_or_default()
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("it has only texts")
    }

    /// The setup of a plugin that says `descriptor` of itself, when `change` is made to this one. What this one
    /// grants that is not asked for any more is dropped.
    pub fn changed(&self, change: &SetupChange, descriptor: &Descriptor) -> Result<Self, Broken> {
        let asked: BTreeSet<String> = descriptor.capabilities.iter().cloned().collect();
        let mut broken = Broken::new();
        let mut config = self.config.clone();
        config.retain(|name, _| !change.unset.contains(name));
        config.extend(change.set.clone());
        let mut grants: BTreeSet<String> = self.grants.intersection(&asked).cloned().collect();
        grants.retain(|grant| !change.revoke.contains(grant));
        if change.grant_all {
            grants.extend(asked.iter().cloned());
        }
        for grant in &change.grant {
            if asked.contains(grant) {
                grants.insert(grant.clone());
            } else {
                let list = asked.iter().cloned().collect::<Vec<_>>().join(", ");
                let asks = if list.is_empty() { "it asks for none".into() } else { format!("it asks for {list}") };
                broken.push((format!("grants.{grant}"), format!("the plugin does not ask for it; {asks}")));
            }
        }
        for missing in asked.difference(&grants) {
            let what = "the plugin asks for it, and nothing is granted by default: grant it, or do not deploy";
            broken.push((format!("grants.{missing}"), what.into()));
        }
        let setup = Self { config, grants };
        broken.extend(setup.broken_settings(descriptor));
        if broken.is_empty() { Ok(setup) } else { Err(broken) }
    }

    fn broken_settings(&self, descriptor: &Descriptor) -> Broken {
        let mut broken = Broken::new();
        for (name, value) in &self.config {
            if !descriptor.config.iter().any(|setting| setting.name == *name) {
                let known: Vec<_> = descriptor.config.iter().map(|setting| setting.name.as_str()).collect();
                let known =
                    if known.is_empty() { "it has none".into() } else { format!("it has {}", known.join(", ")) };
                broken.push((format!("config.{name}"), format!("the plugin has no such setting; {known}")));
            }
            if value.len() > limits::SETTING_BYTES_MAX {
                let what = format!("it has {} bytes; the limit is {}", value.len(), limits::SETTING_BYTES_MAX);
                broken.push((format!("config.{name}"), what));
            }
        }
        for setting in descriptor.config.iter().filter(|setting| setting.required) {
            if !self.config.contains_key(&setting.name) && setting.default.is_none() {
                broken.push((format!("config.{}", setting.name), "it has to be set".into()));
            }
        }
        for grant in &self.grants {
            if let Err(error) = self.filled_in(grant, descriptor) {
                broken.push((format!("grants.{grant}"), error.to_string()));
            }
        }
        broken
    }

    /// What the plugin is told: what is set, and the defaults of what is not.
    pub fn pairs(&self, descriptor: &Descriptor) -> Arc<[(String, String)]> {
        let value = |name: &str, default: &Option<String>| self.config.get(name).cloned().or_else(|| default.clone());
        let pair = |setting: &super::descriptor::Setting| {
            Some((setting.name.clone(), value(&setting.name, &setting.default)?))
        };
        descriptor.config.iter().filter_map(pair).collect()
    }

    /// What was granted, with the settings put in that URLs begin with.
    pub fn capabilities(&self, descriptor: &Descriptor) -> Vec<String> {
        self.grants.iter().filter_map(|grant| self.filled_in(grant, descriptor).ok()).collect()
    }

    fn filled_in(&self, grant: &str, descriptor: &Descriptor) -> Result<String, CapabilityError> {
        Capability::filled_in(grant, |name| {
            let setting = descriptor.config.iter().find(|setting| setting.name == name)?;
            self.config.get(name).or(setting.default.as_ref()).cloned()
        })
    }

    /// The streams that it may append to.
    pub fn appends_to(&self) -> Arc<[Pattern]> {
        let pattern = |grant: &String| match Capability::parse(grant) {
            Ok(Capability::Append(pattern)) => Some(pattern),
            Ok(Capability::Http(_) | Capability::Secret(_)) | Err(_) => None,
        };
        self.grants.iter().filter_map(pattern).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::descriptor::Kind;

    fn descriptor() -> Descriptor {
        let json = r#"{"name":"h","version":"1","kind":"handler","capabilities":["append:a-*","append:b"],
            "config":[{"name":"rate","default":"5"},{"name":"region","required":true},{"name":"note"}]}"#;
        Descriptor::parse(json, Kind::Handler).unwrap()
    }

    fn texts(all: &[&str]) -> BTreeSet<String> {
        all.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn nothing_is_granted_or_set_by_default_and_all_that_is_missing_is_named() {
        let broken = Setup::default().changed(&SetupChange::default(), &descriptor()).unwrap_err();
        let at: Vec<&str> = broken.iter().map(|(at, _)| at.as_str()).collect();
        assert_eq!(at, ["grants.append:a-*", "grants.append:b", "config.region"]);
        let change = SetupChange {
            set: BTreeMap::from([("colour".into(), "red".into()), ("region".into(), "eu".into())]),
            grant: texts(&["append:c"]),
            grant_all: true,
            ..SetupChange::default()
        };
        let broken = Setup::default().changed(&change, &descriptor()).unwrap_err();
        let at: Vec<&str> = broken.iter().map(|(at, _)| at.as_str()).collect();
        assert_eq!(at, ["grants.append:c", "config.colour"]);
    }

    #[test]
    fn a_change_is_laid_over_what_there_is() {
        let before = Setup {
            config: BTreeMap::from([("region".into(), "eu".into()), ("note".into(), "n".into())]),
            grants: texts(&["append:a-*", "append:gone"]),
        };
        let change = SetupChange {
            set: BTreeMap::from([("rate".into(), "7".into())]),
            unset: texts(&["note"]),
            grant: texts(&["append:b"]),
            ..SetupChange::default()
        };
        let after = before.changed(&change, &descriptor()).unwrap();
        assert_eq!(after.grants, texts(&["append:a-*", "append:b"]));
        let pairs = [("rate".to_owned(), "7".to_owned()), ("region".to_owned(), "eu".to_owned())];
        assert_eq!(*after.pairs(&descriptor()), pairs);
        assert_eq!(Setup::parse(&after.to_json()), after);
        let streams: Vec<_> = after.appends_to().iter().map(ToString::to_string).collect();
        assert_eq!(streams, ["a-*", "b"]);
    }

    #[test]
    fn what_a_url_begins_with_is_set_and_is_a_url() {
        let json = r#"{"name":"s","version":"1","kind":"saga","steps":[{"name":"a"}],
            "capabilities":["append:a-*","http:POST {partner}/v1/*","secret:key"],"config":[{"name":"partner"}]}"#;
        let descriptor = Descriptor::parse(json, Kind::Saga).unwrap();
        let with = |partner: &str| {
            let set = BTreeMap::from([("partner".to_owned(), partner.to_owned())]);
            let change = SetupChange { set, grant_all: true, ..SetupChange::default() };
            Setup::default().changed(&change, &descriptor)
        };
        let setup = with("https://p.example/x/").unwrap();
        let filled_in = ["append:a-*", "http:POST https://p.example/x/v1/*", "secret:key"];
        assert_eq!(setup.capabilities(&descriptor), filled_in);
        for partner in ["", "p.example", "ftp://p.example", "https://me:pw@p.example", "https://p.example?x"] {
            let broken = with(partner).unwrap_err();
            assert_eq!(broken[0].0, "grants.http:POST {partner}/v1/*", "{partner}: {broken:?}");
        }
    }
}
