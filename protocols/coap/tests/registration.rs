//! Registering at a resource directory (RFC 9176), by script: what a registrant asks for, when, and
//! what it makes of the answers. Virtual clock, no sockets.
#![allow(clippy::unwrap_used)]

use core::time::Duration;

use motegate_coap::client::{Request, Response};
use motegate_coap::directory::{
    Action, Counts, Event, Failure, Look, Registered, Registration, Server, Settings, Uri,
    resources,
};
use motegate_coap::endpoint::{Code, Method};
use motegate_timers::Instant;
use proptest::prelude::*;

const LIFETIME: u32 = 90_000;
const LINKS: &str = "</mqtt>;rt=\"core.ps\"";
const BASE: &str = "coap://192.0.2.7";

struct Script {
    machine: Registration,
    now: Instant,
}

impl Script {
    fn of(uri: &str) -> Script {
        Script::with(uri, |_| {})
    }

    fn with(uri: &str, change: impl FnOnce(&mut Settings)) -> Script {
        let mut settings = Settings {
            directory: Uri::parse(uri).unwrap(),
            endpoint: "gw é".into(),
            sector: None,
            lifetime_secs: LIFETIME,
            links_every: Duration::from_secs(300),
        };
        change(&mut settings);
        let now = Instant::from_secs(1_000);
        Script { machine: Registration::new(now, settings, 7), now }
    }

    /// To the registration at `/rd/7` of the directory.
    fn registered(uri: &str) -> Script {
        let mut script = Script::of(uri);
        script.opens();
        script.looks(LINKS, BASE);
        script.asks("POST /rd?ep=gw é&lt=90000&base=coap://192.0.2.7");
        script.answers(created("rd/7"));
        assert!(matches!(script.machine.poll_event(), Some(Event::Registered(_))));
        script
    }

    fn opens(&mut self) -> Server {
        let Some(Action::Open(server)) = self.machine.poll_action() else { panic!("no Open") };
        self.machine.handle_opened(self.now, server.clone());
        server
    }

    fn looks(&mut self, links: &str, base: &str) {
        assert_eq!(self.machine.poll_action(), Some(Action::Look));
        let look = Look { links: links.into(), count: 1, base: base.into() };
        self.machine.handle_look(self.now, look);
    }

    fn asks(&mut self, wanted: &str) -> Request {
        match self.machine.poll_action() {
            Some(Action::Ask(request)) => {
                let method = match request.method {
                    Method::Get => "GET",
                    Method::Post => "POST",
                    Method::Delete => "DELETE",
                    other => panic!("{other:?}"),
                };
                let query = if request.query.is_empty() { "" } else { "?" };
                let path = request.path.join("/");
                let told = format!("{method} /{path}{query}{}", request.query.join("&"));
                assert_eq!(told, wanted);
                assert!(request.confirmable);
                request
            }
            other => panic!("{other:?}, not {wanted}"),
        }
    }

    fn answers(&mut self, response: Response) {
        self.machine.handle_response(self.now, &response);
    }

    fn fails(&mut self, why: &str) {
        self.machine.handle_failed(self.now, why.into());
    }

    fn event(&mut self) -> Event {
        self.machine.poll_event().unwrap()
    }

    /// Nothing is done before the machine's deadline; how far away that is.
    fn rests(&mut self) -> Duration {
        assert_eq!(self.machine.poll_action(), None);
        let until = self.machine.poll_timeout().unwrap();
        let wait = until.saturating_since(self.now);
        self.now = Instant::from_micros(until.as_micros() - 1);
        self.machine.handle_timeout(self.now);
        assert_eq!(self.machine.poll_action(), None, "before its time");
        self.now = until;
        self.machine.handle_timeout(self.now);
        wait
    }

    /// The pause of a failure, which is logged with it.
    fn pauses(&mut self, why: &str) -> Duration {
        let Event::Failed { failure, again_in } = self.event() else { panic!("no failure") };
        assert!(failure.to_string().contains(why), "{failure}");
        assert_eq!(self.rests(), again_in);
        again_in
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }
}

