//! A URL that can be read in one way only. What is checked against the grants is the very text that is sent.

use std::borrow::Cow;

use url::{Host, Url};

use crate::limits::saga as limits;

/// Why a URL is not one that a step may use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UrlError {
    #[error("it has more than {} bytes", limits::URL_BYTES_MAX)]
    TooLong,
    #[error("it is not an absolute URL: {why}")]
    NotAUrl { why: String },
    #[error("its scheme is `{scheme}`; there are http and https")]
    Scheme { scheme: String },
    #[error("it has white space, a control character or a backslash, which servers read in different ways")]
    Character,
    #[error("it names a user; give a header instead")]
    User,
    #[error("its path has a slash, a dot segment or a control character in disguise (`%2f`, `%2e`, `..;`)")]
    Disguise,
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    url: Url,
    host: Host<String>,
    port: u16,
}

impl Target {
    pub(crate) fn parse(text: &str) -> Result<Self, UrlError> {
        if text.len() > limits::URL_BYTES_MAX {
            return Err(UrlError::TooLong);
        }
        // The parser would drop some of these, and take `\` for `/`.
        if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
            return Err(UrlError::Character);
        }
        let url = Url::parse(text).map_err(|error| UrlError::NotAUrl { why: error.to_string() })?;
        Self::of(url)
    }

    /// Where a redirect from here leads.
    pub(crate) fn join(&self, location: &str) -> Result<Self, UrlError> {
        let location = location.trim_matches(' ');
        if location.len() > limits::URL_BYTES_MAX {
            return Err(UrlError::TooLong);
        }
        if location.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
            return Err(UrlError::Character);
        }
        let url = self.url.join(location).map_err(|error| UrlError::NotAUrl { why: error.to_string() })?;
        Self::of(url)
    }

    fn of(mut url: Url) -> Result<Self, UrlError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(UrlError::Scheme { scheme: url.scheme().into() });
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlError::User);
        }
        url.set_fragment(None);
        // A name with a dot at its end is the same name.
        if let Some(name) = url.domain().and_then(|name| name.strip_suffix('.')).map(str::to_owned) {
            url.set_host(Some(&name)).map_err(|error| UrlError::NotAUrl { why: error.to_string() })?;
        }
        let missing = || UrlError::NotAUrl { why: "it has no host".into() };
        let host = url.host().filter(|host| *host != Host::Domain("")).ok_or_else(missing)?.to_owned();
        let port = url.port_or_known_default().ok_or_else(missing)?;
        if is_disguised(url.path()) {
            return Err(UrlError::Disguise);
        }
        if url.as_str().len() > limits::URL_BYTES_MAX {
            return Err(UrlError::TooLong);
        }
        Ok(Self { url, host, port })
    }

    /// As it is sent: without fragment, and without the port that its scheme has anyhow.
    pub(crate) fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// As it is told: without query.
    pub(crate) fn shown(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        shortened(url.as_str())
    }

    pub(crate) fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    pub(crate) fn scheme(&self) -> &str {
        self.url.scheme()
    }

    /// A name in lower-case ASCII, or an address.
    pub(crate) fn host(&self) -> &Host<String> {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn path(&self) -> &str {
        self.url.path()
    }

    pub(crate) fn same_origin(&self, other: &Self) -> bool {
        (self.scheme(), &self.host, self.port) == (other.scheme(), &other.host, other.port)
    }
}

/// A URL that could not be read, as it is told.
pub(crate) fn unread(text: &str) -> String {
    let without_query = text.split(['?', '#']).next().unwrap_or_default();
    // What stands before an `@` may be a password.
    let without_user = without_query.rsplit('@').next().unwrap_or_default();
    shortened(&without_user.replace(char::is_control, " "))
}

fn shortened(url: &str) -> String {
    url[..url.floor_char_boundary(limits::URL_SHOWN_BYTES_MAX)].to_owned()
}

/// Whether some server could read the path as another one: servers decode once, twice or never, merge dot
/// segments before or after that, and cut parameters (`;`) off before or after that.
fn is_disguised(path: &str) -> bool {
    let mut now = Cow::Borrowed(path.as_bytes());
    loop {
        let segments = now.split(|byte| *byte == b'/');
        let strange = |segment: &[u8]| {
            let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
            matches!(name, b"." | b"..") || segment.iter().any(|byte| *byte < 0x20 || *byte == b'\\')
        };
        if segments.into_iter().any(strange) {
            return true;
        }
        let decoded = decoded(&now);
        if decoded.iter().filter(|byte| **byte == b'/').count() != now.iter().filter(|byte| **byte == b'/').count() {
            return true;
        }
        if decoded == *now {
            return false;
        }
        now = Cow::Owned(decoded);
    }
}

