use crate::NewEvent;
use crate::export::bindings::imports::wasmill::plugin::{
    config, emitted, env, event_details, http, log, outbox, saga_data, state,
};
use crate::http::{Error, Request, Response};
use crate::log::Level;

pub(crate) fn get(collection: &str, key: &str) -> Option<Vec<u8>> {
    state::get(collection, key)
}

pub(crate) fn get_many(collection: &str, keys: &[String]) -> Vec<Option<Vec<u8>>> {
    state::get_many(collection, keys)
}

pub(crate) fn put_many(collection: &str, entries: Vec<(String, Vec<u8>)>) {
    let entries: Vec<_> = entries.into_iter().map(|(key, value)| state::Entry { key, value }).collect();
    state::put_many(collection, &entries);
}

pub(crate) fn remove(collection: &str, key: &str) {
    state::remove(collection, key);
}

pub(crate) fn scan(
    collection: &str,
    prefix: &str,
    after: Option<&str>,
    limit: u32,
) -> (Vec<(String, Vec<u8>)>, Option<String>) {
    let page = state::scan(collection, prefix, after, limit);
    (page.entries.into_iter().map(|entry| (entry.key, entry.value)).collect(), page.next_after)
}

pub(crate) fn event_details(index: u32) -> Vec<(String, String)> {
    event_details::attributes_of(index)
}

pub(crate) fn config_get(key: &str) -> Option<String> {
    config::get(key)
}

pub(crate) fn config_get_all() -> Vec<(String, String)> {
    config::get_all()
}

pub(crate) fn log_write(level: Level, message: &str, fields: &[(&str, &str)]) {
    let level = match level {
        Level::Trace => log::Level::Trace,
        Level::Debug => log::Level::Debug,
        Level::Info => log::Level::Info,
        Level::Warn => log::Level::Warn,
        Level::Error => log::Level::Error,
    };
    let fields: Vec<_> = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    log::write(level, message, &fields);
}

pub(crate) fn append(cause: u32, stream: String, events: Vec<NewEvent>) {
    let event = |event| {
        let NewEvent { event_type, schema_version, key, data, attributes } = event;
        emitted::NewEvent { event_type, schema_version, key, data, attributes }
    };
    let events: Vec<_> = events.into_iter().map(event).collect();
    outbox::append(cause, &stream, &events);
}

pub(crate) fn now_us() -> u64 {
    env::now_us()
}

pub(crate) fn random(len: u32) -> Vec<u8> {
    env::random(len)
}

pub(crate) fn data_get(key: &str) -> Option<Vec<u8>> {
    saga_data::get(key)
}

pub(crate) fn data_put(key: &str, value: Vec<u8>) {
    saga_data::put(key, &value);
}

pub(crate) fn data_remove(key: &str) {
    saga_data::remove(key);
}

pub(crate) fn output_of(step: &str) -> Option<Vec<u8>> {
    saga_data::output_of(step)
}

pub(crate) fn send(request: Request) -> Result<Response, Error> {
    let Request { method, url, headers, body, timeout_ms } = request;
    let sent = http::send(&http::Request { method, url, headers, body, timeout_ms });
    let sent = sent.map(|http::Response { status, headers, body }| Response { status, headers, body });
    sent.map_err(|http::HttpError { code, message }| Error { code, message })
}
