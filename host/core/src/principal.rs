//! Who calls. One principal passes through every call from the first day, so that rights can be
//! added without touching the calls.

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Someone on this machine, or anyone where the host was told not to ask.
    Anonymous,
    /// The bearer of the configured token.
    Token,
    /// The host itself: sagas, retention, schedules.
    Host,
}

impl Principal {
    /// As it stands in what is kept of who did something.
    pub fn as_str(&self) -> &'static str {
        match self {
            Principal::Anonymous => "anonymous",
            Principal::Token => "token",
            Principal::Host => "host",
        }
    }
}
