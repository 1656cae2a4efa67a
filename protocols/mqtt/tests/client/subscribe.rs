//! Subscribing, and what becomes of subscriptions when a session is lost.

use motegate_message::Qos;
use motegate_mqtt::client::{Event, Filter, RequestError};
use motegate_mqtt::{Property, PropertyBuf, ReasonCode};

use crate::peer::{Peer, durable, v5, v311};

#[test]
fn a_lost_session_is_begun_anew() {
    let mut peer = Peer::connected(durable(), 0, "");
    let mut id = PropertyBuf::new();
    id.push(Property::SubscriptionIdentifier(7));
    peer.client.subscribe(&[Filter::new("s/#", Qos::AtLeastOnce)], &id, 9).unwrap();
    peer.expect("82 0b 0001 02 0b 07 0003 \"s/#\" 01");
    peer.receive("90 04 0001 00 01");
    let codes = vec![ReasonCode::GrantedQos1];
    let subscribed =
        |again| Event::Subscribed { token: 9, codes: codes.clone(), again, text: None };
    assert_eq!(peer.event(), subscribed(false));
    peer.publish("a", Qos::AtLeastOnce, 1);
    peer.publish("b", Qos::ExactlyOnce, 2);
    peer.sent();
    peer.receive("50 02 0003");
    // A QoS 2 message that is not through on the server's side either.
    peer.receive("34 07 0001 \"s\" 0005 00 \"y\"");
    assert!(matches!(peer.event(), Event::Message(_)));
    peer.lose();
    peer.accept(0, "");
    peer.expect_published(2); // the server had it
    peer.expect("82 0b 0004 02 0b 07 0003 \"s/#\" 01 32 07 0001 \"a\" 0005 00 \"x\"");
    peer.receive("90 04 0004 00 01");
    assert_eq!(peer.event(), subscribed(true));
    peer.receive("34 07 0001 \"s\" 0005 00 \"z\"");
    let Event::Message(message) = peer.event() else { panic!() };
    assert_eq!(message.payload(), b"z", "the id means another message now");
}

#[test]
fn unanswered_requests_are_sent_again() {
    let mut peer = Peer::new(v311());
    peer.client.subscribe(&[Filter::new("a", Qos::ExactlyOnce)], &PropertyBuf::new(), 1).unwrap();
    peer.client.unsubscribe(&["b"], &PropertyBuf::new(), 2).unwrap();
    peer.open();
    peer.accept(0, "");
    let both = "82 06 0001 0001 \"a\" 02 a2 05 0002 0001 \"b\"";
    peer.expect(both);
    peer.lose();
    peer.accept(0, "");
    peer.expect(both);
    peer.receive("b0 02 0002 90 03 0001 80");
    assert_eq!(peer.event(), Event::Unsubscribed { token: 2, codes: vec![], text: None });
    let Event::Subscribed { codes, .. } = peer.event() else { panic!() };
    assert_eq!(codes, [ReasonCode::UnspecifiedError]);
    // A refused one is not remembered.
    peer.lose();
    peer.accept(0, "");
    peer.expect("");
    assert!(peer.client.is_idle());
}

#[test]
fn requests_that_cannot_be() {
    let mut peer = Peer::connected(v5(), 0, "28 00 29 00 2a 00 27 00000020");
    let none = PropertyBuf::new();
    let mut ask = |filter: &Filter, properties: &PropertyBuf| {
        peer.client.subscribe(std::slice::from_ref(filter), properties, 1)?;
        peer.drain();
        match peer.events.pop() {
            Some(Event::RequestFailed { error, .. }) => Err(error),
            _ => Ok(()),
        }
    };
    let plain = |text: &str| Filter::new(text, Qos::AtMostOnce);
    assert_eq!(ask(&plain("a/#/b"), &none), Err(RequestError::BadFilter));
    let shared = Filter { no_local: true, ..plain("$share/g/a") };
    assert_eq!(ask(&shared, &none), Err(RequestError::BadFilter));
    let third = Filter { retain_handling: 3, ..plain("a") };
    assert_eq!(ask(&third, &none), Err(RequestError::BadOption));
    let zero: PropertyBuf = [Property::SubscriptionIdentifier(0)].into_iter().collect();
    assert_eq!(ask(&plain("a"), &zero), Err(RequestError::BadOption));
    let one: PropertyBuf = [Property::SubscriptionIdentifier(1)].into_iter().collect();
    let no = |code| Err(RequestError::NotSupported(code));
    let code = ReasonCode::SubscriptionIdentifiersNotSupported;
    assert_eq!(ask(&plain("a"), &one), no(code));
    assert_eq!(ask(&plain("a/+"), &none), no(ReasonCode::WildcardSubscriptionsNotSupported));
    let code = ReasonCode::SharedSubscriptionsNotSupported;
    assert_eq!(ask(&plain("$share/g/a"), &none), no(code));
    let long = plain("a-filter-that-is-too-long-for-this-server");
    assert_eq!(ask(&long, &none), Err(RequestError::TooLarge));
    assert_eq!(peer.client.subscribe(&[], &none, 1), Err(RequestError::Empty));
    peer.expect("");
    let all = Filter {
        no_local: true,
        retain_as_published: true,
        retain_handling: 2,
        ..Filter::new("a", Qos::ExactlyOnce)
    };
    peer.client.subscribe(&[all], &none, 1).unwrap();
    assert!(peer.sent().ends_with("00 00 01 61 2e"));
}
