//! Which versions of each type the specification has had.

use wasmill_guest::Lift;

use crate::{lift, test_to_0_5, to_0_3, to_0_4, to_0_5};

/// `subject.predicate: in 0.2 and 0.3 => in 0.4 => in 0.5`, the first of which a younger type does not have.
macro_rules! steps {
    ($lifts:ident: $to_0_5:ident; $($name:literal: $($version:literal)=>+;)+) => {
        $(steps!($lifts, $to_0_5, $name: $($version)=>+);)+
    };
    ($lifts:ident, $to_0_5:ident, $name:literal: $old:literal => $middle:literal => $new:literal) => {
        $lifts.push(lift(full!($name, $old), full!($name, $middle), to_0_4));
        steps!($lifts, $to_0_5, $name: $middle => $new)
    };
    ($lifts:ident, $to_0_5:ident, $name:literal: $middle:literal => $new:literal) => {
        $lifts.push(lift(full!($name, $middle), full!($name, $new), $to_0_5))
    };
}

macro_rules! full {
    ($name:literal, $version:literal) => {
        concat!("dev.cdevents.", $name, ".", $version)
    };
}

#[rustfmt::skip]
pub(crate) fn lifts() -> Vec<Lift> {
    let mut lifts = Vec::new();
    for_tests_of_0_2(&mut lifts);
    steps! { lifts: test_to_0_5;
        "testcaserun.finished":  "0.1.0" => "0.2.0" => "0.3.0";
        "testcaserun.queued":    "0.1.0" => "0.2.0" => "0.3.0";
        "testcaserun.skipped":              "0.1.0" => "0.2.0";
        "testcaserun.started":   "0.1.0" => "0.2.0" => "0.3.0";
        "testsuiterun.finished": "0.1.0" => "0.2.0" => "0.3.0";
        "testsuiterun.queued":   "0.1.0" => "0.2.0" => "0.3.0";
        "testsuiterun.started":  "0.1.0" => "0.2.0" => "0.3.0";
    }
    steps! { lifts: to_0_5;
        "artifact.deleted":                 "0.1.0" => "0.2.0";
        "artifact.downloaded":              "0.1.0" => "0.2.0";
        "artifact.packaged":     "0.1.1" => "0.2.0" => "0.3.0";
        "artifact.published":    "0.1.1" => "0.2.0" => "0.3.0";
        "artifact.signed":       "0.1.0" => "0.2.0" => "0.3.0";
        "branch.created":        "0.1.2" => "0.2.0" => "0.3.0";
        "branch.deleted":        "0.1.2" => "0.2.0" => "0.3.0";
        "build.finished":        "0.1.1" => "0.2.0" => "0.3.0";
        "build.queued":          "0.1.1" => "0.2.0" => "0.3.0";
        "build.started":         "0.1.1" => "0.2.0" => "0.3.0";
        "change.abandoned":      "0.1.2" => "0.2.0" => "0.3.0";
        "change.created":        "0.1.2" => "0.3.0" => "0.4.0";
        "change.merged":         "0.1.2" => "0.2.0" => "0.3.0";
        "change.reviewed":       "0.1.2" => "0.2.0" => "0.3.0";
        "change.updated":        "0.1.2" => "0.2.0" => "0.3.0";
        "environment.created":   "0.1.1" => "0.2.0" => "0.3.0";
        "environment.deleted":   "0.1.1" => "0.2.0" => "0.3.0";
        "environment.modified":  "0.1.1" => "0.2.0" => "0.3.0";
        "incident.detected":     "0.1.0" => "0.2.0" => "0.3.0";
        "incident.reported":     "0.1.0" => "0.2.0" => "0.3.0";
        "incident.resolved":     "0.1.0" => "0.2.0" => "0.3.0";
        "pipelinerun.finished":  "0.1.1" => "0.2.0" => "0.3.0";
        "pipelinerun.queued":    "0.1.1" => "0.2.0" => "0.3.0";
        "pipelinerun.started":   "0.1.1" => "0.2.0" => "0.3.0";
        "repository.created":    "0.1.1" => "0.2.0" => "0.3.0";
        "repository.deleted":    "0.1.1" => "0.2.0" => "0.3.0";
        "repository.modified":   "0.1.1" => "0.2.0" => "0.3.0";
        "service.deployed":      "0.1.1" => "0.2.0" => "0.3.0";
        "service.published":     "0.1.1" => "0.2.0" => "0.3.0";
        "service.removed":       "0.1.1" => "0.2.0" => "0.3.0";
        "service.rolledback":    "0.1.1" => "0.2.0" => "0.3.0";
        "service.upgraded":      "0.1.1" => "0.2.0" => "0.3.0";
        "taskrun.finished":      "0.1.1" => "0.2.0" => "0.3.0";
        "taskrun.started":       "0.1.1" => "0.2.0" => "0.3.0";
        "testoutput.published":  "0.1.0" => "0.2.0" => "0.3.0";
        "ticket.closed":                    "0.1.0" => "0.2.0";
        "ticket.created":                   "0.1.0" => "0.2.0";
        "ticket.updated":                   "0.1.0" => "0.2.0";
    }
    lifts
}

fn for_tests_of_0_2(lifts: &mut Vec<Lift>) {
    for (from, to) in [
        (full!("testcase.finished", "0.1.1"), full!("testcaserun.finished", "0.1.0")),
        (full!("testcase.queued", "0.1.1"), full!("testcaserun.queued", "0.1.0")),
        (full!("testcase.started", "0.1.1"), full!("testcaserun.started", "0.1.0")),
        (full!("testsuite.finished", "0.1.1"), full!("testsuiterun.finished", "0.1.0")),
        (full!("testsuite.started", "0.1.1"), full!("testsuiterun.started", "0.1.0")),
    ] {
        lifts.push(lift(from, to, to_0_3));
    }
}
