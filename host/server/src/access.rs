//! Who may call: a bearer token if one is configured, and no web page that was not invited.
//!
//! A host on loopback can be reached by every page that its user's browser opens. Such a page either
//! says where it comes from (`Origin`), or reaches the host by a name of its own that was rebound to
//! 127.0.0.1 (`Host`). Both are checked on every request, gRPC, HTTP and sockets alike.

use std::net::{IpAddr, SocketAddr};

use axum::extract::Query;
use axum::http::{HeaderMap, Uri, header};
use subtle::ConstantTimeEq;
use wasmill_core::code::{Code, Problem};
use wasmill_core::principal::Principal;

use crate::config::{AccessConfig, Token};

#[derive(Debug)]
pub(crate) struct Access {
    token: Option<Token>,
    listen: SocketAddr,
    allowed_hosts: Vec<String>,
    allowed_origins: Vec<String>,
}

/// What may be read without the token: whether the host is well, and what an error code means.
const PUBLIC: [&str; 5] =
    ["/health", "/health/live", "/health/ready", "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"];
const PUBLIC_PREFIX: &str = "/errors/";

/// The token, where it may stand behind the `?`.
pub(crate) const TOKEN_PARAMETER: &str = "access_token";

impl Access {
    pub(crate) fn new(config: &AccessConfig, listen: SocketAddr) -> Self {
        Self {
            token: config.token.clone(),
            listen,
            allowed_hosts: config.allowed_hosts.clone(),
            allowed_origins: config.allowed_origins.clone(),
        }
    }

    /// Lets a request in, or says why not.
    pub(crate) fn admit(&self, uri: &Uri, headers: &HeaderMap) -> Result<Principal, Problem> {
        let host = host_of(uri, headers)?;
        self.check_host(host)?;
        self.check_origin(headers, host)?;
        self.check_token(uri, headers)
    }

    /// The origin of a page on another host that was invited: it gets CORS headers.
    pub(crate) fn invited<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let origin = headers.get(header::ORIGIN)?.to_str().ok()?;
        self.allowed_origins.iter().any(|allowed| allowed == origin).then_some(origin)
    }

    fn check_host(&self, authority: &str) -> Result<(), Problem> {
        let name = without_port(authority);
        let known = match name.trim_matches(['[', ']']).parse::<IpAddr>() {
            // An address cannot be rebound, and one listening on all cannot know which are its own.
            Ok(ip) => ip.is_loopback() || ip == self.listen.ip() || self.listen.ip().is_unspecified(),
            Err(_) => name.eq_ignore_ascii_case("localhost"),
        };
        let allowed = |allowed: &String| allowed == "*" || allowed.eq_ignore_ascii_case(name);
        if known || self.allowed_hosts.iter().any(allowed) {
            return Ok(());
        }
        let message = format!("the host is not known by the name `{name}`; if it is yours, add it to `allowed_hosts`");
        Err(Problem::new(Code::Forbidden, message).with("host", "not an allowed name"))
    }

    fn check_origin(&self, headers: &HeaderMap, host: &str) -> Result<(), Problem> {
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
        let own_page = origin.to_str().is_ok_and(|origin| {
            let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            rest.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
        });
        if own_page || self.invited(headers).is_some() {
            return Ok(());
        }
        let origin = String::from_utf8_lossy(origin.as_bytes()).into_owned();
        let message = format!("pages of `{origin}` may not call; if they are yours, add it to `allowed_origins`");
        Err(Problem::new(Code::Forbidden, message).with("origin", "not an allowed origin"))
    }

    fn check_token(&self, uri: &Uri, headers: &HeaderMap) -> Result<Principal, Problem> {
        let Some(token) = &self.token else { return Ok(Principal::Anonymous) };
        let (path, queried) = (uri.path(), in_query(uri));
        match bearer(headers).or(queried.as_deref().map(str::as_bytes)) {
            Some(given) if bool::from(given.ct_eq(token.as_bytes())) => Ok(Principal::Token),
            None if PUBLIC.contains(&path) || path.starts_with(PUBLIC_PREFIX) => Ok(Principal::Anonymous),
            Some(_) => Err(Problem::new(Code::Unauthenticated, "the token is not the one of this host")),
            None => Err(Problem::new(Code::Unauthenticated, "a token is needed: `authorization: Bearer TOKEN`")),
        }
    }

    /// Whether this caller may see more than that the host is well.
    pub(crate) fn is_trusted(&self, principal: &Principal) -> bool {
        match principal {
            Principal::Token | Principal::Host => true,
            Principal::Anonymous => self.token.is_none(),
        }
    }
}

/// HTTP/2 says it in the URI, HTTP/1 in a header. Two different ones are a trick.
fn host_of<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Result<&'a str, Problem> {
    let malformed = || Problem::new(Code::InvalidArgument, "the request has no usable Host header");
    let mut named = headers.get_all(header::HOST).iter();
    let header = named.next().map(|host| host.to_str().map_err(|_| malformed())).transpose()?;
    let authority = uri.authority().map(axum::http::uri::Authority::as_str);
    match (authority, header) {
        _ if named.next().is_some() => Err(malformed()),
        (Some(authority), Some(header)) if !authority.eq_ignore_ascii_case(header) => Err(malformed()),
        (Some(host), _) | (None, Some(host)) => Ok(host),
        (None, None) => Err(malformed()),
    }
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => authority,
    }
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

