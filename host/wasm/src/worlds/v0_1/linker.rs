//! What the host gives to each kind of plugin.

use wasmill_core::plugin::descriptor::Kind;
use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker};

use super::bindings::wasmill::plugin::{
    config, emitted, env, event_details, events, http, log, outbox, outbox_json, outcomes, saga_data, state,
    state_json, types,
};
use crate::sandbox::{self, Sandbox};

/// Linkers of all kinds.
pub(crate) struct Linkers([Linker<Sandbox>; 4]);

impl Linkers {
    pub(crate) fn new(engine: &Engine) -> wasmtime::Result<Self> {
        let [a, b, c, d] = KINDS;
        Ok(Self([linker(engine, a)?, linker(engine, b)?, linker(engine, c)?, linker(engine, d)?]))
    }

    pub(crate) fn of(&self, kind: Kind) -> &Linker<Sandbox> {
        let [projection, handler, upcaster, saga] = &self.0;
        match kind {
            Kind::Projection => projection,
            Kind::Handler => handler,
            Kind::Upcaster => upcaster,
            Kind::Saga => saga,
        }
    }
}

const KINDS: [Kind; 4] = [Kind::Projection, Kind::Handler, Kind::Upcaster, Kind::Saga];

/// Exactly what `contract::given_to` says: a component that imports more was refused before.
fn linker(engine: &Engine, kind: Kind) -> wasmtime::Result<Linker<Sandbox>> {
    let mut linker = Linker::new(engine);
    let l = &mut linker;
    wasmtime_wasi::p2::add_to_linker_async(l)?;
    types::add_to_linker::<_, HasSelf<Sandbox>>(l, |sandbox| sandbox)?;
    events::add_to_linker::<_, HasSelf<Sandbox>>(l, |sandbox| sandbox)?;
    outcomes::add_to_linker::<_, HasSelf<Sandbox>>(l, |sandbox| sandbox)?;
    emitted::add_to_linker::<_, HasSelf<Sandbox>>(l, |sandbox| sandbox)?;
    log::add_to_linker::<_, HasSelf<Sandbox>>(l, |sandbox| sandbox)?;
    config::add_to_linker::<_, HasSelf<Sandbox>>(l, |sandbox| sandbox)?;
    event_details::add_to_linker::<_, HasSelf<Sandbox>>(l, |sandbox| sandbox)?;
    if matches!(kind, Kind::Projection | Kind::Handler) {
        state::add_to_linker::<_, HasSelf<Sandbox>>(l, |sandbox| sandbox)?;
        state_json::add_to_linker::<_, HasSelf<Sandbox>>(l, |sandbox| sandbox)?;
    }
    if matches!(kind, Kind::Handler | Kind::Saga) {
        env::add_to_linker::<_, HasSelf<Sandbox>>(l, |sandbox| sandbox)?;
        outbox::add_to_linker::<_, HasSelf<Sandbox>>(l, |sandbox| sandbox)?;
        outbox_json::add_to_linker::<_, HasSelf<Sandbox>>(l, |sandbox| sandbox)?;
    }
    if kind == Kind::Saga {
        saga_data::add_to_linker::<_, HasSelf<Sandbox>>(l, |sandbox| sandbox)?;
        http::add_to_linker::<_, HasSelf<Sandbox>>(l, |sandbox| sandbox)?;
    }
    linker.allow_shadowing(true);
    sandbox::forbid_timers(&mut linker)?;
    Ok(linker)
}
