//! Answers to a publish: matched, refused, preconditions (notes 2.22; RFC 7252 §5.10.8).

use super::bench::*;
use motegate_broker::{Precondition, Request, etag};

fn publish_if(b: &mut Bench, text: &str, precondition: Precondition) -> Vec<String> {
    let precondition = Some(precondition);
    b.ask(Request::Publish { ticket: 0, message: message(text), precondition })
}

#[test]
fn a_queued_offline_session_counts_as_a_match() {
    let mut b = Bench::new();
    assert_eq!(b.publish("t=1@1"), ["accepted 0"]);
    let a = b.listener(open("a"), &[sub("t", 1)]);
    b.close(a);
    assert_eq!(b.publish("t=1@1"), ["accepted 1"]);
}

#[test]
fn the_answer_comes_before_the_deliveries() {
    let mut b = Bench::new();
    for i in 0..3 {
        b.listener(clean(&format!("{i}")), &[sub("t", 0)]);
    }
    let said = b.publish("t=1@1");
    assert_eq!(said, ["accepted 3", "0 <- t=1@0", "1 <- t=1@0", "2 <- t=1@0"]);
}

#[test]
fn if_none_match_creates_once() {
    let mut b = Bench::new();
    assert_eq!(publish_if(&mut b, "!t=1", Precondition::Absent), ["accepted 0 created"]);
    let refused = ["refused precondition_failed"];
    assert_eq!(publish_if(&mut b, "!t=2", Precondition::Absent), refused);
    b.publish("!t=");
    assert_eq!(publish_if(&mut b, "!t=3", Precondition::Absent), ["accepted 0 created"]);
}

#[test]
fn if_match_compares_etags() {
    let mut b = Bench::new();
    let refused = ["refused precondition_failed"];
    assert_eq!(publish_if(&mut b, "!t=1", Precondition::Match(vec![])), refused);
    b.publish("!t=1");
    assert_eq!(publish_if(&mut b, "!t=2", Precondition::Match(vec![])), ["accepted 0"]);
    let old = etag(None, b"1");
    assert_eq!(publish_if(&mut b, "!t=3", Precondition::Match(vec![old])), refused);
    let now = etag(None, b"2");
    assert_eq!(publish_if(&mut b, "!t=3", Precondition::Match(vec![old, now])), ["accepted 0"]);
}
