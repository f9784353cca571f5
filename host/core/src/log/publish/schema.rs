//! Whether events keep the schemas of their types, where their streams ask for that.

use super::check::{At, BROKEN_RULES_MAX};
use super::prepare::Form;
use super::{Append, AppendError, Publisher};
use crate::code::Detail;
use crate::event::NewEvent;
use crate::name::StreamName;
use crate::schema::{Judgement, Violation};
use crate::stream::config::Validation;

impl Publisher {
    /// The events keep all other rules.
    pub(super) async fn validate(
        &self,
        appends: &[Append],
        streams: &[StreamName],
        form: Form,
    ) -> Result<(), AppendError> {
        let mut broken = Broken::default();
        for (i, (append, stream)) in appends.iter().zip(streams).enumerate() {
            let validation = self.configs.effective(stream).validation();
            if validation == Validation::None {
                continue;
            }
            for (event_index, event) in append.events.iter().enumerate() {
                if broken.is_full() {
                    return broken.into_result();
                }
                let at = At { append: (form == Form::Transaction).then_some(i), event: event_index };
                let required = validation == Validation::Required;
                let judgement = self.schemas.judge(event, required).await.map_err(AppendError::Schema)?;
                broken.take(at, event, required, judgement);
            }
        }
        broken.into_result()
    }
}

/// What is wrong, in the order of the events.
#[derive(Default)]
struct Broken {
    details: Vec<Detail>,
    violated: bool,
}

impl Broken {
    /// What comes behind is not looked at.
    fn is_full(&self) -> bool {
        self.details.len() >= BROKEN_RULES_MAX
    }

    fn take(&mut self, at: At, event: &NewEvent, required: bool, judgement: Judgement) {
        let (event_type, version) = (&event.event_type, event.schema_version.max(1));
        let facts = || vec![("type", event_type.clone()), ("schema_version", version.to_string())];
        match judgement {
            Judgement::Keeps => {}
            Judgement::Unknown if !required => {}
            Judgement::Unknown => {
                let message = format!("version {version} of `{event_type}` has no schema, and the stream requires one");
                self.details.push(Detail { at: format!("{at}.type"), message, facts: facts() });
            }
            Judgement::NotJson => {
                self.violated = true;
                let message = "only JSON can be validated, and the stream asks for it".into();
                self.details.push(Detail { at: format!("{at}.content_type"), message, facts: facts() });
            }
            Judgement::Breaks(violations) => {
                self.violated = true;
                self.details.extend(violations.into_iter().map(|Violation { at: pointer, message }| {
                    let mut facts = facts();
                    facts.push(("pointer", pointer.clone()));
                    let place = if pointer.is_empty() { "the data".into() } else { pointer };
                    Detail { at: format!("{at}.data"), message: format!("{place}: {message}"), facts }
                }));
            }
        }
    }

    fn into_result(self) -> Result<(), AppendError> {
        match (self.details, self.violated) {
            (details, _) if details.is_empty() => Ok(()),
            (details, true) => Err(AppendError::SchemaViolation(details)),
            (details, false) => Err(AppendError::SchemaNotFound(details)),
        }
    }
}