/// Once. Each round makes it shorter, or is the last.
fn decoded(bytes: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, behind)) = rest.split_first() {
        let byte = match behind {
            [high, low, ..] if *first == b'%' => digit(*high).zip(digit(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(text: &str) -> Result<String, UrlError> {
        Target::parse(text).map(|target| target.as_str().to_owned())
    }

    #[test]
    fn one_place_is_written_in_one_way() {
        for (text, is) in [
            ("HTTPS://Pay.Example.COM:443/V1/Charge?a=%20b#top", "https://pay.example.com/V1/Charge?a=%20b"),
            ("http://example.com", "http://example.com/"),
            ("http://example.com.:80/a/./b/../c", "http://example.com/a/c"),
            ("https://bücher.example/ä", "https://xn--bcher-kva.example/%C3%A4"),
            // Full-width letters, and addresses in octal, in hex and as one number.
            ("http://ｅｘａｍｐｌｅ.com/", "http://example.com/"),
            ("http://0177.0.0.0x1/", "http://127.0.0.1/"),
            ("http://2130706433/", "http://127.0.0.1/"),
            ("http://[::FFFF:7f00:1]:8080/", "http://[::ffff:7f00:1]:8080/"),
            ("http://example.com/a%2Db/100%25", "http://example.com/a%2Db/100%25"),
            ("http://example.com/%2e%2e/a", "http://example.com/a"),
            ("http://example.com/a/..b/...;x", "http://example.com/a/..b/...;x"),
            ("http://example.com/?next=/a%2f..%2fb", "http://example.com/?next=/a%2f..%2fb"),
        ] {
            assert_eq!(sent(text).as_deref(), Ok(is), "{text}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for text in ["ftp://example.com/", "file:///etc/passwd", "data:,x", "mailto:a@b"] {
            assert!(matches!(sent(text), Err(UrlError::Scheme { .. })), "{text}: {:?}", sent(text));
        }
        for text in ["http://me@example.com/", "http://:secret@example.com/", "https://pay.example.com@evil.example/"] {
            assert_eq!(sent(text), Err(UrlError::User), "{text}");
        }
        for text in [" http://a.example/", "http://a.example/\t", "http:\\\\a.example\\", "http://a.example/\u{a0}x"] {
            assert_eq!(sent(text), Err(UrlError::Character), "{text}");
        }
        for text in [
            "http://a.example/v1/%2e%2e%2fadmin",
            "http://a.example/v1%2fadmin",
            "http://a.example/v1%5cadmin",
            "http://a.example/v1/..;/admin",
            "http://a.example/v1/.;x=1/admin",
            "http://a.example/v1/%252e%252e/admin",
            "http://a.example/v1/%25252e%25252e%25252fadmin",
            "http://a.example/v1/..%3b/admin",
            "http://a.example/v1%00/admin",
            "http://a.example/%0d%0aX: y",
        ] {
            let refused = sent(text);
            assert!(matches!(refused, Err(UrlError::Disguise | UrlError::Character)), "{text}: {refused:?}");
        }
        for text in ["", "/a", "example.com/a", "http://", "http:///", "http://a..b c/", "http://a.example:99999/"] {
            assert!(sent(text).is_err(), "{text}: {:?}", sent(text));
        }
        assert_eq!(sent(&format!("http://a.example/{}", "x".repeat(limits::URL_BYTES_MAX))), Err(UrlError::TooLong));
    }

    #[test]
    fn a_redirect_is_read_as_strictly() {
        let from = Target::parse("https://a.example/one/two?x").unwrap();
        let to = |location: &str| from.join(location).map(|to| to.as_str().to_owned());
        assert_eq!(to("three").as_deref(), Ok("https://a.example/one/three"));
        assert_eq!(to("//b.example/x").as_deref(), Ok("https://b.example/x"));
        assert_eq!(to("../../../x").as_deref(), Ok("https://a.example/x"));
        assert_eq!(to("http://u@b.example/"), Err(UrlError::User));
        assert!(matches!(to("javascript:alert(1)"), Err(UrlError::Scheme { .. })));
        assert_eq!(to("\\\\b.example\\"), Err(UrlError::Character));
        let b = from.join("//a.example:443/").unwrap();
        assert!(from.same_origin(&b) && !from.same_origin(&Target::parse("http://a.example/").unwrap()));
    }

    #[test]
    fn what_is_told_of_a_url_has_no_secrets() {
        assert_eq!(Target::parse("http://a.example/x?token=1").unwrap().shown(), "http://a.example/x");
        assert_eq!(unread("http://me:pw@a.example/x?token=1#y"), "a.example/x");
        assert!(unread(&"ü".repeat(10_000)).len() <= limits::URL_SHOWN_BYTES_MAX);
    }
}
