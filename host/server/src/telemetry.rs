//! The host's log: one record a line on the standard error, as JSON or text, each with its number
//! (`event_id`, see core's `log_id`) and the correlation id of the request that it belongs to.

use std::fmt;
use std::io::IsTerminal;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{LogConfig, LogFormat};

/// The span that every request runs in carries its correlation id in a field of this name.
const CORRELATION: &str = "correlation_id";

/// Sends what the process logs to the standard error. To be called once, by whoever owns the process;
/// a second call changes nothing.
pub fn init(config: &LogConfig) {
    let json = match config.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let filter = EnvFilter::try_new(&config.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter).with(RememberCorrelation);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    // An error means that a subscriber is there already: it stays.
    let _ = if json {
        registry.with(lines.event_format(JsonLine)).try_init()
    } else {
        registry.with(lines.with_ansi(std::io::stderr().is_terminal()).with_target(false)).try_init()
    };
}

/// Keeps the correlation id beside its span, where [`JsonLine`] finds it without parsing.
struct RememberCorrelation;

struct CorrelationId(String);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for RememberCorrelation {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        struct Find(Option<String>);
        impl Visit for Find {
            fn record_str(&mut self, field: &Field, value: &str) {
                if field.name() == CORRELATION {
                    self.0 = Some(value.into());
                }
            }
            fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
        }
        let mut find = Find(None);
        attributes.record(&mut find);
        if let (Some(correlation_id), Some(span)) = (find.0, context.span(id)) {
            span.extensions_mut().insert(CorrelationId(correlation_id));
        }
    }
}

/// `{"timestamp", "level", "event_id", "message", ...fields, "correlation_id", "target"}`
struct JsonLine;

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = JsonFields(Map::new());
        line.0.insert("timestamp".into(), now().into());
        line.0.insert("level".into(), event.metadata().level().as_str().into());
        event.record(&mut line);
        let scope = context.event_scope().into_iter().flatten();
        for span in scope {
            if let Some(CorrelationId(id)) = span.extensions().get() {
                line.0.entry(CORRELATION).or_insert_with(|| id.as_str().into());
            }
        }
        line.0.insert("target".into(), event.metadata().target().into());
        writeln!(out, "{}", Value::Object(line.0))
    }
}

fn now() -> String {
    let now = jiff::Timestamp::now();
    format!("{now:.6}")
}

struct JsonFields(Map<String, Value>);

impl JsonFields {
    fn set(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().into(), value.into());
    }
}

impl Visit for JsonFields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value);
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value);
    }
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.set(field, wasmill_core::tasks::chain(value));
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_record_is_one_flat_object_with_the_correlation_id_of_its_request() {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer().with_writer(move || writer.clone()).event_format(JsonLine);
        let subscriber = tracing_subscriber::registry().with(RememberCorrelation).with(layer);
        tracing::subscriber::with_default(subscriber, || {
            let request = tracing::info_span!("request", correlation_id = "c-7");
            let _inside = request.enter();
            let _deeper = tracing::info_span!("step").entered();
            tracing::warn!(event_id = 4002_u32, stream = "order-1", "an append was\nrefused");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1);
        let record: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(record["event_id"], 4002);
        assert_eq!(record["message"], "an append was\nrefused");
        assert_eq!((&record["level"], &record["stream"]), (&"WARN".into(), &"order-1".into()));
        assert_eq!(record["correlation_id"], "c-7");
        assert!(record["timestamp"].as_str().unwrap().ends_with('Z'));
    }
}
