//! [`Registration`]: one registration at one directory, from finding the registration resource to
//! its removal.
//!
//! Guarantees: one action at a time; it is renewed when three quarters of its lifetime have passed,
//! and every hour at least, so that a directory that has forgotten it is noticed; links that have
//! changed are registered anew once in `links_every`, however often they change; a directory that
//! fails is asked again after 10 s, then twice as long each time, up to an hour (§4.1: "very strictly
//! rate-limit"), or when its 5.03 says.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use motegate_timers::Instant;

use super::contract::{Action, Counts, Event, Failure, Look, Registered, Settings};
use super::resources;
use super::uri::{Server, Uri};
use crate::client::{Request, Response};
use crate::endpoint::{Code, Method};
use crate::link_format::CONTENT_FORMAT;
use crate::options::URI_HOST;
use crate::random::Random;

/// The longest time between two updates.
const RENEW_EVERY: Duration = Duration::from_secs(3_600);
/// The pause after the first failure.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// The longest pause between two attempts, but for a random part.
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);
/// Longest Max-Age of a 5.03 that a registration waits for.
const LONGEST_MAX_AGE: Duration = Duration::from_secs(86_400);
/// RFC 7252 §5.10.5: of a response that says none.
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(60);
/// Registration resources of a directory that are tried.
const MAX_RESOURCES: usize = 8;
/// Characters of a directory's words that are told.
const MAX_WORDS: usize = 200;

/// Where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// Nothing is to be done before this.
    Rest(Instant),
    /// A server is being found, for the next step.
    Open(Then),
    /// `.well-known/core` was asked for.
    Discover,
    /// The links are being looked at: to register them, or to compare them.
    Look(Purpose),
    Register,
    Update,
    Remove,
    Ended,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Then {
    Discover,
    Look,
    /// With the new base, if there is one.
    Update(Option<String>),
    Remove,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Register,
    /// And renew it, whatever is found.
    Compare {
        renews: bool,
    },
}

/// A registration at the directory.
#[derive(Debug)]
struct Held {
    told: Registered,
    resource: Uri,
    links: String,
    renew_at: Instant,
    look_at: Instant,
    expires_at: Instant,
    /// Renewing or changing it failed: it is to be registered anew.
    is_lost: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Registration {
    settings: Settings,
    random: Random,
    step: Step,
    action: Option<Action>,
    events: VecDeque<Event>,
    counts: Counts,
    /// The server that requests go to.
    opened: Option<Server>,
    /// Registration resources that are still to be tried.
    candidates: VecDeque<Uri>,
    /// The one that is being tried.
    target: Option<Uri>,
    /// What is being registered.
    look: Option<Look>,
    /// When the last request was made.
    asked_at: Instant,
    held: Option<Held>,
    /// Attempts in a row that failed.
    failed: u32,
    nudged: bool,
    stopping: bool,
}

impl Registration {
    /// Begins at once. `seed` is for the random part of pauses.
    #[must_use]
    pub fn new(now: Instant, settings: Settings, seed: u64) -> Self {
        let mut registration = Registration {
            settings,
            random: Random::new(seed),
            step: Step::Rest(now),
            action: None,
            events: VecDeque::new(),
            counts: Counts::default(),
            opened: None,
            candidates: VecDeque::new(),
            target: None,
            look: None,
            asked_at: now,
            held: None,
            failed: 0,
            nudged: false,
            stopping: false,
        };
        registration.begin(now);
        registration
    }

    /// What is to be done now.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.action.take()
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is wanted.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        match self.step {
            Step::Rest(until) => Some(until),
            _ => None,
        }
    }

