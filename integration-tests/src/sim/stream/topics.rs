//! Who configures topics of the collection (draft-ietf-core-coap-pubsub §2.4, §2.5): made, found, read in
//! part, changed in part and ended, one thing at a time. What was acknowledged is there after a crash;
//! of what was on its way when a connection ended, either.

use std::collections::BTreeSet;

use super::super::coap_wire::{
    CONTENT_FORMAT, DELETE, FETCH, IPATCH, LOCATION_PATH, Message, POST,
};
use super::super::ctx::Ctx;
use super::{Client, Role, What, dotted, path, with};

/// `application/core-pubsub+cbor` and `application/cbor`.
const PUBSUB: [u8; 2] = [2, 0x5e];
const CBOR: [u8; 1] = [60];

/// What a configuration is, as a number that all changeable properties are made of; `None`: there is none.
type State = Option<u32>;

#[derive(Debug)]
pub(super) struct Topics {
    confs: Vec<Conf>,
    versions: u32,
}

/// A topic of this client's.
#[derive(Debug)]
struct Conf {
    name: String,
    /// Segments of its path.
    link: Option<Vec<String>>,
    /// One of these.
    possible: BTreeSet<State>,
    /// It was read in the last round.
    is_read: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Make(u32),
    Find,
    Read,
    Change(u32),
    End,
}

/// What is under way.
#[derive(Debug)]
pub(super) struct Op {
    pub(super) name: String,
    conf: usize,
    deed: Deed,
    /// What was possible before.
    before: BTreeSet<State>,
}

fn text(out: &mut Vec<u8>, text: &str) {
    match u8::try_from(text.len()).expect("short") {
        length @ 0..24 => out.push(0x60 | length),
        length => out.extend([0x78, length]),
    }
    out.extend_from_slice(text.as_bytes());
}

/// topic-type and max-subscribers of a version.
fn changeable(out: &mut Vec<u8>, version: u32) {
    out.push(4);
    // Some do not fit one block.
    let fill = "w".repeat(usize::try_from(version % 3 * 70).unwrap_or(0));
    text(out, &format!("v{version}{fill}"));
    out.extend([6, u8::try_from(version % 20).unwrap_or(0)]);
}

fn made(name: &str, version: u32) -> Vec<u8> {
    let mut out = vec![0xa5, 0];
    text(&mut out, name);
    out.push(2);
    text(&mut out, "core.ps.data");
    out.extend([3, 0]);
    changeable(&mut out, version);
    out
}

fn part(version: u32) -> Vec<u8> {
    let mut out = vec![0xa2];
    changeable(&mut out, version);
    out
}

impl Topics {
    pub(super) fn new(index: usize) -> Topics {
        let conf = |number| Conf {
            name: format!("conf/c{index}/{number}"),
            link: None,
            possible: BTreeSet::from([None]),
            is_read: false,
        };
        Topics { confs: (0..3).map(conf).collect(), versions: 0 }
    }

    /// Whether all were read in the last round.
    pub(super) fn is_read(&self) -> bool {
        self.confs.iter().all(|conf| conf.is_read)
    }

    fn next(&mut self, ctx: &mut Ctx<'_>, at: usize) -> Deed {
        let conf = &self.confs[at];
        let version = self.versions + 1;
        let deed = match (&conf.link, ctx.rng.below(100)) {
            (None, _) if ctx.healing => Deed::Find,
            (Some(_), _) if ctx.healing => Deed::Read,
            (None, 0..60) => Deed::Make(version),
            (None, _) => Deed::Find,
            (Some(_), 0..50) => Deed::Change(version),
            (Some(_), 50..85) => Deed::Read,
            (Some(_), _) => Deed::End,
        };
        self.versions = version;
        deed
    }
}

impl Conf {
    /// What a deed makes possible while nobody knows whether it is done.
    fn begin(&mut self, deed: Deed) {
        match deed {
            Deed::Make(version) => drop(self.possible.insert(Some(version))),
            Deed::Change(version) if self.possible.iter().any(Option::is_some) => {
                self.possible.insert(Some(version));
            }
            Deed::End => drop(self.possible.insert(None)),
            _ => {}
        }
    }

    fn settle(&mut self, state: State) {
        self.possible = BTreeSet::from([state]);
        if state.is_none() {
            self.link = None;
        }
    }

