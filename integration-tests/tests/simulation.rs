//! The deterministic simulation in short: some hundred good seeds pass, equal seeds run equally, and
//! each planted fault is found.

use motegate_tests::sim::{self, Detail, Fault, Scene, exact};

/// Seeds of the short run; the long one is `--bin sim`.
const SEEDS: std::ops::Range<u64> = 0..250;

fn explain(seed: u64, report: &sim::Report, fault: Option<Fault>) -> String {
    let fault = fault.map(|f| format!(" --fault {}", f.name())).unwrap_or_default();
    format!(
        "{}\nseed {seed} failed: {}\nagain: cargo run --release -p motegate-tests --bin sim -- \
         --seed {seed} --trace{fault}",
        report.lines.join("\n"),
        report.failure.as_deref().unwrap_or_default()
    )
}

#[test]
fn good_seeds_pass() {
    if let Some((seed, report)) = sim::first_failure(SEEDS, None, 60) {
        panic!("{}", explain(seed, &report, None));
    }
}

#[test]
fn a_run_is_what_it_promises() {
    for seed in [3, 9, 500] {
        let report = sim::run(seed, None, Detail::Hash);
        assert_eq!(report.failure, None, "seed {seed}");
        assert!(report.steps >= 300 && report.restarts >= 1, "seed {seed}: {report:?}");
        assert!(report.published > 50 && report.messages > 50, "seed {seed}: {report:?}");
    }
}

#[test]
fn equal_seeds_run_equally() {
    let hashes: Vec<u64> = (20..30).map(|seed| sim::run(seed, None, Detail::Hash).hash).collect();
    for (seed, hash) in (20..30).zip(&hashes) {
        assert_eq!(sim::run(seed, None, Detail::Hash).hash, *hash, "seed {seed}");
        assert_eq!(sim::run(seed, None, Detail::Tail(1)).hash, *hash, "seed {seed} with a trace");
    }
    assert_ne!(hashes[0], hashes[1]);
}

/// Where each fault must be found, among the first 1,000 seeds; the words say how.
fn finds(fault: Fault, words: &[&str]) {
    let Some((seed, report)) = sim::first_failure(0..1000, Some(fault), 0) else {
        panic!("{} went unnoticed in 1,000 seeds", fault.name());
    };
    let failure = report.failure.unwrap_or_default();
    println!("{}: seed {seed}: {failure}", fault.name());
    assert!(words.iter().any(|w| failure.contains(w)), "{}: {failure}", fault.name());
}

#[test]
fn a_missing_duplicate_check_is_found() {
    finds(Fault::NoDuplicateCheck, &["times"]);
}

#[test]
fn an_acknowledgement_before_the_commit_is_found() {
    finds(
        Fault::AckBeforeCommit,
        &["is gone", "was acknowledged", "never given", "times", "changed", "meant", "UNSUBACK"],
    );
}

#[test]
fn an_early_pingresp_is_found() {
    finds(Fault::EarlyPingresp, &["PINGRESP", "asleep"]);
}

#[test]
fn an_acknowledgement_after_a_failed_sync_is_found() {
    finds(
        Fault::AckOnFailedSync,
        &["is gone", "was acknowledged", "never given", "times", "changed", "meant", "UNSUBACK"],
    );
}

#[test]
fn a_fragment_that_is_published_is_found() {
    finds(Fault::FragmentPublished, &["nobody published", "not the last block"]);
}

/// The link is good in the end, so that who observes need not ask again.
#[test]
fn a_notification_that_never_comes_is_found() {
    finds(Fault::NotificationLost, &["observes"]);
}

/// With 20 % of all datagrams lost, in both directions and to the end: what was answered with 2.0x was
/// published exactly once, also in blocks, and every observer ends on the latest value.
#[test]
fn coap_at_twenty_percent_loss() {
    let mut in_blocks = 0;
    for seed in 0..60 {
        let report = sim::run_scene(Scene::Coap, seed, None, Detail::Hash);
        assert_eq!(
            report.failure, None,
            "again: cargo run --release -p motegate-tests --bin sim -- --model coap --seed {seed} \
             --trace"
        );
        in_blocks += report.in_blocks;
    }
    assert!(in_blocks > 300, "{in_blocks}");
    // A gateway that answered a repeated last block by itself would have the body sent twice.
    let twice = (0..60).map(|seed| {
        let fault = Some(Fault::NoDuplicateCheck);
        sim::run_scene(Scene::Coap, seed, fault, Detail::Hash).failure
    });
    let found = twice.flatten().next().expect("a missing duplicate check went unnoticed");
    assert!(found.contains("times") || found.contains("blocks are gone"), "{found}");
}

