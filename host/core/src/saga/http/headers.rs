//! What a guest may say in headers, and where the host puts secrets into them.

use std::collections::BTreeSet;

use super::{HttpError, Secrets, code};
use crate::limits::saga as limits;

pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// They belong to the connection, or say where a request goes: the host's alone.
const OF_THE_HOST: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// They are for the host that they were meant for, and no other.
const FOR_ONE_ORIGIN: [&str; 3] = ["authorization", "cookie", "x-api-key"];

const OPEN: &str = "{{secret:";
const CLOSE: &str = "}}";

/// One header of a request.
#[derive(Clone)]
pub(super) struct Header {
    /// In lower case.
    name: String,
    value: String,
    /// Whether a secret was put into it.
    is_secret: bool,
}

/// Headers that were checked. Their values are never shown.
#[derive(Clone)]
pub(super) struct Headers(Vec<Header>);

impl Headers {
    /// Checks names, values and size.
    pub(super) fn check(headers: Vec<(String, String)>) -> Result<Self, HttpError> {
        let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > limits::HEADERS_BYTES_MAX {
            let most = limits::HEADERS_BYTES_MAX;
            return Err(HttpError::new(code::TOO_LARGE, format!("the headers have {bytes} bytes, more than {most}")));
        }
        let check = |(name, value): (String, String)| {
            let name = name.to_ascii_lowercase();
            let invalid = |what: &str| Err(HttpError::new(code::INVALID, format!("the header `{name}` {what}")));
            if name.is_empty() || !name.bytes().all(is_token) {
                return Err(HttpError::new(code::INVALID, "a header has a name that HTTP does not allow"));
            }
            if OF_THE_HOST.contains(&name.as_str()) {
                return invalid("is the host's to give");
            }
            if !is_value(&value) {
                return invalid("has a character that HTTP does not allow");
            }
            Ok(Header { name, value, is_secret: false })
        };
        headers.into_iter().map(check).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|header| header.name == name)
    }

    pub(super) fn add(&mut self, name: &str, value: String) {
        self.0.push(Header { name: name.to_owned(), value, is_secret: false });
    }

    /// Whether any of them asks for a secret.
    pub(super) fn ask_for_secrets(&self) -> bool {
        self.0.iter().any(|header| header.value.contains(OPEN))
    }

    /// Puts secrets in where they are asked for, of those that are granted.
    pub(super) fn put_secrets_in(
        &mut self,
        granted: &BTreeSet<String>,
        secrets: Option<&dyn Secrets>,
    ) -> Result<(), HttpError> {
        for header in &mut self.0 {
            let mut value = String::new();
            let mut rest = header.value.as_str();
            while let Some((before, behind)) = rest.split_once(OPEN) {
                let (name, after) = behind.split_once(CLOSE).ok_or_else(|| {
                    HttpError::new(code::INVALID, format!("the header `{}` has `{OPEN}` without an end", header.name))
                })?;
                value.push_str(before);
                value.push_str(&secret(name, granted, secrets)?);
                rest = after;
                header.is_secret = true;
            }
            value.push_str(rest);
            header.value = value;
        }
        Ok(())
    }

    /// What may follow a redirect to another host.
    pub(super) fn drop_those_for_one_origin(&mut self) {
        self.0.retain(|header| !header.is_secret && !FOR_ONE_ORIGIN.contains(&header.name.as_str()));
    }

    pub(super) fn pairs(&self) -> Vec<(String, String)> {
        self.0.iter().map(|header| (header.name.clone(), header.value.clone())).collect()
    }
}

fn secret(name: &str, granted: &BTreeSet<String>, secrets: Option<&dyn Secrets>) -> Result<String, HttpError> {
    // Whoever names one that it was not granted is not told whether there is one.
    if !granted.contains(name) {
        let name = &name[..name.floor_char_boundary(limits::SECRET_NAME_BYTES_MAX)];
        let message = format!("the secret `{name}` is not granted; the capability is `secret:{name}`");
        return Err(HttpError::new(code::REFUSED, message));
    }
    let value = secrets.and_then(|secrets| secrets.secret(name));
    let value = value.ok_or_else(|| HttpError::new(code::REFUSED, format!("the host has no secret `{name}`")))?;
    if value.is_empty() || !is_value(&value) {
        let message = format!("the secret `{name}` cannot stand in a header: it is empty, or not visible ASCII");
        return Err(HttpError::new(code::REFUSED, message));
    }
    Ok(value)
}

/// RFC 9110, 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_value(text: &str) -> bool {
    text.bytes().all(|byte| byte == b' ' || byte == b'\t' || byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One;

    impl Secrets for One {
        fn secret(&self, name: &str) -> Option<String> {
            match name {
                "key" => Some("s3cret".into()),
                "odd" => Some("a\nb".into()),
                _ => None,
            }
        }
    }

    fn headers(pairs: &[(&str, &str)]) -> Result<Headers, HttpError> {
        Headers::check(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn secrets_are_put_in_where_they_are_granted() {
        let granted = BTreeSet::from(["key".to_owned(), "odd".to_owned(), "lost".to_owned()]);
        let with = |value: &str| {
            let mut headers = headers(&[("A", value), ("b", "x")]).unwrap();
            headers.put_secrets_in(&granted, Some(&One)).map(|()| headers.pairs()[0].1.clone())
        };
        assert_eq!(with("Bearer {{secret:key}}").as_deref(), Ok("Bearer s3cret"));
        assert_eq!(with("{{secret:key}}:{{secret:key}}!").as_deref(), Ok("s3cret:s3cret!"));
        assert_eq!(with("{{other}}").as_deref(), Ok("{{other}}"));
        for (value, says) in [
            ("{{secret:other}}", "not granted"),
            ("{{secret:lost}}", "has no secret"),
            ("{{secret:odd}}", "cannot stand"),
            ("{{secret:key", "without an end"),
        ] {
            let error = with(value).unwrap_err();
            assert!(error.message.contains(says) && !error.message.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn another_host_gets_no_secret() {
        let given = [("a", "{{secret:key}}"), ("authorization", "mine"), ("accept", "*/*")];
        let mut headers = headers(&given).unwrap();
        headers.put_secrets_in(&BTreeSet::from(["key".to_owned()]), Some(&One)).unwrap();
        headers.drop_those_for_one_origin();
        assert_eq!(headers.pairs(), [("accept".to_owned(), "*/*".to_owned())]);
    }

    #[test]
    fn what_would_make_another_request_is_refused() {
        for (name, value) in [
            ("Host", "evil.example"),
            ("Content-Length", "0"),
            ("Transfer-Encoding", "chunked"),
            ("connection", "upgrade"),
            ("a", "b\r\nc: d"),
            ("a", "ü"),
            ("a b", "c"),
            ("", "c"),
            (":method", "GET"),
        ] {
            assert_eq!(headers(&[(name, value)]).map(|_| ()).unwrap_err().code, code::INVALID, "{name}: {value}");
        }
        let large = "x".repeat(limits::HEADERS_BYTES_MAX);
        assert_eq!(headers(&[("a", &large)]).map(|_| ()).unwrap_err().code, code::TOO_LARGE);
    }
}
