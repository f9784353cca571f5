//! What a revision may reach: `http:METHODS URL-PATTERN`.

use std::fmt;

use url::Host;

use super::target::{Target, UrlError};
use crate::name::Pattern;

/// Why a grant is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GrantError {
    #[error("it is methods and a pattern of URLs, as in `GET,POST https://pay.example.com/v1/*` or `* {{partner}}/*`")]
    Shape,
    #[error("`{0}` is not a method that can be granted: `*`, or some of {METHODS:?}")]
    Method(String),
    #[error("its pattern has {0}; it is a scheme, a host, perhaps a port, and a path")]
    Part(&'static str),
    #[error(
        "in a host, `*` stands only for what is before a name of two parts or more, as in `https://*.example.com/`"
    )]
    HostStar,
    #[error("it says no path; `/*` is all of them")]
    NoPath,
    #[error("its URL cannot be used: {0}")]
    Url(String),
    #[error("`{{{0}}}` is not a setting of the plugin")]
    NoSuchSetting(String),
    #[error("the setting `{0}`, which its URL begins with, is not set")]
    NotSet(String),
}

impl From<UrlError> for GrantError {
    fn from(error: UrlError) -> Self {
        GrantError::Url(error.to_string())
    }
}

/// All that a step may use. CONNECT and TRACE speak to what is in between.
pub(super) const METHODS: [&str; 7] = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"];

/// What stands behind `http:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpGrant<'a> {
    methods: &'a str,
    to: To<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum To<'a> {
    Fixed(&'a str),
    /// The value of a setting comes first: where the partner is differs between deployments.
    Setting {
        name: &'a str,
        rest: &'a str,
    },
}

impl<'a> HttpGrant<'a> {
    /// Checks all that can be checked before settings are known.
    pub(crate) fn parse(text: &'a str) -> Result<Self, GrantError> {
        let (methods, url) = text.split_once(' ').ok_or(GrantError::Shape)?;
        parse_methods(methods)?;
        let to = match url.strip_prefix('{') {
            Some(rest) => {
                let (name, rest) = rest.split_once('}').ok_or(GrantError::Shape)?;
                if !rest.starts_with('/') {
                    return Err(GrantError::NoPath);
                }
                UrlPattern::parse(&format!("https://setting.invalid{rest}"))?;
                To::Setting { name, rest }
            }
            None => {
                UrlPattern::parse(url)?;
                To::Fixed(url)
            }
        };
        Ok(Self { methods, to })
    }

    /// The setting that its URL begins with.
    pub(crate) fn setting(&self) -> Option<&'a str> {
        match self.to {
            To::Fixed(_) => None,
            To::Setting { name, .. } => Some(name),
        }
    }

    /// The same with its setting put in, which is `value`.
    pub(crate) fn filled_in(&self, value: Option<&str>) -> Result<String, GrantError> {
        let Self { methods, to } = self;
        let url = match to {
            To::Fixed(url) => (*url).to_owned(),
            To::Setting { name, rest } => {
                let base = value.filter(|value| !value.is_empty()).ok_or_else(|| GrantError::NotSet((*name).into()))?;
                format!("{}{rest}", base.trim_end_matches('/'))
            }
        };
        UrlPattern::parse(&url)?;
        Ok(format!("{methods} {url}"))
    }

    /// Nothing, where a setting was not put in.
    pub(super) fn reach(&self) -> Option<Reach> {
        let To::Fixed(url) = self.to else { return None };
        Some(Reach { methods: parse_methods(self.methods).ok()?, url: UrlPattern::parse(url).ok()? })
    }
}

fn parse_methods(text: &str) -> Result<Option<Vec<&'static str>>, GrantError> {
    if text == "*" {
        return Ok(None);
    }
    let known = |method: &str| METHODS.into_iter().find(|known| *known == method);
    let method = |method: &str| known(method).ok_or_else(|| GrantError::Method(method.into()));
    text.split(',').map(method).collect::<Result<_, _>>().map(Some)
}

/// One grant, ready to be held against a request.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    /// All of them without.
    methods: Option<Vec<&'static str>>,
    url: UrlPattern,
}

impl Reach {
    pub(super) fn covers(&self, method: &str, target: &Target) -> bool {
        self.url.matches(target) && self.methods.as_ref().is_none_or(|methods| methods.contains(&method))
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods = self.methods.as_ref().map_or_else(|| "*".into(), |methods| methods.join(","));
        let UrlPattern { scheme, host, port, path } = &self.url;
        write!(f, "{methods} {scheme}://{host}:{port}{path}")
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct UrlPattern {
    scheme: String,
    host: HostPattern,
    port: u16,
    path: Pattern,
}

impl UrlPattern {
    fn parse(text: &str) -> Result<Self, GrantError> {
        let (scheme, rest) = text.split_once("://").ok_or(GrantError::Part("no scheme"))?;
        let (authority, path) = rest.split_at(rest.find('/').ok_or(GrantError::NoPath)?);
        for (part, what) in [("?", "a query"), ("#", "a fragment")] {
            if rest.contains(part) {
                return Err(GrantError::Part(what));
            }
        }
        if authority.is_empty() {
            return Err(GrantError::Part("no host"));
        }
        let (below, authority) = match authority.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, authority),
        };
        if authority.contains('*') {
            return Err(GrantError::HostStar);
        }
        // The same reading as of a request, so that both are written alike.
        let target = Target::parse(&format!("{scheme}://{authority}{path}"))?;
        let host = match (below, target.host()) {
            (false, host) => HostPattern::Exactly(host.clone()),
            (true, Host::Domain(name)) if name.contains('.') => HostPattern::Below(name.clone()),
            (true, _) => return Err(GrantError::HostStar),
        };
        let path = Pattern::new(target.path()).map_err(|error| GrantError::Url(format!("its path: {error}")))?;
        Ok(Self { scheme: target.scheme().into(), host, port: target.port(), path })
    }

