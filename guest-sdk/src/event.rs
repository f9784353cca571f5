use std::fmt;

/// An event as the contract hands it over, its data still undecoded. Plugins see it through a
/// [`Context`](crate::Context).
#[derive(Clone, Debug)]
pub struct Event {
    /// Place in the whole log, from 0.
    pub position: u64,
    /// Place in its stream, from 0.
    pub offset: u64,
    /// When it happened, in microseconds since the Unix epoch.
    pub time_us: u64,
    /// High and low half of its UUID.
    pub id: (u64, u64),
    pub schema_version: u32,
    pub event_type: String,
    pub stream_name: String,
    pub key: Option<String>,
    pub correlation_id: Option<String>,
    pub data: Vec<u8>,
}

/// The UUID of an event. `Display` writes it in the usual form of five groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    pub high: u64,
    pub low: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { high, low } = *self;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_as_a_uuid() {
        let id = EventId { high: 0xe87b_ca84_a79b_5303, low: 0xa650_073b_0837_aeb1 };
        assert_eq!(id.to_string(), "e87bca84-a79b-5303-a650-073b0837aeb1");
    }
}
