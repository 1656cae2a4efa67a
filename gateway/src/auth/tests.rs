//! The thread and what it decides.

use std::future::poll_fn;
use std::time::Duration;

use motegate_core::{Users, Verifier};

use super::password::verifier;
use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn users(list: &[(&str, Verifier)]) -> Arc<Users> {
    Arc::new(list.iter().map(|(name, verifier)| (Arc::from(*name), verifier.clone())).collect())
}

fn password(ticket: u64, users: &Arc<Users>, user: &str, password: &str) -> Authenticate {
    let (user, password) = (user.to_owned(), password.to_owned().into());
    let proof = Proof::Password { user, password };
    Authenticate { ticket, users: users.clone(), proof, within: MINUTE }
}

fn word(users: &Arc<Users>, method: &str, data: &str, state: Option<&[u8]>) -> Authenticate {
    let state = state.map(bytes::Bytes::copy_from_slice);
    let (method, data) = (method.into(), data.to_owned().into());
    let proof = Proof::Exchange { method, data, state };
    Authenticate { ticket: 1, users: users.clone(), proof, within: MINUTE }
}

fn allow(user: &str) -> Verdict {
    Verdict::Allow { user: user.into(), data: None }
}

#[test]
fn passwords_are_judged() {
    let users = users(&[("anna", verifier(b"pencil", b"salt", 10))]);
    let mut judge = Judge::new().unwrap();
    let failed = Verdict::Deny(Reason::AuthFailed);
    for (user, given, verdict) in [
        ("anna", "pencil", allow("anna")),
        ("anna", "pencil", allow("anna")), // remembered
        ("anna", "pen", Verdict::Deny(Reason::AuthFailed)),
        ("anna", "", Verdict::Deny(Reason::AuthFailed)),
        ("ben", "pencil", Verdict::Deny(Reason::AuthFailed)),
        ("", "", failed),
    ] {
        assert_eq!(judge.judge(&password(1, &users, user, given)), verdict, "{user} {given}");
    }
    // What was right with another verifier is not.
    let changed = super::tests::users(&[("anna", verifier(b"crayon", b"salt", 10))]);
    let verdict = judge.judge(&password(1, &changed, "anna", "pencil"));
    assert_eq!(verdict, Verdict::Deny(Reason::AuthFailed));
}

#[test]
fn an_exchange_is_judged() {
    let users = users(&[("anna", verifier(b"pencil", b"salt", 10))]);
    let mut judge = Judge::new().unwrap();
    let mut exchange = |user: &str, password: &str| {
        let client = scram::client::Client::new(user, password.as_bytes()).unwrap();
        let first = judge.judge(&word(&users, scram::METHOD, &client.first(), None));
        let Verdict::Continue { data, state } = first else { panic!("{first:?}") };
        let (last, expected) = client.finish(&data).unwrap();
        (judge.judge(&word(&users, scram::METHOD, &last, Some(&state))), expected)
    };
    let (verdict, expected) = exchange("anna", "pencil");
    assert_eq!(verdict, Verdict::Allow { user: "anna".into(), data: Some(expected.into()) });
    for (user, password) in [("anna", "crayon"), ("ben", "pencil")] {
        assert_eq!(exchange(user, password).0, Verdict::Deny(Reason::AuthFailed));
    }
    let verdict = judge.judge(&word(&users, "SCRAM-SHA-1", "n,,n=anna,r=x", None));
    assert_eq!(verdict, Verdict::Deny(Reason::AuthMethod));
    let verdict = judge.judge(&word(&users, scram::METHOD, "nonsense", None));
    assert_eq!(verdict, Verdict::Deny(Reason::AuthFailed));
}

/// Nobody learns from salt and iterations whether a user exists: both stay, over restarts too.
#[test]
fn a_user_that_does_not_exist_looks_like_one() {
    let known = |n: u8| verifier(b"pencil", &[n; 16], 10);
    let users = users(&[("anna", known(1)), ("ben", known(2)), ("odd", verifier(b"x", b"y", 7))]);
    let ask = |judge: &mut Judge, user: &str| {
        let data = format!("n,,n={user},r=abc");
        let verdict = judge.judge(&word(&users, scram::METHOD, &data, None));
        let Verdict::Continue { data, .. } = verdict else { panic!("{verdict:?}") };
        let text = String::from_utf8(data.to_vec()).unwrap();
        let (_, salt) = text.split_once(",s=").unwrap();
        salt.to_owned()
    };
    let (mut judge, mut restarted) = (Judge::new().unwrap(), Judge::new().unwrap());
    let (one, other) = (ask(&mut judge, "nobody"), ask(&mut judge, "noone"));
    assert_ne!(one, other);
    assert_eq!(one.len(), ask(&mut judge, "anna").len());
    assert!(one.ends_with(",i=10"), "{one}");
    assert_eq!([&one, &other], [&ask(&mut restarted, "nobody"), &ask(&mut judge, "noone")]);
}

#[tokio::test]
async fn the_thread_is_started_by_the_first_proof_and_answers_in_order() {
    let users = users(&[("anna", verifier(b"pencil", b"salt", 1000))]);
    let mut auth = Auth::default();
    assert!(auth.thread.is_none() && auth.poll_verdict().is_none());
    for (ticket, given) in [(7, "pencil"), (8, "crayon")] {
        auth.ask(password(ticket, &users, "anna", given));
    }
    let mut verdicts = Vec::new();
    while verdicts.len() < 2 {
        poll_fn(|cx| auth.poll_ready(cx)).await;
        verdicts.extend(std::iter::from_fn(|| auth.poll_verdict()));
    }
    assert_eq!(verdicts, [(7, allow("anna")), (8, Verdict::Deny(Reason::AuthFailed))]);
    assert_eq!((auth.places, auth.bytes), (0, 0));
}

/// More than there is room for is refused at once, and what is refused takes no place.
#[tokio::test]
async fn what_finds_no_place_is_told_so() {
    let users = users(&[("anna", verifier(b"pencil", b"salt", 100_000))]);
    let mut auth = Auth::default();
    for ticket in 0..PLACES as u64 + 10 {
        auth.ask(password(ticket, &users, "anna", "pencil"));
    }
    let busy: Vec<_> = std::iter::from_fn(|| auth.poll_verdict())
        .filter(|(_, verdict)| *verdict == Verdict::Deny(Reason::Overloaded))
        .collect();
    assert!((9..=10).contains(&busy.len()), "{}", busy.len());
    drop(auth); // does not work through what waits

    let mut auth = Auth::default();
    let long = "x".repeat(60_000);
    for ticket in 0..400 {
        auth.ask(password(ticket, &users, "anna", &long));
    }
    assert!(auth.bytes <= BYTES && auth.refused.len() >= 100, "{}", auth.refused.len());
}
