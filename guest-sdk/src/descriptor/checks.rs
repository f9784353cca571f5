//! What the host does with a descriptor, for the native harness: refuse a bad one, choose events.

use super::{DeclaredCollection, Descriptor, Subscription};

impl Descriptor {
    /// Whether the host would feed this event to the plugin.
    pub(crate) fn wants(&self, stream: &str, event_type: &str) -> bool {
        self.subscribes.is_empty() || self.subscribes.iter().any(|entry| entry.matches(stream, event_type))
    }

    pub(crate) fn declares(&self, collection: &str) -> bool {
        self.collections.iter().any(|declared| declared.name == collection)
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
        if self.collections.len() > 64 {
            return Some(format!("{} collections are declared, at most 64 may be", self.collections.len()));
        }
        let fields =
            |declared: &DeclaredCollection| declared.indexes.iter().map(|index| index.field).collect::<Vec<_>>();
        if let Some(declared) = self.collections.iter().find(|declared| declared.indexes.len() > 16) {
            return Some(format!("the collection `{}` has more than 16 indexes", declared.name));
        }
        let whole = |field: &&str| field.len() <= 200 && field.split('.').all(|name| !name.is_empty());
        if let Some(field) = self.collections.iter().flat_map(fields).find(|field| !whole(field)) {
            return Some(format!("the index `{field}` is not names with dots between them, up to 200 bytes"));
        }
        self.collections
            .iter()
            .map(|declared| declared.name)
            .find(|name| !(1..=64).contains(&name.len()) || !name.chars().all(|c| plain(c) || c == '_'))
            .map(|name| format!("the collection `{name}` is not 1 to 64 of a-z, 0-9, - and _"))
    }
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