    fn matches(&self, target: &Target) -> bool {
        self.scheme == target.scheme()
            && self.port == target.port()
            && self.host.matches(target.host())
            && self.path.matches(target.path())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HostPattern {
    Any,
    Exactly(Host<String>),
    /// Names that end with this one, which does not belong to them.
    Below(String),
}

impl HostPattern {
    /// As operators name private hosts; nothing is matched by what is none.
    pub(super) fn of_private(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(HostPattern::Any);
        }
        let (below, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        // An IPv6 address stands in brackets in a URL, and here as well without.
        let bracketed = format!("[{name}]");
        let name = if name.parse::<std::net::Ipv6Addr>().is_ok() { &bracketed } else { name };
        let target = Target::parse(&format!("http://{name}/")).ok().filter(|target| target.path() == "/")?;
        match (below, target.host()) {
            (false, host) => Some(HostPattern::Exactly(host.clone())),
            (true, Host::Domain(name)) => Some(HostPattern::Below(name.clone())),
            (true, Host::Ipv4(_) | Host::Ipv6(_)) => None,
        }
    }

    pub(super) fn matches(&self, host: &Host<String>) -> bool {
        match (self, host) {
            (HostPattern::Any, _) => true,
            (HostPattern::Exactly(this), host) => this == host,
            (HostPattern::Below(name), Host::Domain(host)) => {
                host.strip_suffix(name.as_str()).is_some_and(|before| before.len() > 1 && before.ends_with('.'))
            }
            (HostPattern::Below(_), Host::Ipv4(_) | Host::Ipv6(_)) => false,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Any => f.write_str("*"),
            HostPattern::Exactly(host) => host.fmt(f),
            HostPattern::Below(name) => write!(f, "*.{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Random, seeds};

    fn covers(grant: &str, method: &str, url: &str) -> bool {
        let grant = HttpGrant::parse(grant).unwrap().reach().unwrap();
        Target::parse(url).is_ok_and(|target| grant.covers(method, &target))
    }

    #[test]
    fn a_grant_covers_its_methods_host_port_and_paths() {
        let post = |url: &str| covers("POST,PUT https://pay.example.com/v1/*", "POST", url);
        for url in [
            "https://pay.example.com/v1/",
            "https://PAY.example.com.:443/v1/charge?x=/../y",
            "https://pay.example.com/a/../v1/b",
        ] {
            assert!(post(url), "{url}");
        }
        for url in [
            "http://pay.example.com/v1/a",
            "https://pay.example.com:8443/v1/a",
            "https://example.com/v1/a",
            "https://a.pay.example.com/v1/a",
            "https://pay.example.com.evil.example/v1/a",
            "https://pay.example.com@evil.example/v1/a",
            "https://evil.example/https://pay.example.com/v1/a",
            "https://pay.example.com/v1",
            "https://pay.example.com/v1/../admin",
            "https://pay.example.com/v1/%2e%2e/admin",
            "https://pay.example.com/v1/%2e%2e%2fadmin",
            "https://pay.example.com/v1/..;/admin",
            "https://pay.example.com\\@evil.example/v1/a",
        ] {
            assert!(!post(url), "{url}");
        }
        assert!(!covers("POST,PUT https://pay.example.com/v1/*", "GET", "https://pay.example.com/v1/a"));
        assert!(covers("* https://pay.example.com/v1/*", "DELETE", "https://pay.example.com/v1/a"));
        assert!(covers("GET http://[::1]:8080/a", "GET", "http://[0:0::1]:8080/a"));
        assert!(covers("GET https://bücher.example/*", "GET", "https://xn--bcher-kva.example/"));
        assert!(covers("GET http://2130706433/*", "GET", "http://127.0.0.1/"));
    }

    #[test]
    fn a_star_in_a_host_stands_for_names_below_it() {
        let get = |url: &str| covers("GET https://*.example.com/*", "GET", url);
        assert!(get("https://a.example.com/") && get("https://a.b.example.com/x"));
        for url in ["https://example.com/", "https://badexample.com/", "https://.example.com/", "https://1.2.3.4/"] {
            assert!(!get(url), "{url}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_grant_is_said() {
        use GrantError::{HostStar, Method, NoPath, Part, Shape};
        for (text, error) in [
            ("https://a.example/*", Shape),
            ("get https://a.example/*", Method("get".into())),
            ("GET,CONNECT https://a.example/*", Method("CONNECT".into())),
            ("GET a.example/*", Part("no scheme")),
            ("GET https://a.example", NoPath),
            ("GET https:///x", Part("no host")),
            ("GET https://a.example/x?y=*", Part("a query")),
            ("GET https://a.example/x#y", Part("a fragment")),
            ("GET https://*/x", HostStar),
            ("GET https://*.com/x", HostStar),
            ("GET https://a.*.example/x", HostStar),
            ("GET https://*.1.2.3.4/x", HostStar),
            ("GET https://a.example:*/x", HostStar),
            ("GET {partner", Shape),
            ("GET {partner}", NoPath),
            ("GET {partner}.example/", NoPath),
        ] {
            assert_eq!(HttpGrant::parse(text), Err(error), "{text}");
        }
        for text in
            ["GET ftp://a.example/*", "GET https://u@a.example/*", "GET https://a.example/%2f*", "GET https://a..b:x/"]
        {
            assert!(matches!(HttpGrant::parse(text), Err(GrantError::Url(_))), "{text}: {:?}", HttpGrant::parse(text));
        }
    }

    #[test]
    fn a_grant_may_begin_with_a_setting() {
        let grant = HttpGrant::parse("POST {partner}/v1/*").unwrap();
        assert_eq!((grant.setting(), grant.reach().is_none()), (Some("partner"), true));
        assert_eq!(grant.filled_in(Some("http://p.example/x/")).as_deref(), Ok("POST http://p.example/x/v1/*"));
        assert_eq!(grant.filled_in(None), Err(GrantError::NotSet("partner".into())));
        assert!(matches!(grant.filled_in(Some("p.example")), Err(GrantError::Part(_))));
        assert!(matches!(grant.filled_in(Some("http://u:p@p.example")), Err(GrantError::Url(_))));
    }

    #[test]
    fn private_hosts_are_named_as_in_urls() {
        let named = |text: &str, url: &str| {
            let target = Target::parse(url).unwrap();
            HostPattern::of_private(text).is_some_and(|pattern| pattern.matches(target.host()))
        };
        assert!(named("Partner.Internal", "http://partner.internal:99/x") && named("*", "http://1.2.3.4/"));
        assert!(
            named("10.0.0.7", "http://10.0.0.7/") && named("::1", "http://[::1]/") && named("[::1]", "http://[::1]/")
        );
        assert!(named("*.internal", "http://a.internal/") && !named("*.internal", "http://internal/"));
        assert!(!named("", "http://a/") && !named("a/b", "http://a/") && !named("*.10.0.0.7", "http://1.10.0.0.7.x/"));
    }

    /// A URL that is put together from pieces that parsers disagree about is either refused, or it is sent to the
    /// one host and below the one path that were granted, as another reading of the sent text finds as well.
    #[test]
    fn no_mixture_of_tricks_gets_around_a_grant() {
        const PIECES: [&str; 34] = [
            "http:",
            "https:",
            "//",
            "/",
            "\\",
            "@",
            ":",
            ".",
            "..",
            "%2e",
            "%2E",
            "%2f",
            "%252e",
            "%5c",
            ";",
            "?",
            "#",
            "pay.example.com",
            "PAY.EXAMPLE.COM",
            "evil.example",
            "127.0.0.1",
            "[::1]",
            "443",
            "80",
            "v1",
            "admin",
            "v1/",
            "/v1/",
            " ",
            "\t",
            "%00",
            "。",
            "xn--",
            "user",
        ];
        let grant = HttpGrant::parse("POST https://pay.example.com/v1/*").unwrap().reach().unwrap();
        let mut covered = 0;
        for seed in seeds(20) {
            let mut random = Random::new(seed);
            for _ in 0..20_000 {
                let mut url = if random.percent(60) { "https://pay.example.com/v1/".to_owned() } else { String::new() };
                for _ in 0..random.below(8) {
                    url.push_str(random.pick::<&str>(&PIECES));
                }
                let Ok(target) = Target::parse(&url) else { continue };
                if grant.covers("POST", &target) {
                    covered += 1;
                    let sent = target.as_str();
                    let path =
                        sent.strip_prefix("https://pay.example.com/v1/").unwrap_or_else(|| panic!("{url}: {sent}"));
                    assert!(stays_below(path.split('?').next().unwrap()), "{url}: {sent}");
                }
            }
        }
        assert!(covered > 1_000, "the pieces seldom make a URL that is covered: {covered}");
    }

    /// As the most obliging server would read it: decoded until nothing is left to decode, with backslashes for
    /// slashes and parameters cut off.
    fn stays_below(path: &str) -> bool {
        let mut path = path.to_lowercase();
        loop {
            let mut next = path.clone();
            for (code, is) in [("%25", "%"), ("%2e", "."), ("%2f", "/"), ("%5c", "/"), ("%3b", ";"), ("\\", "/")] {
                next = next.replace(code, is);
            }
            if next == path {
                return !path.split('/').any(|segment| segment.split(';').next() == Some(".."));
            }
            path = next;
        }
    }
}
