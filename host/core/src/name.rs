//! Names of streams and event types, and the globs that match them.

use std::fmt;
use std::sync::Arc;

use crate::limits::publish::NAME_BYTES_MAX;

/// Why a name is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    #[error("it is empty; a name has 1 to {NAME_BYTES_MAX} bytes")]
    Empty,
    #[error("it has {bytes} bytes; a name has 1 to {NAME_BYTES_MAX} bytes")]
    TooLong { bytes: usize },
    #[error("it has the control character U+{code:04X} at byte {at}; a name has none")]
    ControlCharacter { code: u32, at: usize },
    #[error("it begins with `$`, which is kept for the host's own streams")]
    Reserved,
}

/// Checks the rules that stream names and event types share: 1 to 200 bytes of UTF-8 without
/// control characters, not beginning with `$`.
pub fn check(name: &str) -> Result<(), InvalidName> {
    if name.is_empty() {
        return Err(InvalidName::Empty);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(InvalidName::TooLong { bytes: name.len() });
    }
    if let Some((at, c)) = name.char_indices().find(|(_, c)| c.is_control()) {
        return Err(InvalidName::ControlCharacter { code: u32::from(c), at });
    }
    if name.starts_with('$') {
        return Err(InvalidName::Reserved);
    }
    Ok(())
}

/// The checked name of a stream. Cloning shares the text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamName(Arc<str>);

impl StreamName {
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        check(name)?;
        Ok(Self(name.into()))
    }

    /// A name that was checked before it was stored.
    pub fn from_stored(name: &str) -> Self {
        Self(name.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A glob in which `*` stands for any text, the empty one included, and nothing else is special.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(Box<str>);

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Pattern {
    /// Follows the rules of names, but that a leading `$` is allowed: a pattern may ask for the
    /// host's own streams.
    pub fn new(glob: &str) -> Result<Self, InvalidName> {
        match check(glob) {
            Ok(()) | Err(InvalidName::Reserved) => Ok(Self(glob.into())),
            Err(error) => Err(error),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What every text that matches begins with.
    pub fn prefix(&self) -> &str {
        self.0.split('*').next().unwrap_or_default()
    }

    /// Bytes of all that is not `*`.
    pub fn literal_bytes(&self) -> usize {
        self.0.bytes().filter(|byte| *byte != b'*').count()
    }

    /// Whether it matches one text only: itself.
    pub fn is_exact(&self) -> bool {
        !self.0.contains('*')
    }

    /// Linear in the text for each `*`: greedy parts never have to be taken back, since each part
    /// may match at its first occurrence.
    pub fn matches(&self, text: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = text.strip_prefix(first) else { return false };
        let Some(mut part) = parts.next() else { return rest.is_empty() };
        for next in parts {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
            part = next;
        }
        rest.ends_with(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules() {
        assert_eq!(check(""), Err(InvalidName::Empty));
        assert_eq!(check("a\u{7}b"), Err(InvalidName::ControlCharacter { code: 7, at: 1 }));
        assert_eq!(check(&"x".repeat(201)), Err(InvalidName::TooLong { bytes: 201 }));
        assert_eq!(check("$host"), Err(InvalidName::Reserved));
        assert_eq!(check("заказ-1 / ü"), Ok(()));
    }

    #[test]
    fn a_star_stands_for_any_text() {
        let matches = |glob: &str, text: &str| Pattern::new(glob).is_ok_and(|p| p.matches(text));
        assert!(matches("order-*", "order-") && matches("order-*", "order-7"));
        assert!(matches("*", "anything") && matches("*-x-*", "a-x-b") && matches("a**b", "ab"));
        assert!(matches("a*b*a", "aba") && matches("*.created", "user.created"));
        assert!(!matches("order-*", "border-1") && !matches("a*a", "a") && !matches("a", "ab"));
        assert!(!matches("a*b*c", "acb"));
    }
}
