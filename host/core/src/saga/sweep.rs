//! Forgets sagas that have ended, when nobody needs to look at them any more.

use uuid::Uuid;

use super::SagaError;
use super::engine::Engine;
use super::rows::{self, ENDED, Head};
use crate::clock::Timestamp;
use crate::limits::saga as limits;
use crate::log_id;
use crate::own::{self, document};
use crate::tasks::chain;

/// Looks now and then, on the host that drives sagas.
pub(super) async fn run(engine: &Engine) {
    loop {
        let next = Timestamp(engine.now().0.saturating_add(limits::SWEEP_EVERY_US));
        engine.parts.clock.wait_until(next).await;
        while engine.epoch().is_some() {
            match sweep(engine).await {
                Ok(swept) if swept == limits::SWEPT_MAX => {}
                Ok(_) => break,
                Err(error) => {
                    let (event_id, error) = (log_id::SAGAS_LATE, chain(&error));
                    tracing::warn!(event_id, error, "ended sagas could not be forgotten yet");
                    break;
                }
            }
        }
    }
}

/// Forgets up to so many of those whose time is over; how many it were.
pub(super) async fn sweep(engine: &Engine) -> Result<usize, SagaError> {
    let (mut swept, mut looked_at) = (0, 0);
    let mut after: Option<String> = None;
    loop {
        let page = own::page(engine.store(), ENDED, "", after.as_deref(), limits::PAGE).await?;
        for found in &page.documents {
            looked_at += 1;
            let Ok(id) = Uuid::try_parse(&found.key) else { continue };
            let head = Head::decode(&found.key, &found.value)?;
            if is_over(engine, &head).await {
                forget(engine, id, &head, found.value.clone()).await?;
                swept += 1;
            }
            if swept == limits::SWEPT_MAX || looked_at == limits::LOOKED_AT_MAX {
                return Ok(swept);
            }
        }
        after = page.documents.last().map(|last| last.key.clone());
        if !page.more {
            return Ok(swept);
        }
    }
}

/// One whose plugin is gone is kept as long as others.
async fn is_over(engine: &Engine, head: &Head) -> bool {
    let definition = engine.definition(&head.saga_type, head.revision).await;
    let keep_ms = definition.ok().and_then(|definition| definition.options.keep_ended_ms);
    let keep_us = keep_ms.unwrap_or(limits::KEEP_ENDED_MS).saturating_mul(1_000);
    engine.now().0.saturating_sub(head.updated_at_us).max(0).unsigned_abs() >= keep_us
}

/// Removes all that is stored of a saga that has ended.
pub(super) async fn forget(engine: &Engine, id: Uuid, head: &Head, stored: bytes::Bytes) -> Result<(), SagaError> {
    let mut documents = rows::removal(id, head);
    documents.push(document(ENDED, id.to_string(), None));
    let guard = own::guard(ENDED, id.to_string(), Some(stored));
    engine.parts.committer.commit(own::unit(vec![guard], documents)).await?;
    Ok(())
}
