//! `state-json`: many documents at once, as JSON.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use wasmill_core::guest::GuestError;

use crate::sandbox::Sandbox;
use crate::worlds::v0_1::bindings::wasmill::plugin::state_json::Host;

impl Host for Sandbox {
    async fn load(&mut self, wanted: String) -> wasmtime::Result<String> {
        let parsed = serde_json::from_str::<BTreeMap<String, Vec<String>>>(&wanted);
        let wanted = parsed.map_err(|error| self.broken("load", "{collection: [key]}", &error))?;
        let mut out = String::from("{");
        for (collection, keys) in wanted {
            let values = self.state()?.get_many(&collection, &keys).await;
            let values = self.or_end(values)?;
            self.check_room(&values)?;
            separate(&mut out);
            name(&mut out, &collection);
            out.push('{');
            for (key, value) in keys.iter().zip(values) {
                separate(&mut out);
                name(&mut out, key);
                let document = value.as_deref().map(std::str::from_utf8).transpose();
                let Ok(document) = document else {
                    let what = format!("document {collection}/{key} is not JSON; read it with `state.get`");
                    return Err(self.end(GuestError::Contract { what }));
                };
                out.push_str(document.unwrap_or("null"));
            }
            out.push('}');
        }
        out.push('}');
        Ok(out)
    }

    fn save(&mut self, documents: String) -> wasmtime::Result<()> {
        type Documents<'a> = BTreeMap<String, BTreeMap<String, &'a RawValue>>;
        let parsed = serde_json::from_str::<Documents<'_>>(&documents);
        let parsed = parsed.map_err(|error| self.broken("save", "{collection: {key: document}}", &error))?;
        for (collection, documents) in parsed {
            for (key, document) in documents {
                let value = (document.get() != "null").then(|| document.get().to_owned().into());
                let put = self.state()?.put(&collection, &key, value);
                self.or_end(put)?;
            }
        }
        Ok(())
    }
}

impl Sandbox {
    pub(super) fn broken(&mut self, function: &str, wants: &str, error: &serde_json::Error) -> wasmtime::Error {
        self.end(GuestError::Contract { what: format!("`{function}` takes {wants}: {error}") })
    }
}

fn separate(out: &mut String) {
    if !out.ends_with('{') {
        out.push(',');
    }
}

fn name(out: &mut String, name: &str) {
    out.push_str(&serde_json::Value::from(name).to_string());
    out.push(':');
}
