//! Values as people write them: `250ms`, `64MiB`, `127.0.0.1:7400`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use wasmill_core::stream::retention::Window;
use wasmill_store::Location;

/// A value that can be read from text. The error is what is wrong, without the key.
pub(super) trait Value: Sized {
    /// What would be right, to follow "give".
    const EXPECTED: &'static str;

    fn from_text(text: &str) -> Result<Self, String>;

    /// Lists may be given as several texts.
    fn from_texts(texts: &[String]) -> Result<Self, String> {
        match texts {
            [text] => Self::from_text(text),
            _ => Err("a list stands where one value belongs".into()),
        }
    }
}

fn not_a<E>(text: &str, what: &'static str) -> impl FnOnce(E) -> String {
    let text = text.to_owned();
    move |_| format!("`{text}` is not {what}")
}

impl Value for SocketAddr {
    const EXPECTED: &'static str = "an address and a port such as 127.0.0.1:7400 or [::1]:7400";

    fn from_text(text: &str) -> Result<Self, String> {
        let local = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
        match local {
            Some(port) => Ok(Self::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
            None => text.parse().map_err(not_a(text, "an address with a port")),
        }
    }
}

impl Value for Duration {
    const EXPECTED: &'static str = "a time with its unit such as 250ms, 10s or 1min";

    fn from_text(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text).map_err(not_a(text, "a time with its unit"))
    }
}

impl Value for ByteSize {
    const EXPECTED: &'static str = "a size such as 64MiB";

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(not_a(text, "a size"))
    }
}

impl Value for usize {
    const EXPECTED: &'static str = "a whole number";

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(not_a(text, "a whole number"))
    }
}

impl Value for u32 {
    const EXPECTED: &'static str = "a whole number";

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(not_a(text, "a whole number"))
    }
}

impl Value for bool {
    const EXPECTED: &'static str = "true or false";

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(not_a(text, "true or false"))
    }
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("the path is empty".into()) } else { Ok(text.into()) }
    }
}

impl Value for Window {
    const EXPECTED: &'static str = "two times of the day, UTC, such as 01:00-05:30";

    fn from_text(text: &str) -> Result<Self, String> {
        let minute = |time: &str| {
            let (hours, minutes) = time.trim().split_once(':')?;
            let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
            (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
        };
        let window = text.split_once('-').and_then(|(from, to)| Window::new(minute(from)?, minute(to)?));
        window.ok_or_else(|| format!("`{text}` is not a part of the day"))
    }
}

impl Value for Location {
    const EXPECTED: &'static str = "`memory:`, `sqlite:PATH` or `postgres://user:password@host:port/database`";

    /// Says nothing of what was given: it may hold a password.
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "it is not the URL of a store".into())
    }
}

impl Value for String {
    const EXPECTED: &'static str = "a text";

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(text.into())
    }
}

/// Texts separated by commas, or given several times.
impl Value for Vec<String> {
    const EXPECTED: &'static str = "a list";

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
    }

    fn from_texts(texts: &[String]) -> Result<Self, String> {
        let lists: Result<Vec<Self>, String> = texts.iter().map(|text| Self::from_text(text)).collect();
        Ok(lists?.concat())
    }
}

/// The secret that callers bear. It is never shown, not even in a debug print.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Shorter ones can be guessed.
const TOKEN_BYTES_MIN: usize = 16;

impl Token {
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Value for Token {
    const EXPECTED: &'static str = "at least 16 characters of visible ASCII, as `openssl rand -hex 32` makes them";

    fn from_text(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.len() < TOKEN_BYTES_MIN {
            return Err(format!("the token has {} characters", text.len()));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("the token has characters that an HTTP header cannot carry".into());
        }
        Ok(Self(text.into()))
    }
}