fn created(location: &str) -> Response {
    let mut response = Response::new(Code::CREATED);
    response.location_path = location.split('/').map(Into::into).collect();
    response
}

fn links(document: &'static str) -> Response {
    let mut response = Response::new(Code::CONTENT);
    (response.payload, response.content_format) = (document.into(), Some(40));
    response
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// RFC 9176 §4.3, §5: found by `.well-known/core`, then a POST of the links in link-format with ep,
/// lt and base, and a path of the directory's own choosing, trailing slash included.
#[test]
fn s4_3_and_s5_the_registration_resource_is_found_and_the_links_are_posted() {
    let mut script = Script::with("coap://rd.example.org", |settings| {
        settings.sector = Some("floor 3".into());
    });
    assert_eq!(script.opens().to_string(), "coap://rd.example.org");
    let search = script.asks("GET /.well-known/core?rt=core.rd");
    assert_eq!(search.accept, Some(40));
    assert_eq!(search.options, [(3, b"rd.example.org".to_vec())]); // Uri-Host
    script
        .answers(links("</resourcedirectory/>;ct=\"40\";rt=\"core.rd\",</l>;rt=core.rd-lookup-ep"));
    script.looks(LINKS, BASE);
    let wanted = "POST /resourcedirectory/?ep=gw é&d=floor 3&lt=90000&base=coap://192.0.2.7";
    let registration = script.asks(wanted);
    assert_eq!(registration.content_format, Some(40));
    assert_eq!(registration.payload, LINKS);
    script.answers(created("reg/1/"));
    let told = Registered {
        server: Uri::parse("coap://rd.example.org").unwrap().server,
        location: ["reg", "1", ""].map(Into::into).to_vec(),
        links: 1,
        base: BASE.into(),
    };
    assert_eq!(script.event(), Event::Registered(told));
    script.machine.stop(script.now);
    script.asks("DELETE /reg/1/");
}

/// §4.3: "accept URIs of all schemes they support, both as URIs and relative references, and not
/// limit the set of discovered URIs to those hosted at the address used"; of several, any; §5: if one
/// fails, another.
#[test]
fn s4_3_other_servers_and_several_resources_are_tried_in_turn() {
    let mut script = Script::of("coap://[2001:db8::1]:61616");
    assert_eq!(script.opens().to_string(), "coap://[2001:db8::1]:61616");
    assert_eq!(script.asks("GET /.well-known/core?rt=core.rd").options, []);
    script.answers(links(
        "<coaps://s/rd>;rt=core.rd,<coap://other/rd>;rt=core.rd,</a>;rt=\"core.rd\",<b>;rt=core.rd",
    ));
    assert_eq!(script.opens().to_string(), "coap://other");
    script.looks(LINKS, BASE);
    script.asks("POST /rd?ep=gw é&lt=90000&base=coap://192.0.2.7");
    script.answers(Response::new(Code::FORBIDDEN));
    script.opens();
    script.looks(LINKS, "coap://[2001:db8::7]");
    script.asks("POST /a?ep=gw é&lt=90000&base=coap://[2001:db8::7]");
    script.fails("no answer");
    script.opens();
    script.looks(LINKS, "coap://[2001:db8::7]");
    script.asks("POST /b?ep=gw é&lt=90000&base=coap://[2001:db8::7]");
    script.answers(created("b/1"));
    assert!(matches!(script.event(), Event::Registered(_)));
    assert_eq!(script.machine.counts(), Counts { registrations: 1, updates: 0, failures: 2 });
}

/// §5.3.1: before the lifetime ends, a POST on the location without payload and without parameters.
#[test]
fn s5_3_1_the_registration_is_renewed_before_its_lifetime_ends() {
    let mut script = Script::with("coap://h/rd", |settings| {
        settings.lifetime_secs = 60;
        settings.links_every = secs(86_400);
    });
    script.opens();
    script.looks(LINKS, BASE);
    script.asks("POST /rd?ep=gw é&lt=60&base=coap://192.0.2.7");
    script.pass(secs(5)); // the answer takes so long: the directory may have heard 5 s ago
    script.answers(created("rd/7"));
    script.event();
    for _ in 0..3 {
        assert_eq!(script.rests(), secs(40));
        let update = script.asks("POST /rd/7");
        assert!(update.payload.is_empty() && update.content_format.is_none());
        script.pass(secs(5));
        script.answers(Response::new(Code::CHANGED));
        assert!(matches!(script.event(), Event::Renewed(_)));
    }
    assert_eq!(script.machine.counts().updates, 3);
}

/// A directory that was restarted is found out within an hour, however long the lifetime is.
#[test]
fn an_update_is_sent_every_hour_at_least() {
    let mut script = Script::registered("coap://h/rd");
    let mut waited = Duration::ZERO;
    for _ in 0..11 {
        waited += script.rests();
        script.looks(LINKS, BASE);
    }
    waited += script.rests();
    assert_eq!(waited, secs(3_600));
    script.asks("POST /rd/7");
}

/// §5.3.1: "If the registration update fails in any way, including Not Found and request timeouts …
/// SHOULD attempt registration again".
#[test]
fn s5_3_1_a_directory_that_has_forgotten_is_registered_at_anew() {
    for code in [Some(Code::NOT_FOUND), Some(Code::METHOD_NOT_ALLOWED), None] {
        let mut script = Script::registered("coap://h/rd");
        script.machine.nudge(script.now);
        script.looks(LINKS, BASE);
        script.asks("POST /rd/7");
        match code {
            Some(code) => script.answers(Response::new(code)),
            None => script.fails("no answer"),
        }
        assert!(matches!(script.event(), Event::Lost(_)));
        if code.is_none() {
            script.opens();
        }
        script.looks(LINKS, BASE);
        script.asks("POST /rd?ep=gw é&lt=90000&base=coap://192.0.2.7");
        script.answers(created("rd/7"));
        assert!(matches!(script.event(), Event::Registered(_)));
        assert!(script.rests() > secs(0));
    }
}

/// §5: the links of a registration are replaced by registering again; however often they change,
/// that is done once in so many minutes.
#[test]
fn s5_links_that_changed_are_registered_anew_at_a_pace() {
    let mut script = Script::registered("coap://h/rd");
    for (links, changed) in [("</a>", true), ("</a>", false), ("</b>", true)] {
        assert_eq!(script.rests(), secs(300));
        script.looks(links, BASE);
        if changed {
            let request = script.asks("POST /rd?ep=gw é&lt=90000&base=coap://192.0.2.7");
            assert_eq!(request.payload, links);
            script.answers(created("rd/7"));
            assert!(matches!(script.event(), Event::Registered(_)));
        }
    }
}

/// §5.3.1: a base that has changed is told in an update, from a socket that has the new address.
#[test]
fn s5_3_1_another_base_is_told_in_an_update() {
    let mut script = Script::registered("coap://h/rd");
    script.rests();
    script.looks(LINKS, "coap://198.51.100.1");
    script.opens();
    script.asks("POST /rd/7?base=coap://198.51.100.1");
    script.answers(Response::new(Code::CHANGED));
    let Event::Renewed(told) = script.event() else { panic!() };
    assert_eq!(told.base, "coap://198.51.100.1");
    script.rests();
    script.looks(LINKS, "coap://198.51.100.1");
    script.rests();
}

/// §5.3.2: the registration is removed at an orderly stop, and what is answered ends it.
#[test]
fn s5_3_2_the_registration_is_removed_at_the_end() {
    for (response, removed) in
        [(Code::DELETED, true), (Code::NOT_FOUND, true), (Code::FORBIDDEN, false)]
    {
        let mut script = Script::registered("coap://h/rd");
        script.machine.stop(script.now);
        script.asks("DELETE /rd/7");
        script.answers(Response::new(response));
        assert_eq!(script.machine.poll_event().is_some(), removed);
        assert!(script.machine.is_ended() && script.machine.poll_timeout().is_none());
    }
    let mut script = Script::registered("coap://h/rd");
    script.machine.stop(script.now);
    script.asks("DELETE /rd/7");
    script.fails("no answer");
    assert!(script.machine.is_ended());
}

/// A stop waits for what would leave a registration behind, and for nothing else.
#[test]
fn a_stop_finds_the_machine_at_any_step() {
    let mut script = Script::of("coap://h");
    script.machine.stop(script.now);
    assert!(script.machine.is_ended() && script.machine.poll_action().is_none());

    let mut script = Script::of("coap://h");
    script.opens();
    script.asks("GET /.well-known/core?rt=core.rd");
    script.machine.stop(script.now);
    assert!(script.machine.is_ended());

    let mut script = Script::of("coap://h/rd");
    script.opens();
    script.looks(LINKS, BASE);
    script.asks("POST /rd?ep=gw é&lt=90000&base=coap://192.0.2.7");
    script.machine.stop(script.now);
    assert!(!script.machine.is_ended());
    script.answers(created("rd/9"));
    script.event();
    script.asks("DELETE /rd/9");

    let mut script = Script::registered("coap://h/rd");
    script.rests();
    script.machine.stop(script.now); // while the links are looked at
    script.looks("</other>", BASE);
    script.asks("DELETE /rd/7");

    let mut script = Script::registered("coap://h/rd");
    script.machine.nudge(script.now);
    script.looks(LINKS, BASE);
    script.asks("POST /rd/7");
    script.machine.stop(script.now);
    script.fails("no answer");
    script.opens();
    script.asks("DELETE /rd/7");

    let mut script = Script::of("coap://h/rd");
    script.fails("no such host");
    script.event();
    script.machine.stop(script.now); // while it waits
    assert!(script.machine.is_ended());
}

/// §4.1: "very strictly rate-limit requests to candidate IP addresses that don't work out".
#[test]
fn s4_1_pauses_grow_to_an_hour_and_a_success_ends_them() {
    let mut script = Script::of("coap://h/rd");
    let mut pauses = Vec::new();
    for _ in 0..12 {
        assert!(matches!(script.machine.poll_action(), Some(Action::Open(_))));
        script.fails("there is no host `h`");
        pauses.push(script.pauses("no host"));
    }
    for (n, pause) in pauses.iter().enumerate() {
        let least = secs(3_600).min(secs(10) * 2_u32.pow(u32::try_from(n).unwrap()));
        assert!((least..=least * 5 / 4).contains(pause), "{n}: {pause:?}");
    }
    assert_eq!(script.machine.counts().failures, 12);
    script.opens();
    script.looks(LINKS, BASE);
    script.asks("POST /rd?ep=gw é&lt=90000&base=coap://192.0.2.7");
    script.answers(created("rd/7"));
    script.event();
    script.machine.nudge(script.now);
    script.looks("</new>", BASE);
    script.asks("POST /rd?ep=gw é&lt=90000&base=coap://192.0.2.7");
    script.answers(Response::new(Code::INTERNAL_SERVER_ERROR));
    assert!(script.pauses("5.00 to the registration") < secs(13));
    script.looks("</new>", BASE);
    script.asks("POST /rd?ep=gw é&lt=90000&base=coap://192.0.2.7");
}

/// §4: a 5.03 is retried "according to the Max-Age"; §5.3.1: unless that exceeds what is left of the
/// lifetime.
#[test]
fn s4_a_5_03_says_when_to_come_again() {
    let busy = |secs| {
        let mut response = Response::new(Code::SERVICE_UNAVAILABLE);
        response.max_age = Some(Duration::from_secs(secs));
        response
    };
    let mut script = Script::of("coap://h");
    script.opens();
    script.asks("GET /.well-known/core?rt=core.rd");
    script.answers(busy(120));
    assert_eq!(script.pauses("5.03"), secs(120));
    script.asks("GET /.well-known/core?rt=core.rd");
    script.answers(links("</rd>;rt=core.rd"));
    script.looks(LINKS, BASE);
    script.asks("POST /rd?ep=gw é&lt=90000&base=coap://192.0.2.7");
    script.answers(Response::new(Code::SERVICE_UNAVAILABLE)); // without Max-Age: a minute
    assert_eq!(script.pauses("5.03"), secs(60));

    let mut script = Script::registered("coap://h/rd");
    script.machine.nudge(script.now);
    script.looks(LINKS, BASE);
    script.asks("POST /rd/7");
    script.answers(busy(200));
    assert_eq!(script.pauses("5.03 to the update"), secs(200));
    script.asks("POST /rd/7");
    script.answers(busy(90_000)); // as long as it lives
    let Event::Lost(Failure::Refused { code, .. }) = script.event() else { panic!() };
    assert_eq!(code, Code::SERVICE_UNAVAILABLE);
    script.looks(LINKS, BASE);
    script.asks("POST /rd?ep=gw é&lt=90000&base=coap://192.0.2.7");
}

/// What answers but is no directory, and one that does not say where the registration is.
#[test]
fn what_is_no_directory_is_told_and_asked_again_later() {
    for response in [links("</x>;rt=core.ps"), links(""), links("<coaps://h/rd>;rt=core.rd")] {
        let mut script = Script::of("coap://h");
        script.opens();
        script.asks("GET /.well-known/core?rt=core.rd");
        script.answers(response);
        script.pauses("coap://h has no resource of type core.rd");
    }
    let mut script = Script::of("coap://h");
    script.opens();
    script.asks("GET /.well-known/core?rt=core.rd");
    let mut response = Response::new(Code::NOT_FOUND);
    response.payload = "no\ntime".into();
    script.answers(response);
    script.pauses("coap://h answers 4.04 to the search for its registration resource: notime");
    let mut script = Script::of("coap://h/rd");
    script.opens();
    script.looks(LINKS, BASE);
    script.asks("POST /rd?ep=gw é&lt=90000&base=coap://192.0.2.7");
    script.answers(Response::new(Code::CREATED));
    script.pauses("without a Location-Path");
}

/// §5: the location "is used for all subsequent operations": the last one that was given.
#[test]
fn s5_the_last_location_counts() {
    let mut script = Script::registered("coap://h/rd");
    script.rests();
    script.looks("</new>", BASE);
    script.asks("POST /rd?ep=gw é&lt=90000&base=coap://192.0.2.7");
    script.answers(created("rd/8"));
    script.event();
    assert_eq!(script.rests(), secs(300));
    script.looks("</new>", BASE);
    script.machine.stop(script.now);
    script.asks("DELETE /rd/8");
}

/// A lifetime that has ended while nothing could be renewed leaves nothing to remove.
#[test]
fn what_has_ended_by_itself_is_not_removed() {
    let mut script = Script::registered("coap://h/rd");
    script.machine.nudge(script.now);
    script.looks(LINKS, BASE);
    script.asks("POST /rd/7");
    script.fails("no answer");
    script.event();
    assert!(matches!(script.machine.poll_action(), Some(Action::Open(_))));
    script.fails("no answer");
    script.pass(secs(u64::from(LIFETIME)));
    script.machine.handle_timeout(script.now);
    assert!(matches!(script.machine.poll_action(), Some(Action::Open(_))));
    script.machine.stop(script.now);
    assert!(script.machine.is_ended());
}

/// Links that cannot be had (the gateway is busy) are a failure like any other.
#[test]
fn links_that_cannot_be_had_are_looked_at_later() {
    let mut script = Script::registered("coap://h/rd");
    script.rests();
    assert_eq!(script.machine.poll_action(), Some(Action::Look));
    script.fails("the gateway is busy");
    script.pauses("busy");
    script.opens();
    script.looks(LINKS, BASE);
    script.asks("POST /rd?ep=gw é&lt=90000&base=coap://192.0.2.7");
}

/// What may happen to the machine.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Good,
    Refused(u8, u8),
    Fails,
    Nudged,
    Stopped,
    Later(u32),
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        6 => Just(Turn::Good),
        2 => (2_u8..6, 0_u8..32).prop_map(|(class, detail)| Turn::Refused(class, detail)),
        2 => Just(Turn::Fails),
        1 => Just(Turn::Nudged),
        1 => Just(Turn::Stopped),
        3 => (0_u32..100_000).prop_map(Turn::Later),
    ]
}