    /// Whether nothing will be done any more.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.step == Step::Ended
    }

    /// What was done.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// It is time.
    pub fn handle_timeout(&mut self, now: Instant) {
        if matches!(self.step, Step::Rest(until) if until <= now) {
            self.go_on(now);
        }
    }

    /// The server was found.
    pub fn handle_opened(&mut self, now: Instant, server: Server) {
        let Step::Open(then) = &self.step else { return };
        let then = then.clone();
        self.opened = Some(server);
        self.at_server(now, then);
    }

    /// The links, as they are.
    pub fn handle_look(&mut self, now: Instant, look: Look) {
        let Step::Look(purpose) = self.step else { return };
        if self.stopping {
            return self.finish(now);
        }
        let Purpose::Compare { renews } = purpose else { return self.register(now, look) };
        let Some(held) = &mut self.held else { return self.begin(now) };
        held.look_at = now + self.settings.links_every;
        if held.links != look.links {
            // §5: "the set of links registered with the endpoint is replaced".
            self.target = Some(held.resource.clone());
            if held.told.base != look.base {
                self.opened = None; // from another address
            }
            self.look = Some(look);
            let server = held.resource.server.clone();
            return self.with(now, server, Then::Look);
        }
        if held.told.base != look.base {
            let server = held.resource.server.clone();
            self.opened = None;
            return self.with(now, server, Then::Update(Some(look.base)));
        }
        if renews { self.renew(now) } else { self.rest(now) }
    }

    /// The answer to the request.
    pub fn handle_response(&mut self, now: Instant, response: &Response) {
        match self.step {
            Step::Discover => self.discovered(now, response),
            Step::Register => self.registered(now, response),
            Step::Update => self.updated(now, response),
            Step::Remove => self.removed(now, response),
            _ => {}
        }
    }

    /// What was to be done could not be done.
    pub fn handle_failed(&mut self, now: Instant, why: String) {
        self.opened = None;
        match &self.step {
            Step::Rest(_) | Step::Ended => {}
            Step::Open(Then::Remove) | Step::Remove => self.step = Step::Ended,
            Step::Open(Then::Update(_)) | Step::Update => {
                self.lose(now, Failure::Shell(why), false);
            }
            _ => self.fail(now, Failure::Shell(why), None),
        }
    }

    /// Everything is to be looked at now: the configuration may have changed.
    pub fn nudge(&mut self, now: Instant) {
        match self.step {
            Step::Ended => {}
            Step::Rest(_) if self.held.as_ref().is_some_and(|held| !held.is_lost) => {
                self.step = Step::Look(Purpose::Compare { renews: true });
                self.action = Some(Action::Look);
            }
            Step::Rest(_) => self.begin(now),
            _ => self.nudged = true,
        }
    }

    /// §5.3.2: the registration is removed. A request under way is waited for: it may be what makes
    /// the registration.
    pub fn stop(&mut self, now: Instant) {
        self.stopping = true;
        match self.step {
            Step::Rest(_) => self.finish(now),
            Step::Open(_) | Step::Discover | Step::Look(_) if self.held.is_none() => {
                self.step = Step::Ended;
                self.action = None;
            }
            _ => {}
        }
    }

    /// Finds the registration resource, and registers.
    fn begin(&mut self, now: Instant) {
        self.candidates.clear();
        let directory = self.settings.directory.clone();
        if directory.path.is_empty() {
            return self.with(now, directory.server, Then::Discover);
        }
        self.candidates.push_back(directory);
        self.try_next(now);
    }

    fn try_next(&mut self, now: Instant) {
        let Some(uri) = self.candidates.pop_front() else { return self.rest(now) };
        let server = uri.server.clone();
        self.target = Some(uri);
        self.look = None;
        self.with(now, server, Then::Look);
    }

    /// Does the next step at this server.
    fn with(&mut self, now: Instant, server: Server, then: Then) {
        if self.opened.as_ref() == Some(&server) {
            return self.at_server(now, then);
        }
        if self.stopping && then != Then::Remove {
            return self.finish(now);
        }
        self.step = Step::Open(then);
        self.action = Some(Action::Open(server));
    }

    fn at_server(&mut self, now: Instant, then: Then) {
        if self.stopping && then != Then::Remove {
            return self.finish(now);
        }
        match then {
            Then::Discover => {
                // §4.3: a GET of the well-known resource with `rt=core.rd`.
                let mut request = Request::new(Method::Get, ".well-known/core");
                request.query.push("rt=core.rd".into());
                request.accept = Some(CONTENT_FORMAT);
                self.ask(now, Step::Discover, request);
            }
            Then::Look => match self.look.take() {
                Some(look) => self.register(now, look),
                None => {
                    self.step = Step::Look(Purpose::Register);
                    self.action = Some(Action::Look);
                }
            },
            Then::Update(base) => self.update(now, base),
            Then::Remove => {
                let location = self.held.as_ref().map(|held| held.told.location.clone());
                let request = to(Method::Delete, location.unwrap_or_default());
                self.ask(now, Step::Remove, request);
            }
        }
    }

    fn ask(&mut self, now: Instant, step: Step, mut request: Request) {
        // RFC 7252 §6.4: an address is left out, a name is not.
        if let Some(server) = self.opened.as_ref().filter(|server| !server.is_address()) {
            request.options.push((URI_HOST, server.host.clone().into_bytes()));
        }
        self.asked_at = now;
        self.step = step;
        self.action = Some(Action::Ask(request));
    }

    fn register(&mut self, now: Instant, look: Look) {
        let Some(target) = &self.target else { return self.begin(now) };
        let Settings { endpoint, sector, lifetime_secs, .. } = &self.settings;
        // §5: `{+rd}{?ep,d,lt,base,extra-attrs*}`.
        let mut request = to(Method::Post, target.path.clone());
        request.query.push(format!("ep={endpoint}"));
        request.query.extend(sector.as_ref().map(|sector| format!("d={sector}")));
        request.query.push(format!("lt={lifetime_secs}"));
        // §5: it "MUST include the base parameter" where the port is an ephemeral one.
        request.query.push(format!("base={}", look.base));
        request.content_format = Some(CONTENT_FORMAT);
        request.payload = look.links.clone().into_bytes().into();
        self.look = Some(look);
        self.ask(now, Step::Register, request);
    }

    fn renew(&mut self, now: Instant) {
        let Some(held) = &self.held else { return self.begin(now) };
        let server = held.resource.server.clone();
        self.with(now, server, Then::Update(None));
    }

    fn update(&mut self, now: Instant, base: Option<String>) {
        let Some(held) = &self.held else { return self.begin(now) };
        // §5.3.1: no payload, and no parameter that has not changed.
        let mut request = to(Method::Post, held.told.location.clone());
        request.query.extend(base.as_ref().map(|base| format!("base={base}")));
        self.look = base.map(|base| Look { links: String::new(), count: 0, base });
        self.ask(now, Step::Update, request);
    }

    /// §4.3: what the directory says of itself.
    fn discovered(&mut self, now: Instant, response: &Response) {
        let Some(server) = self.opened.clone() else { return self.begin(now) };
        if response.code != Code::CONTENT {
            let wait = asked_to_wait(response);
            let failure = refused(server, "search for its registration resource", response);
            return self.fail(now, failure, wait);
        }
        let is_links = response.content_format.is_none_or(|format| format == CONTENT_FORMAT);
        let document = core::str::from_utf8(&response.payload).unwrap_or_default();
        let found = resources(if is_links { document } else { "" }, "core.rd", MAX_RESOURCES);
        self.candidates.clear();
        for uri in found.into_iter().filter_map(|found| Uri::resolve(&server, found)) {
            if !self.candidates.contains(&uri) {
                self.candidates.push_back(uri);
            }
        }
        if self.candidates.is_empty() {
            return self.fail(now, Failure::NoResource(server), None);
        }
        self.try_next(now);
    }

    fn registered(&mut self, now: Instant, response: &Response) {
        let (Some(server), Some(look), Some(resource)) =
            (self.opened.clone(), self.look.take(), self.target.clone())
        else {
            return self.begin(now);
        };
        if response.code.class() != 2 {
            let wait = asked_to_wait(response);
            return self.fail(now, refused(server, "registration", response), wait);
        }
        if response.location_path.is_empty() {
            return self.fail(now, Failure::NoLocation(server), None);
        }
        let location = response.location_path.clone();
        let told = Registered { server, location, links: look.count, base: look.base };
        self.held = Some(Held {
            told: told.clone(),
            resource,
            links: look.links,
            renew_at: now,
            look_at: now + self.settings.links_every,
            expires_at: now,
            is_lost: false,
        });
        self.counts.registrations += 1;
        self.lives_on();
        self.events.push_back(Event::Registered(told));
        self.rest(now);
    }

    fn updated(&mut self, now: Instant, response: &Response) {
        let base = self.look.take().map(|look| look.base);
        let Some(held) = &mut self.held else { return self.begin(now) };
        if response.code.class() == 2 {
            if let Some(base) = base {
                held.told.base = base;
            }
            self.counts.updates += 1;
            let told = held.told.clone();
            self.lives_on();
            self.events.push_back(Event::Renewed(told));
            return self.rest(now);
        }
        let failure = refused(held.told.server.clone(), "update", response);
        // §5.3.1: "if the time indicated in a Service Unavailable Max-Age exceeds the remaining
        // lifetime", or for any other failure, it is registered again.
        if let Some(wait) = asked_to_wait(response).filter(|wait| now + *wait < held.expires_at) {
            held.renew_at = now + wait;
            self.counts.failures += 1;
            self.events.push_back(Event::Failed { failure, again_in: wait });
            return self.rest(now);
        }
        self.lose(now, failure, response.code == Code::NOT_FOUND);
    }

    fn removed(&mut self, _now: Instant, response: &Response) {
        self.step = Step::Ended;
        if response.code.class() == 2 || response.code == Code::NOT_FOUND {
            self.held = None;
            self.events.push_back(Event::Removed);
        }
    }

    /// Its lifetime began when the directory heard of it: not before it was asked.
    fn lives_on(&mut self) {
        self.failed = 0;
        let lifetime = Duration::from_secs(self.settings.lifetime_secs.into());
        if let Some(held) = &mut self.held {
            held.is_lost = false;
            held.expires_at = self.asked_at + lifetime;
            held.renew_at = self.asked_at + (lifetime * 3 / 4).min(RENEW_EVERY);
        }
    }

    /// §5.3.1: "the registering endpoint SHOULD attempt registration again".
    fn lose(&mut self, now: Instant, failure: Failure, is_gone: bool) {
        self.look = None;
        match &mut self.held {
            Some(held) if !is_gone => held.is_lost = true,
            held => *held = None,
        }
        if self.stopping {
            return self.finish(now);
        }
        self.events.push_back(Event::Lost(failure));
        self.begin(now);
    }

    /// §5: another registration resource, or later again.
    fn fail(&mut self, now: Instant, failure: Failure, wait: Option<Duration>) {
        self.counts.failures += 1;
        self.look = None;
        if self.stopping {
            return self.finish(now);
        }
        if let Some(held) = &mut self.held {
            held.is_lost = true;
        }
        if !self.candidates.is_empty() {
            return self.try_next(now);
        }
        let again_in = wait.map(|wait| wait.min(LONGEST_MAX_AGE)).unwrap_or_else(|| {
            let pause = FIRST_PAUSE.saturating_mul(1 << self.failed.min(16)).min(LONGEST_PAUSE);
            self.random.first_timeout(pause, 1_250)
        });
        self.failed = self.failed.saturating_add(1);
        self.step = Step::Rest(now + again_in);
        self.events.push_back(Event::Failed { failure, again_in });
    }

    /// Until there is something to do.
    fn rest(&mut self, now: Instant) {
        if self.stopping {
            return self.finish(now);
        }
        let until = match &self.held {
            Some(held) => held.renew_at.min(held.look_at),
            None => now,
        };
        self.step = Step::Rest(until);
        if core::mem::take(&mut self.nudged) {
            self.nudge(now);
        }
    }

    fn go_on(&mut self, now: Instant) {
        self.held.take_if(|held| held.expires_at <= now);
        match &self.held {
            Some(held) if held.is_lost => self.begin(now),
            Some(held) if held.renew_at <= now => self.renew(now),
            Some(held) if held.look_at <= now => {
                self.step = Step::Look(Purpose::Compare { renews: false });
                self.action = Some(Action::Look);
            }
            Some(_) => self.rest(now),
            None => self.begin(now),
        }
    }

    fn finish(&mut self, now: Instant) {
        let Some(held) = &self.held else {
            self.step = Step::Ended;
            return;
        };
        let server = held.told.server.clone();
        self.with(now, server, Then::Remove);
    }
}

/// A request to a path.
fn to(method: Method, path: Vec<String>) -> Request {
    Request { path, ..Request::new(method, "") }
}

/// §4: a 5.03 is retried "according to the Max-Age option", and so is a 4.29 (RFC 8516).
fn asked_to_wait(response: &Response) -> Option<Duration> {
    let waits = [Code::SERVICE_UNAVAILABLE, Code::TOO_MANY_REQUESTS].contains(&response.code);
    let wait = response.max_age.unwrap_or(DEFAULT_MAX_AGE);
    waits.then(|| wait.max(FIRST_PAUSE))
}

fn refused(server: Server, what: &'static str, response: &Response) -> Failure {
    let is_text = response.content_format.is_none_or(|format| format == 0);
    let words = core::str::from_utf8(&response.payload).unwrap_or_default();
    let mut text = String::new();
    if is_text && !words.is_empty() {
        text.push_str(": ");
        text.extend(words.chars().filter(|c| !c.is_control()).take(MAX_WORDS));
    }
    Failure::Refused { server, what, code: response.code, text }
}
