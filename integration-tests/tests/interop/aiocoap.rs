//! aiocoap, one scenario of `peers/aiocoap_suite.py` a test, each with a gateway of its own.

use motegate_tests::gateway::Gateway;
use motegate_tests::peer::python;

fn scenario(name: &str) {
    let gateway = Gateway::dev();
    let finished = python("aiocoap_suite.py", &gateway, &[name]).finish();
    assert_eq!(finished.stdout.last().map(String::as_str), Some("ok"), "{finished:#?}");
}

macro_rules! scenarios {
    ($($name:ident),* $(,)?) => { $(#[test] fn $name() { scenario(stringify!($name)); })* };
}

scenarios! {
    put_get_post_delete,
    content_format_and_etag,
    preconditions,
    observe,
    observe_before_the_first_value,
    well_known_core,
    refusals,
    queries,
}
