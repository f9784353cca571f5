//! Stores that are wrong on purpose, each in one way that has been seen somewhere: the suite has to find
//! every one of them, and by the claim that it breaks. What it does not find is a hole in the suite.

mod store;

use std::panic::{AssertUnwindSafe, catch_unwind};

use store::Wrong;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    // Order.
    PositionsBeforeTheLock,
    HeadBeforeTheEvents,
    ReadsLagBehind,
    HoleOfARejectedUnit,
    HoleRefilled,
    OffsetsFromWhatIsLeft,
    TimesStepBack,
    // Ids.
    NoDedup,
    DedupOfOneStream,
    DedupOutsideOfTheGroup,
    DedupBeforeTheLock,
    DedupWithoutContent,
    ChecksBeforeDedup,
    // Checks.
    OffsetsBeforeTheGroup,
    OffsetsBeforeTheLock,
    ConditionsBeforeTheGroup,
    ConditionsBeforeTheLock,
    ConditionsFromAfterOn,
    AnyTagInReads,
    AnyTagInConditions,
    ChecksOfOthersIgnored,
    FirstFailureOnly,
    HalfAUnit,
    OneFailsAll,
    // Reads.
    PageSwapped,
    StreamPageSwapped,
    BackwardWithoutItsStart,
    SkipAtThePageBoundary,
    RepeatAtThePageBoundary,
    FilteredPageEndsEarly,
    PageWithoutItsBytesLimit,
    PositionAfterTheTime,
    // Removal.
    RemovalRenumbers,
    RemovalWithoutLimit,
    RemovedIdsForgotten,
    RemovedIdsKept,
    RemovalUntold,
    ConfigurationUntold,
    TruncationUntold,
    TruncationStepsBack,
    DeletedIsNoStream,
    // Read models.
    DocumentsWithoutCheckpoint,
    CheckpointWithoutDocuments,
    DocumentsOfAFencedUnit,
    StaleRunnerPasses,
    GuardsIgnored,
    GuardsBeforeTheGroup,
}

/// Each with words of the claim by which the suite finds it.
const BUGS: [(Bug, &str); 47] = [
    (Bug::PositionsBeforeTheLock, "no reader ever sees a gap, not even for a moment"),
    (Bug::HeadBeforeTheEvents, "everything before the head can be read"),
    (Bug::ReadsLagBehind, "what was answered is what stands in the log"),
    (Bug::HoleOfARejectedUnit, "nothing of a failing unit is stored, and it leaves no hole"),
    (Bug::HoleRefilled, "places of removed events are not given again"),
    (Bug::OffsetsFromWhatIsLeft, "a deleted stream's offsets go on"),
    (Bug::TimesStepBack, "recorded_at never steps back"),
    (Bug::NoDedup, "a repeated unit gets its first answer"),
    (Bug::DedupOfOneStream, "a taken id is a conflict"),
    (Bug::DedupOutsideOfTheGroup, "also within one group"),
    (Bug::DedupBeforeTheLock, "one append is first, the others repeat it"),
    (Bug::DedupWithoutContent, "a taken id is a conflict"),
    (Bug::ChecksBeforeDedup, "a repeated unit gets its first answer"),
    (Bug::OffsetsBeforeTheGroup, "each unit sees those before it"),
    (Bug::OffsetsBeforeTheLock, "one of those that expect the same offset"),
    (Bug::ConditionsBeforeTheGroup, "a condition sees the units before it in its group"),
    (Bug::ConditionsBeforeTheLock, "one of those with the same condition"),
    (Bug::ConditionsFromAfterOn, "the event at `after` itself was known"),
    (Bug::AnyTagInReads, "forward from"),
    (Bug::AnyTagInConditions, "each tag is on an event, but on no event are both"),
    (Bug::ChecksOfOthersIgnored, "a failing check rejects the unit"),
    (Bug::FirstFailureOnly, "all failing checks are told together"),
    (Bug::HalfAUnit, "nothing of a failing unit is stored"),
    (Bug::OneFailsAll, "neighbours of a failing unit pass"),
    (Bug::PageSwapped, "what was answered is what stands in the log"),
    (Bug::StreamPageSwapped, "a stream's index agrees with the log"),
    (Bug::BackwardWithoutItsStart, "one stream alone reads like the log"),
    (Bug::SkipAtThePageBoundary, "forward from"),
    (Bug::RepeatAtThePageBoundary, "forward from"),
    (Bug::FilteredPageEndsEarly, "forward from"),
    (Bug::PageWithoutItsBytesLimit, "no more than its bytes"),
    (Bug::PositionAfterTheTime, "the first event at"),
    (Bug::RemovalRenumbers, "places of what remains never change"),
    (Bug::RemovalWithoutLimit, "removal is bounded"),
    (Bug::RemovedIdsForgotten, "a repeated append is known by its ids"),
    (Bug::RemovedIdsKept, "what is forgotten is forgotten once"),
    (Bug::RemovalUntold, "other hosts are told of a removal"),
    (Bug::ConfigurationUntold, "other hosts are told of a configuration"),
    (Bug::TruncationUntold, "other hosts are told of a truncation"),
    (Bug::TruncationStepsBack, "it never steps back"),
    (Bug::DeletedIsNoStream, "a deleted stream is not `no stream`"),
    (Bug::DocumentsWithoutCheckpoint, "the checkpoint is stored with the documents"),
    (Bug::CheckpointWithoutDocuments, "one answer for each key"),
    (Bug::DocumentsOfAFencedUnit, "its documents are not stored either"),
    (Bug::StaleRunnerPasses, "a stale runner is fenced off"),
    (Bug::GuardsIgnored, "a guard that does not hold rejects the unit"),
    (Bug::GuardsBeforeTheGroup, "a guard sees the units before it"),
];

/// What the suite says of a store; `None` when it passes.
fn verdict(bug: Option<Bug>) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts");
    let suite = || runtime.block_on(super::run(async || Wrong::with(bug)));
    let panic = catch_unwind(AssertUnwindSafe(suite)).err()?;
    let text = panic.downcast_ref::<String>().cloned();
    Some(text.unwrap_or_else(|| panic.downcast_ref::<&str>().copied().unwrap_or_default().to_owned()))
}

#[test]
fn the_suite_finds_every_wrong_store_by_the_claim_that_it_breaks() {
    assert_eq!(verdict(None), None, "without a bug it passes");
    let mut missed = Vec::new();
    for (bug, claim) in BUGS {
        match verdict(Some(bug)) {
            None => missed.push(format!("{bug:?} passes")),
            Some(found) if !found.contains(claim) => {
                missed.push(format!("{bug:?} is found by another claim: {found:.200}"))
            }
            Some(_) => {}
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
