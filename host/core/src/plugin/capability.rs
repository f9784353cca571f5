//! What a plugin may be granted beyond its world.

use super::descriptor::Kind;
use crate::limits::plugin as limits;
use crate::name::{InvalidName, Pattern};
use crate::saga::http::grant::{GrantError, HttpGrant};

const APPEND: &str = "append";
const HTTP: &str = "http";
const SECRET: &str = "secret";

/// One, as the descriptor names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Capability<'a> {
    /// `append:PATTERN`: to the streams that match.
    Append(Pattern),
    /// `http:METHODS URL-PATTERN`
    Http(HttpGrant<'a>),
    /// `secret:NAME`: one of the host's secrets, in a header of what it sends.
    Secret(&'a str),
}

/// Why a text is not a capability.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CapabilityError {
    #[error("there is no capability `{text}`")]
    Unknown { text: String },
    #[error(transparent)]
    Pattern(#[from] InvalidName),
    #[error(transparent)]
    Http(#[from] GrantError),
    #[error(
        "`{name}` is not the name of a secret: 1 to {} of a-z, A-Z, 0-9, `_` and `-`, beginning with a letter",
        limits::NAME_BYTES_MAX
    )]
    SecretName { name: String },
}

impl<'a> Capability<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, CapabilityError> {
        match text.split_once(':') {
            Some((APPEND, pattern)) => Ok(Self::Append(Pattern::new(pattern)?)),
            Some((HTTP, grant)) => Ok(Self::Http(HttpGrant::parse(grant)?)),
            Some((SECRET, name)) if is_secret_name(name) => Ok(Self::Secret(name)),
            Some((SECRET, name)) => Err(CapabilityError::SecretName { name: name.into() }),
            _ => Err(CapabilityError::Unknown { text: text.into() }),
        }
    }

    pub(crate) fn is_for(&self, kind: Kind) -> bool {
        match self {
            Capability::Append(_) => matches!(kind, Kind::Handler | Kind::Saga),
            Capability::Http(_) | Capability::Secret(_) => kind == Kind::Saga,
        }
    }

    /// As it is granted, with the setting put in that a URL may begin with.
    pub(crate) fn filled_in(
        text: &'a str,
        setting: impl Fn(&str) -> Option<String>,
    ) -> Result<String, CapabilityError> {
        match Self::parse(text)? {
            Capability::Http(grant) => {
                let value = grant.setting().and_then(setting);
                Ok(format!("{HTTP}:{}", grant.filled_in(value.as_deref())?))
            }
            Capability::Append(_) | Capability::Secret(_) => Ok(text.to_owned()),
        }
    }
}

/// What there is for a kind, in words.
pub(crate) fn known_to(kind: Kind) -> &'static str {
    match kind {
        Kind::Projection | Kind::Upcaster => "",
        Kind::Handler => "; there is `append:PATTERN`, for streams",
        Kind::Saga => {
            "; there are `append:PATTERN`, for streams, `http:METHODS URL-PATTERN`, as in \
             `http:POST https://pay.example.com/v1/*`, and `secret:NAME`"
        }
    }
}

fn is_secret_name(name: &str) -> bool {
    name.len() <= limits::NAME_BYTES_MAX
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
}

#[cfg(test)]
mod tests {
    use crate::plugin::descriptor::{Descriptor, DescriptorError, Kind};

    /// What is said of one capability of a plugin that has the setting `partner`.
    fn said(kind: &str, capability: &str) -> Option<String> {
        let steps = if kind == "saga" { r#""steps":[{"name":"a"}],"# } else { "" };
        let json = format!(
            r#"{{"name":"p","version":"1","kind":"{kind}",{steps}"config":[{{"name":"partner"}}],"capabilities":["{capability}"]}}"#
        );
        match Descriptor::parse(&json, Kind::from_stored(kind).unwrap()) {
            Ok(_) => None,
            Err(DescriptorError::Rules(broken)) => {
                assert_eq!(broken.len(), 1, "{broken:?}");
                assert_eq!(broken[0].0, "capabilities[0]");
                Some(broken[0].1.clone())
            }
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn each_kind_may_ask_for_what_there_is_for_it() {
        for capability in
            ["append:out-*", "http:POST https://pay.example.com/v1/*", "http:* {partner}/*", "secret:pay-key"]
        {
            assert_eq!(said("saga", capability), None, "{capability}");
            assert!(said("projection", capability).unwrap().contains("for a projection"));
            let for_handlers = said("handler", capability);
            assert_eq!(for_handlers.is_none(), capability.starts_with("append:"), "{for_handlers:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_one_is_told_in_words() {
        for (capability, says) in [
            ("files:/etc", "there are `append:PATTERN`, for streams, `http:METHODS URL-PATTERN`"),
            ("http", "there is no capability `http`"),
            ("http:https://pay.example.com/*", "methods and a pattern of URLs"),
            ("http:POST {shop}/*", "`{shop}` is not a setting of the plugin"),
            ("http:FETCH {partner}/*", "`FETCH` is not a method"),
            ("secret:../key", "is not the name of a secret"),
            ("secret:", "is not the name of a secret"),
        ] {
            let said = said("saga", capability).unwrap();
            assert!(said.contains(says), "{capability}: {said}");
        }
    }
}
