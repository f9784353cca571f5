//! Random calls to a group, each answer held against a plain reference model ([`reference`]).
//!
//! What is checked: no event of a key is handed out before the earlier ones are settled or with the same
//! member; nothing that was settled is handed out again; attempts are counted as promised; whatever a member
//! may have it gets; and in the end every event is settled or a dead letter. Time is the test's own. A run
//! kills and restarts its host, and has commits fail before and after they are stored.

mod faulty;
mod reference;
mod run;
mod setup;

pub use run::run;
