//! Runs the tests that a configuration holds (mapping.md §2.17).
//!
//! Each test has a gateway of its own: the pure core, made from the configuration as `run` would
//! make it, on a virtual clock, with an empty store and without sockets. Stimuli go in as packets,
//! encoded by the protocols' own client machines and codecs; what comes out is decoded the same way,
//! so that a test proves the wire. Three things differ from `run`, all of them settings of the core
//! ([`stage`]): who may connect is not asked, a CoAP client's name is the test's, and there is one
//! more listener, without a mount, through which all messages are seen.

mod cbor;
mod coap;
mod compare;
mod coverage;
mod mqtt;
mod report;
mod sn;
mod stage;

use motegate_config::Resolved;
use motegate_config::tests::{Stimulus, Test};

pub(crate) use coverage::Coverage;
pub(crate) use report::{Report, Verdict};

use report::Failure;

use compare::{Answered, Came};
use stage::Stage;

/// Runs the tests whose names contain `only`, in the order of the file.
pub(crate) fn run(resolved: &Resolved, only: Option<&str>) -> Report {
    let wanted = |test: &&Test| {
        only.is_none_or(|part| test.name.to_lowercase().contains(&part.to_lowercase()))
    };
    let mut coverage = Coverage::new(resolved);
    let verdicts = resolved.tests.iter().filter(wanted).map(|test| {
        coverage.count(resolved, test);
        Verdict {
            name: test.name.clone(),
            at: resolved.places.line(&test.place).unwrap_or_default(),
            failures: one(resolved, test),
        }
    });
    Report { verdicts: verdicts.collect(), coverage }
}

/// What is wrong with one.
fn one(resolved: &Resolved, test: &Test) -> Vec<Failure> {
    let mut stage = match Stage::new(resolved, test) {
        Ok(stage) => stage,
        Err(failure) => return vec![failure],
    };
    stage.curtain();
    let answer = match &test.stimulus {
        Stimulus::Coap(request) => stage.coap(request).map(Some),
        Stimulus::MqttSn(publish) => stage.sn(publish).map(|()| None),
        Stimulus::Mqtt(publish) => stage.mqtt(publish).map(|()| None),
    };
    let answer: Option<Answered> = match answer {
        Ok(answer) => answer,
        Err(failure) => return vec![failure],
    };
    stage.wake();
    let mut came: Came = stage.came(answer);
    stage.links(resolved, test, &mut came);
    compare::compare(&test.expect, &came)
}
