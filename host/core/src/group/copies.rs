//! Copies of dead letters, for those who watch them as a stream.

use uuid::Uuid;

use super::config::GroupRecord;
use super::context::Context;
use super::dead_letter::DeadLetter;
use crate::event::{NewEvent, Origin};
use crate::log::publish::Append;
use crate::log_id;

/// Publishes copies in a task of its own. They are told beside the dead letters, which stand already: one that
/// cannot be published, or whose host dies in between, is missing here and not there.
pub(super) fn publish(context: &Context, record: &GroupRecord, letters: Vec<DeadLetter>) {
    let Some(stream) = record.config.dead_letter_stream.clone().filter(|_| !letters.is_empty()) else { return };
    let (publisher, group) = (context.publisher.clone(), record.name.clone());
    tokio::spawn(async move {
        for letter in letters {
            let append = Append { stream: stream.clone(), events: vec![copy(&group, &letter)], ..Append::default() };
            if let Err(error) = publisher.append(append).await {
                let event_id = log_id::DEAD_LETTER_NOT_COPIED;
                let error = crate::tasks::chain(&error);
                tracing::warn!(event_id, group, stream, error, "a dead letter was not copied to its stream");
            }
        }
    });
}

fn copy(group: &str, letter: &DeadLetter) -> NewEvent {
    let (event, why) = (&letter.event, &letter.why);
    let mut copy = event.to_new();
    let mut say =
        |name: &str, value: &str| copy.headers.push((format!("wasmill-dead-letter-{name}"), value.to_owned()));
    say("group", group);
    say("stream", event.stream());
    say("position", &event.position().to_string());
    say("reason", why.reason.as_str());
    // What a member said may be long, and headers have their bounds.
    say("error", &why.error[..why.error.floor_char_boundary(256)]);
    copy.key.get_or_insert_with(|| event.stream().to_owned());
    NewEvent { id: Uuid::now_v7(), origin: Origin::caused_by(event), ..copy }
}
