//! What an EMQX listener has below MQTT (PROXY protocol, TLS, WebSocket), and its own bounds.

use super::super::RemarkKind::{Changed, Unknown, Unsupported};
use super::super::draft::{At, Draft, Spot};
use super::super::hocon::{Entry, Value as Hocon};
use super::super::listener::{Certificates, Listener, PROXIED, is_origin, is_path};
use super::super::tree::{Tree, as_text};
use crate::value::{PerTime, Value as _};

const AS_USERNAME: &[&str] = &["mqtt", "peer_cert_as_username"];
const AS_CLIENT_ID: &[&str] = &["mqtt", "peer_cert_as_clientid"];

/// Reads them into a listener at `path`.
pub(super) fn read(tree: &Tree<'_>, path: &[&str], listener: &mut Listener, draft: &mut Draft) {
    let at = |keys: &[&'static str]| [path, keys].concat();
    let mut say = |spot: Spot<'_>, kind, keys: &[&'static str], text: &str| {
        draft.remark(At::Listeners, spot, kind, at(keys).join("."), text);
    };
    if let Some(rules) = tree.get(&at(&["access_rules"]))
        && !let_everybody_in(rules)
    {
        listener.anonymous = false;
        let text = "addresses are a matter of the firewall: nobody may connect until there is a rule \
                    there and `anonymous: true` here";
        say(rules.spot, Unsupported, &["access_rules"], text);
    }
    if listener.is_stream() {
        if let Some((spot, text)) = tree.text(&at(&["max_connections"])) {
            match text.parse::<u64>() {
                Ok(most) if most > 0 => listener.max_connections = Some(most),
                _ if text == "infinity" => {}
                _ => say(spot, Unknown, &["max_connections"], "not a number: left out"),
            }
        }
        if let Some((spot, true)) = tree.flag(&at(&["proxy_protocol"])) {
            listener.proxy = Some("any");
            say(spot, Changed, &["proxy_protocol"], PROXIED);
        }
    }
    if listener.protocol != "coap"
        && let Some((spot, text)) = tree.text(&at(&["max_conn_rate"]))
    {
        match PerTime::parse(text).filter(|rate| rate.count > 0) {
            Some(rate) => listener.max_connect_rate = Some(rate),
            None if text == "infinity" => {}
            None => say(spot, Unknown, &["max_conn_rate"], "not a rate such as 500/s: left out"),
        }
    }
    if matches!(listener.protocol, "ws" | "wss") {
        if let Some((spot, text)) = tree.text(&at(&["websocket", "mqtt_path"])) {
            if is_path(text) {
                text.clone_into(&mut listener.path);
            } else {
                say(spot, Unknown, &["websocket", "mqtt_path"], "no path: it is /mqtt");
            }
        }
        let checked = tree.flag(&at(&["websocket", "check_origin_enable"]));
        let listed = tree.get(&at(&["websocket", "check_origins"]));
        if let (Some((spot, true)), Some(listed)) = (checked, listed) {
            let all = origins(listed);
            if all.iter().all(|origin| is_origin(origin)) {
                listener.origins = all;
            } else {
                let text = "not what browsers send as Origin: nobody may connect";
                listener.anonymous = false;
                say(spot, Unknown, &["websocket", "check_origins"], text);
            }
        }
    }
    if matches!(listener.protocol, "mqtts" | "wss") {
        tls(tree, path, listener, draft);
    }
}

/// Whether no address is kept out: the first rule that fits decides there.
fn let_everybody_in(rules: &Entry<'_>) -> bool {
    let first = match &rules.value {
        Hocon::List(rules) => match rules.first() {
            Some(first) => as_text(first),
            None => return true,
        },
        _ => as_text(rules),
    };
    first.is_some_and(|(_, rule)| rule.split_whitespace().eq(["allow", "all"]))
}

/// A list of them, or one text with commas.
fn origins(entry: &Entry<'_>) -> Vec<String> {
    let texts: Vec<&str> = match &entry.value {
        Hocon::List(items) => items.iter().filter_map(|i| as_text(i).map(|(_, t)| t)).collect(),
        Hocon::Text { text, .. } => text.split(',').collect(),
        Hocon::Object(_) => Vec::new(),
    };
    texts.into_iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
}

fn tls(tree: &Tree<'_>, path: &[&str], listener: &mut Listener, draft: &mut Draft) {
    let at = |key: &'static str| [path, &["ssl_options", key]].concat();
    let text = |key: &'static str| tree.text(&at(key)).map(|(_, text)| text.to_owned());
    let mut tls = Certificates {
        cert: text("certfile").unwrap_or_default(),
        key: text("keyfile").unwrap_or_default(),
        completed_from: text("cacertfile"),
        ..Certificates::default()
    };
    let (ca, verify) = (text("cacertfile"), tree.text(&at("verify")));
    let required = tree.flag(&at("fail_if_no_peer_cert")).is_some_and(|(_, on)| on);
    match (verify, ca) {
        (Some((_, "verify_peer")), Some(ca)) => {
            tls.client_ca = Some(ca);
            tls.required = required;
            // A password is not asked of who has an identity: only where nobody needs one.
            tls.identity = as_username(tree).filter(|_| listener.anonymous);
        }
        (Some((spot, "verify_peer")), None) => {
            listener.anonymous = false;
            let text = "without `cacertfile` no certificate can be verified: nobody may connect";
            draft.remark(At::Listeners, spot, Unsupported, at("verify").join("."), text);
        }
        _ => {}
    }
    listener.tls = Some(tls);
}

/// What of a certificate is the client's name there, where it can be here.
fn as_username(tree: &Tree<'_>) -> Option<&'static str> {
    let word = |path: &[&str]| match tree.text(path)?.1 {
        "cn" => Some("cn"),
        "dn" => Some("subject"),
        _ => None,
    };
    word(AS_USERNAME).or_else(|| word(AS_CLIENT_ID))
}

/// Remarks upon names out of certificates, which hold for all listeners there.
pub(super) fn done(tree: &Tree<'_>, draft: &mut Draft) {
    for path in [AS_USERNAME, AS_CLIENT_ID] {
        let Some((spot, text)) = tree.text(path) else { continue };
        let what = format!("{} = {text}", path.join("."));
        match text {
            "disabled" => {}
            "cn" | "dn" if path == AS_USERNAME => {
                let text = "`tls: {identity: …}` of each listener that verifies certificates and \
                            needs no login; who has an identity needs no password here";
                draft.remark(At::Users, spot, Changed, what, text);
            }
            "cn" | "dn" => {
                let text = "it is the client's identity, and its id stays its own; with \
                            `client_id_from_identity: true` no other is accepted";
                draft.remark(At::Users, spot, Changed, what, text);
            }
            _ => {
                let text = "an identity is a common name or a subject";
                draft.remark(At::Users, spot, Unsupported, what, text);
            }
        }
    }
}