/// CoAP on connections that break anywhere, stall, are released and opened anew, with crashes: what was answered with
/// 2.0x was published exactly once and is there after a crash, what was not at most as often as it was sent; an
/// observer has the latest value without asking again while its connection stands, also in blocks; so it is with
/// the configuration of topics.
#[test]
fn coap_on_connections_that_break() {
    let [mut written, mut read, mut held_back, mut restarts] = [0; 4];
    for seed in 0..80 {
        let report = sim::run_scene(Scene::Streams, seed, None, Detail::Hash);
        assert_eq!(
            report.failure, None,
            "again: cargo run --release -p motegate-tests --bin sim -- --model streams --seed {seed} \
             --trace"
        );
        written += report.in_blocks;
        read += report.in_blocks_read;
        held_back += report.held_back;
        restarts += report.restarts;
    }
    let all = format!("{written} {read} {held_back} {restarts}");
    assert!(written > 800 && read > 800 && held_back > 40 && restarts > 80, "{all}");
    assert_eq!(
        sim::run_scene(Scene::Streams, 7, None, Detail::Hash).hash,
        sim::run_scene(Scene::Streams, 7, None, Detail::Tail(1)).hash
    );
}

/// What is planted in connections is found there.
#[test]
fn faults_of_connections_are_found() {
    for (fault, words) in [
        (Fault::HeldBackLost, &["observes"][..]),
        (Fault::BodyDoubled, &["times as new"]),
        (Fault::AckBeforeCommit, &["is empty", "is gone", "was acknowledged", "never given"]),
    ] {
        let run = |seed| sim::run_scene(Scene::Streams, seed, Some(fault), Detail::Hash).failure;
        let found = (0..200).find_map(run);
        let found = found.unwrap_or_else(|| panic!("{} went unnoticed", fault.name()));
        println!("{}: {found}", fault.name());
        assert!(words.iter().any(|word| found.contains(word)), "{}: {found}", fault.name());
    }
}

/// The process may die whenever it has handed a batch over.
#[test]
fn every_batch_may_be_the_last() {
    for seed in [2, 7] {
        for batch in 1.. {
            let report = sim::run_crashing(seed, None, Detail::Hash, Some(batch));
            if batch > report.batches {
                assert!(batch > 100, "a run of {batch} batches");
                break;
            }
            let failure = report.failure.unwrap_or_default();
            assert!(failure.is_empty(), "seed {seed} at batch {batch}: {failure}");
        }
    }
}

#[test]
fn a_store_that_fails_is_part_of_it() {
    let reports = (0..40).map(|seed| sim::run(seed, None, Detail::Hash));
    let [mut failures, mut refused, mut damaged] = [0; 3];
    for report in reports {
        failures += report.failures;
        refused += report.refused;
        damaged += report.damaged;
    }
    assert!(failures > 40 && refused > 40 && damaged > 0, "{failures} {refused} {damaged}");
}

/// The model check of the broker: every packet to every client is foretold.
#[test]
fn the_broker_says_what_the_reference_foretells() {
    let mut delivered = 0;
    for seed in 0..150 {
        let report = exact::run(seed, None, false);
        assert_eq!(
            report.failure, None,
            "again: cargo run --release -p motegate-tests --bin sim -- --model mqtt --seed {seed} \
             --trace"
        );
        delivered += report.delivered;
    }
    assert!(delivered > 3_000, "{delivered}");
}

#[test]
fn whatever_the_gateway_says_wrong_is_found() {
    for spoil in exact::Spoil::ALL {
        let found = exact::first_failure(0..100, Some(spoil));
        let (seed, report) = found.unwrap_or_else(|| panic!("{} went unnoticed", spoil.name()));
        println!("{}: seed {seed}: {}", spoil.name(), report.failure.unwrap_or_default());
    }
}
