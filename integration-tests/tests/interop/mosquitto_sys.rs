//! `$SYS` beside that of a real mosquitto: the names and the form of what they hold
//! (`protocols/mqtt.md` §5). What the numbers are is proved elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use motegate_tests::gateway::Gateway;
use motegate_tests::mosquitto::Mosquitto;
use motegate_tests::peer::mosquitto_sub;
use motegate_tests::process::Process;

const ALL: [&str; 4] = ["-q", "2", "-t", "$SYS/broker/#"];

/// The form of a payload, without what differs between two brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    /// Decimal digits.
    Whole,
    /// Digits, a point and two digits.
    Decimals,
    /// `N seconds`.
    Seconds,
    /// `NAME version N.N.N`.
    Version,
}

fn form(payload: &str) -> Option<Form> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let words: Vec<&str> = payload.split(' ').collect();
    match words[..] {
        [number] if digits(number) => Some(Form::Whole),
        [number] => {
            let (whole, rest) = number.split_once('.')?;
            (digits(whole) && digits(rest) && rest.len() == 2).then_some(Form::Decimals)
        }
        [number, "seconds"] if digits(number) => Some(Form::Seconds),
        [_, "version", number] => number.split('.').all(digits).then_some(Form::Version),
        _ => None,
    }
}

/// A message of `$SYS`.
struct Told {
    name: String,
    qos: String,
    retain: String,
    payload: String,
}

/// A line of the form of `peer::MESSAGE`; a name may hold a space.
fn told(line: &str) -> Option<Told> {
    let (name, rest) = line.strip_prefix("> $SYS/broker/")?.split_once(" q")?;
    let mut rest = rest.splitn(3, ' ').map(str::to_owned);
    let (qos, retain, payload) = (rest.next()?, rest.next()?, rest.next()?);
    Some(Told { name: name.to_owned(), qos, retain, payload })
}

/// The forms under each name, and the QoS, until a round that was heard from its beginning is over.
/// `uptime` is a round's first message of either broker, the next round's says that it has ended.
fn collect(mut sub: Process) -> BTreeMap<String, BTreeSet<(Form, String)>> {
    let mut forms: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    let mut rounds = 0;
    while rounds < 2 {
        let line = sub.wait_for("message", |line| line.starts_with("> "));
        let Some(Told { name, qos, retain, payload }) = told(&line) else { continue };
        rounds += usize::from(name == "uptime" && retain == "r0");
        let form = form(&payload).unwrap_or_else(|| panic!("{name} is {payload:?}"));
        forms.entry(name).or_default().insert((form, qos));
    }
    forms
}

/// Every name of mosquitto's is there, in the form and at the QoS that a monitor of mosquitto
/// expects; nothing else is under `$SYS/broker/` but what newer ones have.
#[test]
fn names_and_forms_are_mosquittos() {
    let broker = Mosquitto::with("sys_interval 1\n");
    let gateway = Gateway::run("mqtt: {sys_interval: 1s}\n");
    let (theirs, ours) = (broker.sub(&ALL), mosquitto_sub(&gateway, &ALL));
    let (theirs, mut ours) = (collect(theirs), collect(ours));
    assert!(theirs.len() >= 50, "mosquitto told little: {:?}", theirs.keys());
    for (name, forms) in theirs {
        let own = ours.remove(&name);
        assert_eq!(own, Some(forms), "{name}");
    }
    // Told by mosquitto from 2.1 on.
    let more = ["connections/socket/count", "packet/out/bytes", "packet/out/count"];
    let rest: Vec<_> = ours.keys().filter(|name| !more.contains(&name.as_str())).collect();
    assert!(rest.is_empty(), "{rest:?}");
}

/// Numbers are kept: who comes between two rounds hears them at once.
#[test]
fn what_was_told_last_is_retained() {
    let gateway = Gateway::run("mqtt: {sys_interval: 1s}\n");
    mosquitto_sub(&gateway, &["-t", "$SYS/broker/version", "-C", "1"]).wait_for_text("> $SYS");
    let mut late = mosquitto_sub(&gateway, &["-t", "$SYS/broker/clients/+", "-q", "2"]);
    for _ in 0..7 {
        late.wait_for("message", |line| told(line).is_some_and(|told| told.retain == "r1"));
    }
}
