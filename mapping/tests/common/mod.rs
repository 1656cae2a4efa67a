//! What the tests of both sides share.
#![allow(dead_code, reason = "each test file uses its part")]

use motegate_mapping::{Caller, CoapRule, Codec, CodecForm, FrameField, Rules, Table};

pub(crate) const CALLER: Caller<'static> = caller_at("edge", "node-7", "");

pub(crate) const fn caller_at<'a>(
    listener: &'a str,
    client: &'a str,
    mount: &'a str,
) -> Caller<'a> {
    Caller {
        listener,
        client,
        identity: None,
        tenant: "a",
        gateway: "gw",
        source_ip: std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 7)),
        mount,
    }
}

pub(crate) fn strings<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    texts.into_iter().map(str::to_owned).collect()
}

pub(crate) fn rule(name: &str, path: &str, topic: &str) -> CoapRule {
    CoapRule { name: name.into(), path: path.into(), topic: topic.into(), ..CoapRule::default() }
}

pub(crate) fn table(rules: Rules) -> Table {
    Table::new(rules).unwrap_or_else(|errors| panic!("{errors:?}"))
}

pub(crate) fn codecs() -> Vec<Codec> {
    let field = FrameField { name: "temp".into(), kind: "i16be".into(), ..FrameField::default() };
    vec![
        Codec { name: "env4".into(), form: CodecForm::Frame(vec![field]) },
        Codec { name: "compact".into(), form: CodecForm::CborKeys(vec![(0, "temp".into())]) },
    ]
}
