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
use motegate_config::tests::{Expect, Given, Stimulus, Test};
use motegate_mapping::Place;
use motegate_message::Reason;

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
    match play(resolved, test) {
        Ok(came) => compare::compare(&test.expect, &came),
        Err(failure) => vec![failure],
    }
}

fn play(resolved: &Resolved, test: &Test) -> Result<Came, Failure> {
    let mut stage = Stage::new(resolved, test)?;
    stage.curtain();
    let answer: Option<Answered> = match &test.stimulus {
        Stimulus::Coap(request) => Some(stage.coap(request)?),
        Stimulus::MqttSn(publish) => stage.sn(publish).map(|()| None)?,
        Stimulus::Mqtt(publish) => stage.mqtt(publish).map(|()| None)?,
    };
    stage.wake();
    let mut came = stage.came(answer);
    stage.links(resolved, test, &mut came);
    Ok(came)
}

/// What came of something that was tried out.
#[derive(Debug, Default)]
pub(crate) struct Rehearsal {
    /// CoAP's code, and its words where it is an error.
    pub(crate) answer: Option<(u8, String)>,
    /// What the broker would have: topic and payload, as text or hexadecimal digits.
    pub(crate) messages: Vec<(String, String)>,
    /// Why it was refused, and the gateway's words.
    pub(crate) refused: Option<(Reason, Option<String>)>,
}

/// Tries something out on an empty gateway; `None` where the device itself would not.
pub(crate) fn rehearse(resolved: &Resolved, stimulus: Stimulus) -> Option<Rehearsal> {
    let test = Test {
        name: String::new(),
        place: Place::root(),
        given: Given::default(),
        stimulus,
        expect: Expect::default(),
    };
    let came = play(resolved, &test).ok()?;
    let answer = came.answer.map(|answer| {
        let error = answer.code >> 5 > 2;
        let words = if error { String::from_utf8_lossy(&answer.payload) } else { "".into() };
        (answer.code, words.into_owned())
    });
    let messages = came.messages.into_iter().map(|m| (m.topic, compare::bytes(&m.payload)));
    Some(Rehearsal {
        answer,
        messages: messages.collect(),
        refused: came.refusals.into_iter().next_back(),
    })
}
