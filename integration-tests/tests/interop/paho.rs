//! paho-mqtt 2.x, one scenario of `peers/paho_suite.py` a test, each with a gateway of its own.

use motegate_tests::gateway::Gateway;
use motegate_tests::peer::python;

fn scenario(name: &str) {
    let gateway = Gateway::dev();
    let finished = python("paho_suite.py", &gateway, &[name]).finish();
    assert_eq!(finished.stdout.last().map(String::as_str), Some("ok"), "{finished:#?}");
}

macro_rules! scenarios {
    ($($name:ident),* $(,)?) => { $(#[test] fn $name() { scenario(stringify!($name)); })* };
}

scenarios! {
    qos_in_every_version,
    many_at_qos_2,
    three_versions_meet,
    session_present,
    session_expiry,
    publish_properties_arrive,
    no_local,
    retain_handling,
    retain_as_published,
    subscription_identifiers,
    will_with_delay,
    will_on_disconnect_4,
    takeover,
    assigned_client_id,
    reason_codes,
    topic_alias_to_the_gateway,
    receive_maximum_of_the_client,
    maximum_packet_size_of_the_client,
    message_expiry,
    shared_subscription,
}