/// A browser cannot set headers on a WebSocket or an `EventSource`, so what they lead to takes the token as a
/// parameter as well. Nowhere else: URLs end up in logs and histories.
fn in_query(uri: &Uri) -> Option<String> {
    let path = uri.path();
    let replay = path.starts_with("/api/replays/") && path.ends_with("/events");
    let live = path.ends_with("/events/live") || path.ends_with("/logs/live");
    if !(path == "/api/ws" || path.starts_with("/hubs/") || live || replay) {
        return None;
    }
    let Query(given) = Query::<Vec<(String, String)>>::try_from_uri(uri).ok()?;
    given.into_iter().find(|(name, _)| name == TOKEN_PARAMETER).map(|(_, token)| token)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::config::{Config, ServeArgs, Sources};

    fn access(listen: &str, args: ServeArgs) -> Access {
        let args = ServeArgs { listen: Some(listen.into()), insecure: true, ..args };
        let config = Config::load(Sources { args, ..Sources::default() }).unwrap();
        Access::new(&config.access, config.server.listen)
    }

    fn admit(access: &Access, path: &str, headers: &[(&'static str, &str)]) -> Result<Principal, Code> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        access.admit(&path.parse().unwrap(), &map).map_err(|problem| problem.code)
    }

    #[test]
    fn names_that_a_page_could_have_rebound_are_refused() {
        let local = access("127.0.0.1:7400", ServeArgs::default());
        for host in ["localhost:7400", "LOCALHOST", "127.0.0.1:9", "[::1]:7400", "127.9.9.9"] {
            assert_eq!(admit(&local, "/", &[("host", host)]), Ok(Principal::Anonymous), "{host}");
        }
        for host in ["evil.example:7400", "localhost.evil.example", "10.0.0.1", "127.0.0.1.nip.example"] {
            assert_eq!(admit(&local, "/", &[("host", host)]), Err(Code::Forbidden), "{host}");
        }
        assert_eq!(admit(&local, "/", &[]), Err(Code::InvalidArgument));
        assert_eq!(admit(&local, "/", &[("host", "localhost"), ("host", "evil")]), Err(Code::InvalidArgument));
        assert_eq!(admit(&local, "http://evil.example/", &[("host", "localhost")]), Err(Code::InvalidArgument));
        assert_eq!(admit(&local, "http://evil.example/", &[]), Err(Code::Forbidden));
        let everywhere = access("0.0.0.0:7400", ServeArgs::default());
        assert_eq!(admit(&everywhere, "/", &[("host", "10.1.2.3:7400")]), Ok(Principal::Anonymous));
        let named =
            access("0.0.0.0:7400", ServeArgs { allowed_hosts: vec!["events.example".into()], ..ServeArgs::default() });
        assert_eq!(admit(&named, "/", &[("host", "events.example:7400")]), Ok(Principal::Anonymous));
    }

    #[test]
    fn only_invited_pages_and_the_hosts_own_may_call() {
        let args = ServeArgs { allowed_origins: vec!["https://app.example".into()], ..ServeArgs::default() };
        let access = access("127.0.0.1:7400", args);
        let from = |origin: &str| admit(&access, "/api/log", &[("host", "localhost:7400"), ("origin", origin)]);
        assert_eq!(from("https://app.example"), Ok(Principal::Anonymous));
        assert_eq!(from("http://localhost:7400"), Ok(Principal::Anonymous));
        for origin in ["https://evil.example", "null", "http://localhost:3000", "https://app.example.evil"] {
            assert_eq!(from(origin), Err(Code::Forbidden), "{origin}");
        }
    }

    #[test]
    fn a_configured_token_is_asked_of_everything_but_health() {
        let token = "0123456789abcdef";
        let access = access("127.0.0.1:7400", ServeArgs { token: Some(token.into()), ..ServeArgs::default() });
        let host = ("host", "localhost");
        let with = |path: &str, value: &str| admit(&access, path, &[host, ("authorization", value)]);
        assert_eq!(with("/api/log", "Bearer 0123456789abcdef"), Ok(Principal::Token));
        assert_eq!(with("/api/log", "bearer 0123456789abcdef"), Ok(Principal::Token));
        for wrong in ["Bearer 0123456789abcdee", "Bearer 0123456789abcdef0", "Bearer ", "Basic x", ""] {
            assert_eq!(with("/api/log", wrong), Err(Code::Unauthenticated), "{wrong}");
        }
        assert_eq!(admit(&access, "/metrics", &[host]), Err(Code::Unauthenticated));
        assert_eq!(admit(&access, "/health/ready", &[host]), Ok(Principal::Anonymous));
        assert_eq!(admit(&access, "/errors/overloaded", &[host]), Ok(Principal::Anonymous));
        let queried = |path: &str, token: &str| admit(&access, &format!("{path}?x=1&access_token={token}"), &[host]);
        for path in [
            "/hubs/events",
            "/hubs/events/negotiate",
            "/api/ws",
            "/api/events/live",
            "/api/plugins/x/logs/live",
            "/api/replays/x/events",
        ] {
            assert_eq!(queried(path, "0123456789abcde%66"), Ok(Principal::Token), "{path}");
            assert_eq!(queried(path, "0123456789abcde"), Err(Code::Unauthenticated), "{path}");
        }
        assert_eq!(queried("/api/log", token), Err(Code::Unauthenticated));
        assert!(!access.is_trusted(&Principal::Anonymous));
    }
}