    /// It is not there.
    fn is_gone(&mut self) -> Result<(), String> {
        self.link = None;
        match self.possible.contains(&None) {
            true => Ok(()),
            false => Err(format!("{} is gone: {:?}", self.name, self.possible)),
        }
    }

    fn is_there(&self) -> Result<(), String> {
        match self.possible.iter().any(Option::is_some) {
            true => Ok(()),
            false => Err(format!("{} is there and was ended", self.name)),
        }
    }

    fn found(&mut self, payload: &[u8]) -> Result<(), String> {
        let links = String::from_utf8_lossy(payload);
        let link = links.split(['<', '>']).nth(1).filter(|link| !link.is_empty());
        let Some(link) = link else { return self.is_gone() };
        self.link = Some(link.trim_start_matches('/').split('/').map(str::to_owned).collect());
        self.is_there()
    }

    fn read(&self, payload: &[u8]) -> Result<(), String> {
        let is = |version: &u32| part(*version) == payload;
        match self.possible.iter().flatten().any(is) {
            true => Ok(()),
            false => {
                let (name, possible) = (&self.name, &self.possible);
                Err(format!("{name} is {payload:02x?}, not one of {possible:?}"))
            }
        }
    }
}

impl Client {
    pub(super) fn configure(&mut self, ctx: &mut Ctx<'_>) {
        if !self.requests.is_empty() {
            return;
        }
        let Role::Topics(topics) = &mut self.role else { return };
        let at = match ctx.last_round {
            true => topics.confs.iter().position(|conf| !conf.is_read),
            false => Some(ctx.rng.index(topics.confs.len())),
        };
        let Some(at) = at else { return };
        let name = topics.confs[at].name.clone();
        if self.uncertain.get(&name).is_some_and(|until| ctx.now < *until) {
            return;
        }
        let deed = topics.next(ctx, at);
        let conf = &mut topics.confs[at];
        let before = conf.possible.clone();
        conf.begin(deed);
        let link = conf.link.clone().unwrap_or_default();
        let collection = || path(["ps".to_owned()]);
        let of = |format: &[u8], to| with(to, CONTENT_FORMAT, format.to_vec());
        let asked = match deed {
            Deed::Make(version) => (POST, of(&PUBSUB, collection()), made(&name, version)),
            Deed::Find => {
                let mut filter = vec![0xa1, 0];
                text(&mut filter, &name);
                (FETCH, of(&PUBSUB, collection()), filter)
            }
            Deed::Read => (FETCH, of(&CBOR, path(link)), vec![0x82, 4, 6]),
            Deed::Change(version) => (IPATCH, of(&PUBSUB, path(link)), part(version)),
            Deed::End => (DELETE, path(link), Vec::new()),
        };
        self.ask(ctx, asked, What::Topic(Op { name, conf: at, deed, before }));
    }

    pub(super) fn on_configured(
        &mut self,
        ctx: &mut Ctx<'_>,
        op: Op,
        since: u64,
        m: &Message,
    ) -> Result<(), String> {
        let Role::Topics(topics) = &mut self.role else { return Ok(()) };
        let conf = &mut topics.confs[op.conf];
        let done = match (op.deed, m.code) {
            (Deed::Make(version), 0x41) => {
                conf.settle(Some(version));
                let segments = m.options.iter().filter(|(number, _)| *number == LOCATION_PATH);
                let text =
                    |(_, value): &(u16, Vec<u8>)| String::from_utf8_lossy(value).into_owned();
                conf.link = Some(segments.map(text).collect());
                Ok(())
            }
            // There is one of this name already.
            (Deed::Make(_), 0x80) => {
                conf.possible = op.before;
                conf.is_there()
            }
            (Deed::Find, 0x45) => conf.found(&m.payload),
            (Deed::Read, 0x45) => conf.read(&m.payload),
            (Deed::Change(version), 0x44) => {
                conf.settle(Some(version));
                Ok(())
            }
            (Deed::End, 0x42) => {
                conf.settle(None);
                Ok(())
            }
            (Deed::Read | Deed::Change(_) | Deed::End, 0x84) => {
                conf.possible = op.before;
                conf.is_gone()
            }
            // 5.03: the store fails.
            (Deed::Make(_) | Deed::Change(_) | Deed::End, 0xa3) => {
                conf.possible = op.before;
                ctx.model.outage.check(ctx.now, since)
            }
            (deed, code) => Err(format!("{} to {deed:?} of {}", dotted(code), conf.name)),
        };
        conf.is_read |= ctx.last_round;
        done
    }
}