proptest! {
    /// Whatever comes, there is something to do, a time to wait for, or the end; and of a
    /// registration that was made and not removed, the last word is DELETE.
    #[test]
    fn it_is_never_stuck(turns in proptest::collection::vec(turn(), 0..60), found in any::<bool>()) {
        let uri = if found { "coap://h" } else { "coap://h/rd" };
        let mut script = Script::of(uri);
        let mut base = 0_u32;
        for turn in turns {
            let action = script.machine.poll_action();
            let rests = action.is_none();
            if rests && !script.machine.is_ended() {
                prop_assert!(script.machine.poll_timeout().is_some(), "stuck");
            }
            match turn {
                Turn::Nudged => script.machine.nudge(script.now),
                Turn::Stopped => script.machine.stop(script.now),
                Turn::Later(secs) => script.pass(Duration::from_secs(secs.into())),
                _ => {}
            }
            script.machine.handle_timeout(script.now);
            match (action, turn) {
                (None, _) => {}
                (_, Turn::Fails) => script.fails("no answer"),
                (Some(Action::Open(server)), _) => script.machine.handle_opened(script.now, server),
                (Some(Action::Look), _) => {
                    base += 1;
                    let base = format!("coap://192.0.2.{}", base / 3);
                    let look = Look { links: LINKS.into(), count: 1, base };
                    script.machine.handle_look(script.now, look);
                }
                (Some(Action::Ask(_)), Turn::Refused(class, detail)) => {
                    script.answers(Response::new(Code::new(class, detail)));
                }
                (Some(Action::Ask(request)), _) => script.answers(match request.method {
                    Method::Get => links("</rd>;rt=core.rd"),
                    Method::Delete => Response::new(Code::DELETED),
                    _ if request.payload.is_empty() => Response::new(Code::CHANGED),
                    _ => created("rd/7"),
                }),
            }
            while script.machine.poll_event().is_some() {}
        }
        // In the end it comes to one, within a few steps.
        script.machine.stop(script.now);
        for _ in 0..4 {
            match script.machine.poll_action() {
                Some(Action::Open(server)) => script.machine.handle_opened(script.now, server),
                Some(Action::Look) => script.fails("stopping"),
                Some(Action::Ask(request)) if request.method == Method::Delete => {
                    prop_assert_eq!(request.path, ["rd", "7"]);
                    script.answers(Response::new(Code::DELETED));
                }
                Some(Action::Ask(_)) => script.fails("no answer"),
                None => {}
            }
        }
        prop_assert!(script.machine.is_ended());
    }

    /// What a directory says of itself is anybody's text.
    #[test]
    fn any_text_can_be_read(text in "\\PC*|[<>;,=\"\\\\/a%:\\[\\]]*") {
        let server = Uri::parse("coap://h").unwrap().server;
        for found in resources(&text, "core.rd", 8) {
            let _ = Uri::resolve(&server, found);
        }
        let _ = Uri::resolve(&server, &text);
        if let Ok(uri) = Uri::parse(&["coap://", &text].concat()) {
            prop_assert!(!uri.server.host.is_empty() && uri.server.port > 0);
            prop_assert_eq!(Uri::parse(&uri.server.to_string()).map(|uri| uri.server), Ok(uri.server));
        }
    }
}
