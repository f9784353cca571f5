//! What the host does with a descriptor, for the native harness: refuse a bad one, choose events.

use super::{APPEND, Descriptor, HTTP, Kind, SECRET, Subscription};

impl Descriptor {
    /// Whether the host would feed this event to the plugin.
    pub(crate) fn wants(&self, stream: &str, event_type: &str) -> bool {
        self.subscribes.is_empty() || self.subscribes.iter().any(|entry| entry.matches(stream, event_type))
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn declares(&self, collection: &str) -> bool {
        self.collections.iter().any(|declared| declared.name == collection)
    }

    /// Whether it has asked to append to this stream.
    pub(crate) fn may_append_to(&self, stream: &str) -> bool {
        self.capabilities.iter().filter_map(|name| name.strip_prefix(APPEND)).any(|pattern| glob(pattern, stream))
    }

    /// What each setting is when nobody sets it.
    pub(crate) fn defaults(&self) -> impl Iterator<Item = (String, String)> {
        self.config.iter().filter_map(|setting| Some((setting.name.clone(), setting.default.clone()?)))
    }

    /// What the host would refuse at upload, in one sentence.
    pub(crate) fn fault(&self) -> Option<String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !(1..=64).contains(&self.name.len())
            || !self.name.starts_with(|c: char| c.is_ascii_lowercase())
            || !self.name.chars().all(plain)
        {
            return Some(format!("the name `{}` is not 1 to 64 of a-z, 0-9 and -, first a letter", self.name));
        }
        if !(1..=64).contains(&self.version.len()) {
            return Some(format!("the version `{}` is not 1 to 64 bytes long", self.version));
        }
        if self.description.len() > 1000 || self.collections.iter().any(|c| c.description.len() > 1000) {
            return Some("a description is longer than 1,000 bytes".to_owned());
        }
        if let Some(setting) = self.config.iter().find(|setting| !is_setting(&setting.name)) {
            let rule = "1 to 64 letters, digits, `.`, `_` and `-`, first a letter";
            return Some(format!("the setting `{}` is not {rule}", setting.name));
        }
        if let Some(fault) = self.capability_fault().or_else(|| self.saga_fault()) {
            return Some(fault);
        }
        if self.lifts.len() > 256 {
            return Some(format!("{} lifts are declared, at most 256 may be", self.lifts.len()));
        }
        for lift in &self.lifts {
            let (from, to) = (lift.version, lift.to_version);
            if from == 0 || (lift.to_type.is_none() && to <= from) {
                return Some(format!("`{}` version {from} cannot be lifted to {to}: it goes upwards", lift.event_type));
            }
        }
        if self.collections.iter().any(|collection| collection.indexes.len() > 16) {
            return Some("a collection has more than 16 indexes".to_owned());
        }
        if self.collections.len() > 64 {
            return Some(format!("{} collections are declared, at most 64 may be", self.collections.len()));
        }
        #[cfg(feature = "schema")]
        if let Some(fault) = self.schema_fault() {
            return Some(fault);
        }
        self.collections
            .iter()
            .map(|declared| declared.name)
            .find(|name| !(1..=64).contains(&name.len()) || !name.chars().all(|c| plain(c) || c == '_'))
            .map(|name| format!("the collection `{name}` is not 1 to 64 of a-z, 0-9, - and _"))
    }
}

impl Descriptor {
    fn capability_fault(&self) -> Option<String> {
        let (known, there): (&[&str], _) = match self.kind {
            Some(Kind::Saga) => {
                (&[APPEND, HTTP, SECRET], "`append:PATTERN`, `http:METHODS URL-PATTERN` and `secret:NAME`")
            }
            _ => (&[APPEND], "`append:PATTERN`, for streams"),
        };
        let unknown = |name: &&String| !known.iter().any(|known| name.starts_with(known));
        let capability = self.capabilities.iter().find(unknown)?;
        Some(format!("there is no capability `{capability}`; there is {there}"))
    }

    fn saga_fault(&self) -> Option<String> {
        let is_saga = matches!(self.kind, Some(Kind::Saga));
        if is_saga && !(1..=64).contains(&self.steps.len()) {
            return Some(format!("{} steps are declared; a saga has 1 to 64", self.steps.len()));
        }
        if !is_saga && self.saga.is_some() {
            return Some("it says what only a saga can".to_owned());
        }
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        for (i, step) in self.steps.iter().enumerate() {
            let name = step.name;
            if !(1..=64).contains(&name.len())
                || !name.starts_with(|c: char| c.is_ascii_lowercase())
                || !name.chars().all(plain)
            {
                return Some(format!("the step `{name}` is not 1 to 64 of a-z, 0-9 and -, first a letter"));
            }
            if self.steps[..i].iter().any(|other| other.name == name) {
                return Some(format!("the step `{name}` stands twice"));
            }
        }
        let pivots = self.steps.iter().filter(|step| step.is_pivot()).count();
        (pivots > 1).then(|| "at most one step is the pivot".to_owned())
    }
}

#[cfg(feature = "schema")]
impl Descriptor {
    fn schema_fault(&self) -> Option<String> {
        if self.schemas.len() > 64 {
            return Some(format!("{} schemas are declared, at most 64 may be", self.schemas.len()));
        }
        let named =
            |declared: &&super::DeclaredSchema| declared.version == 0 || !(1..=200).contains(&declared.r#type.len());
        let wrong = self.schemas.iter().find(named)?;
        let (event_type, version) = (&wrong.r#type, wrong.version);
        Some(format!(
            "the schema of `{event_type}` in version {version}: a type has 1 to 200 bytes, versions begin with 1"
        ))
    }
}

fn is_setting(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.len() <= 64
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

impl Subscription {
    fn matches(&self, stream: &str, event_type: &str) -> bool {
        let any = |patterns: &[String], text| patterns.is_empty() || patterns.iter().any(|p| glob(p, text));
        any(&self.streams, stream) && any(&self.types, event_type)
    }
}

/// Whether `text` matches `pattern`, in which `*` stands for any run of characters.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(head) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let tail = parts.pop().expect("split gives at least one part");
    // The leftmost place of each part leaves the most room for those after it.
    for part in parts {
        let Some(at) = text.find(part) else {
            return false;
        };
        text = &text[at + part.len()..];
    }
    text.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, text, expected) in [
            ("aircraft-*", "aircraft-N1", true),
            ("aircraft-*", "aircraft", false),
            ("*", "", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a*a", "a", false),
            ("flight.*", "flights.departed", false),
            ("exact", "exact", true),
            ("exact", "exactly", false),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} against {text}");
        }
    }
}
