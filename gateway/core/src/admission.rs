//! How fast connections may come: in all, from one address, and again and again under one client id
//! (`protocols/mqtt.md` §4, 2.1 h). A CONNECT that comes too early waits up to a second, and is
//! refused if its turn would not come by then.
//!
//! Looked at before anything costly is done for a CONNECT. What waits is bounded in bytes; what is
//! remembered of addresses and client ids is bounded in number and forgotten after its second.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use hashbrown::HashMap;
use motegate_message::SessionKey;
use motegate_mqtt::endpoint::Connect;
use motegate_timers::Instant;

use crate::{Config, Listener};

/// The longest wait of a CONNECT.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// Bytes of all CONNECTs that wait.
const MAX_WAITING_BYTES: usize = 16 * 1024 * 1024;
/// Addresses, and client ids, remembered at once; who is beyond is bounded by the other rates.
const MAX_REMEMBERED: usize = 65_536;
/// So often may a client id be taken over at once, and ten times a second after that: two clients
/// that reconnect at once get there, one that comes back does not.
pub(crate) const TAKEOVERS: u32 = 100;

/// Told once a fight.
pub(crate) const FOUGHT_OVER: &str = "clients take this client id from each other: give each its own; until they stop, their coming and \
     going is told no more";

/// So many connections in so much time; that many may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectRate {
    /// How many; 0: any.
    pub count: u32,
    /// In how much time.
    pub per: Duration,
    /// Whether loopback is left alone: all local clients and proxies share its address.
    pub spares_loopback: bool,
}

impl ConnectRate {
    /// Per second; loopback is left alone.
    #[must_use]
    pub const fn per_second(count: u32) -> Self {
        ConnectRate { count, per: Duration::from_secs(1), spares_loopback: true }
    }

    fn bounds(&self, ip: Option<IpAddr>) -> bool {
        self.count > 0 && !(self.spares_loopback && ip.is_some_and(|ip| ip.is_loopback()))
    }
}

/// When the next one is due if all came as fast as they may (the generic cell rate algorithm).
#[derive(Debug, Clone, Copy, Default)]
struct Pace(Instant);

impl Pace {
    /// How long one that comes now has to wait for its turn.
    fn wait(self, now: Instant, rate: ConnectRate) -> Duration {
        let interval = rate.per / rate.count.max(1);
        (self.0.max(now) + interval).saturating_since(now + rate.per)
    }

    fn take(&mut self, now: Instant, rate: ConnectRate) {
        self.0 = self.0.max(now) + rate.per / rate.count.max(1);
    }

    /// The same where nobody waits for a turn: who comes faster than the rate is not owed longer.
    fn note(&mut self, now: Instant, rate: ConnectRate) {
        self.take(now, rate);
        self.0 = self.0.min(now + rate.per);
    }
}

/// What is to be done with a CONNECT.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes on.
    Now,
    /// It waits for its turn.
    Later(Instant),
    /// It is refused: this bound.
    Refused(&'static str),
}

/// How often each bound has acted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Of `max_connect_rate` and `max_connect_rate_per_address`: delayed or refused.
    pub(crate) rate: u64,
    pub(crate) per_address: u64,
    /// CONNECTs held up because their client id was taken over too often.
    pub(crate) takeovers: u64,
}

/// The bounds that hold for a CONNECT.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rates {
    pub(crate) all: ConnectRate,
    pub(crate) per_address: ConnectRate,
    /// Of its listener alone.
    pub(crate) own: Option<ConnectRate>,
}

impl Rates {
    pub(crate) fn of(config: &Config, listener: &Listener) -> Rates {
        let own = listener.limits.as_ref();
        Rates {
            all: config.max_connect_rate,
            per_address: own.map_or(config.max_connect_rate_per_address, |own| {
                own.max_connect_rate_per_address
            }),
            own: own.map(|own| own.max_connect_rate),
        }
    }
}

/// Who has come, and who waits.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    all: Pace,
    listeners: HashMap<u16, Pace>,
    addresses: HashMap<IpAddr, Pace>,
    fights: HashMap<SessionKey, Fight>,
    waiting: BTreeMap<(Instant, u64), Connect>,
    bytes: usize,
    number: u64,
    pub(crate) counts: Counts,
}

/// Connections that take one client id from each other.
#[derive(Debug, Default)]
struct Fight {
    pace: Pace,
    /// Of the log, which is too slow for less than slows anybody down.
    lines: Pace,
    /// It is told as a fight, no more by its connections.
    told: bool,
}

impl Fight {
    /// Whether it is remembered.
    fn goes_on(&self, now: Instant) -> bool {
        self.pace.0.max(self.lines.0) > now
    }
}

const FIGHT: ConnectRate =
    ConnectRate { count: TAKEOVERS, per: Duration::from_secs(10), spares_loopback: false };
/// So many takeovers of a client id are told one by one; a bout is over after a minute without.
const LINES: ConnectRate =
    ConnectRate { count: 10, per: Duration::from_secs(60), spares_loopback: false };

/// What a takeover is to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takeover {
    /// One like any other.
    Single,
    /// By now it is a fight: worth one line.
    Begins,
    /// One more of that fight: worth none.
    GoesOn,
}

impl Admission {
    /// What becomes of a CONNECT that has come. Whoever is let go on, now or later, has used up its
    /// place; who is refused has not.
    pub(crate) fn judge(
        &mut self,
        now: Instant,
        rates: Rates,
        (listener, ip): (u16, Option<IpAddr>),
        key: &SessionKey,
    ) -> Verdict {
        let network = ip.map(network);
        let mut wait = Duration::ZERO;
        if rates.all.bounds(ip) {
            wait = wait.max(self.all.wait(now, rates.all));
        }
        let own = rates.own.filter(|rate| rate.bounds(ip));
        if let Some(rate) = own {
            let pace = self.listeners.get(&listener).copied().unwrap_or_default();
            wait = wait.max(pace.wait(now, rate));
        }
        self.counts.rate += u64::from(!wait.is_zero());
        if wait > MAX_WAIT {
            return Verdict::Refused("max_connect_rate");
        }
        let address = network.filter(|_| rates.per_address.bounds(ip));
        if let Some(address) = address {
            let pace = self.addresses.get(&address).copied().unwrap_or_default();
            let more = pace.wait(now, rates.per_address);
            self.counts.per_address += u64::from(!more.is_zero());
            if more > MAX_WAIT {
                return Verdict::Refused("max_connect_rate_per_address");
            }
            wait = wait.max(more);
        }
        if let Some(fight) = self.fights.get(key) {
            let more = fight.pace.wait(now, FIGHT);
            self.counts.takeovers += u64::from(!more.is_zero());
            if more > MAX_WAIT {
                return Verdict::Refused("takeovers");
            }
            wait = wait.max(more);
        }
        if !wait.is_zero() && self.bytes >= MAX_WAITING_BYTES {
            return Verdict::Refused("max_connect_rate");
        }
        if !wait.is_zero()
            && let Some(fight) = self.fights.get_mut(key)
        {
            fight.pace.take(now, FIGHT); // those that wait have turns of their own
        }
        // Whom a rate does not bound uses up nobody's place, and a rate of 0 leaves no debt for the
        // next configuration.
        if rates.all.bounds(ip) {
            self.all.take(now, rates.all);
        }
        self.take(now, rates, own.map(|rate| (listener, rate)), address);
        if wait.is_zero() { Verdict::Now } else { Verdict::Later(now + wait) }
    }

    /// Other rates hold: nobody pays at the new one what came at the old one.
    pub(crate) fn forget_rates(&mut self) {
        self.all = Pace::default();
        self.listeners.clear();
        self.addresses.clear();
    }

    fn take(
        &mut self,
        now: Instant,
        rates: Rates,
        own: Option<(u16, ConnectRate)>,
        address: Option<IpAddr>,
    ) {
        if let Some((listener, rate)) = own {
            self.listeners.entry(listener).or_default().take(now, rate);
        }
        let Some(address) = address else { return };
        if let Some(pace) = remember(&mut self.addresses, address, |pace| pace.0 > now) {
            pace.take(now, rates.per_address);
        }
    }

    /// A connection was taken over.
    pub(crate) fn taken_over(&mut self, now: Instant, key: &SessionKey) -> Takeover {
        let Some(fight) = remember(&mut self.fights, key.clone(), |fight| fight.goes_on(now))
        else {
            return Takeover::Single;
        };
        if !fight.goes_on(now) {
            *fight = Fight::default(); // the last one is long over
        }
        fight.pace.take(now, FIGHT);
        fight.lines.note(now, LINES);
        if fight.told {
            return Takeover::GoesOn;
        }
        fight.told = !fight.lines.wait(now, LINES).is_zero();
        if fight.told { Takeover::Begins } else { Takeover::Single }
    }

    /// Whether the log has told of a fight over this client id that goes on.
    pub(crate) fn is_told(&self, now: Instant, key: &SessionKey) -> bool {
        self.fights.get(key).is_some_and(|fight| fight.told && fight.goes_on(now))
    }

    /// Whether a client id was taken over too often for one more now. For a protocol where nobody
    /// waits.
    pub(crate) fn is_fought_over(&mut self, now: Instant, key: &SessionKey) -> bool {
        let fight = self.fights.get(key);
        let is = fight.is_some_and(|fight| !fight.pace.wait(now, FIGHT).is_zero());
        self.counts.takeovers += u64::from(is);
        is
    }

    /// Keeps a CONNECT until its turn.
    pub(crate) fn hold(&mut self, until: Instant, connect: Connect) {
        self.bytes += size(&connect);
        self.number += 1;
        self.waiting.insert((until, self.number), connect);
    }

    /// A CONNECT whose turn has come.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Connect> {
        let first = self.waiting.first_entry().filter(|first| first.key().0 <= now)?;
        let connect = first.remove();
        self.bytes -= size(&connect);
        Some(connect)
    }

    /// When the next turn comes.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.waiting.keys().next().map(|(at, _)| *at)
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

/// The place of a key, unless there are too many that must not be forgotten.
fn remember<K: std::hash::Hash + Eq, V: Default>(
    table: &mut HashMap<K, V>,
    key: K,
    is_needed: impl Fn(&V) -> bool,
) -> Option<&mut V> {
    if table.len() >= MAX_REMEMBERED && !table.contains_key(&key) {
        table.retain(|_, value| is_needed(value));
        if table.len() >= MAX_REMEMBERED {
            return None;
        }
    }
    Some(table.entry(key).or_default())
}

/// What counts as one address: who holds one of IPv6 holds 2^64 (RFC 6177).
pub(crate) fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        ip @ IpAddr::V4(_) => ip,
    }
}

/// Bytes that a CONNECT holds while it waits.
fn size(connect: &Connect) -> usize {
    let will = connect.will.as_ref().map_or(0, |will| will.message.size());
    let name = connect.user_name.as_ref().map_or(0, String::len);
    let password = connect.password.as_ref().map_or(0, bytes::Bytes::len);
    size_of::<Connect>() + connect.client_id.len() + will + name + password
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: ConnectRate = ConnectRate::per_second(0);

    fn at(ms: u64) -> Instant {
        Instant::from_secs(100) + Duration::from_millis(ms)
    }

    fn rates(all: u32, per_address: u32) -> Rates {
        let strict =
            |count| ConnectRate { spares_loopback: false, ..ConnectRate::per_second(count) };
        Rates { all: strict(all), per_address: strict(per_address), own: None }
    }

    fn judge(admission: &mut Admission, now: Instant, rates: Rates, ip: &str, id: &str) -> Verdict {
        let key = SessionKey::new("mqtt", id);
        admission.judge(now, rates, (0, Some(ip.parse().unwrap())), &key)
    }

    #[test]
    fn a_seconds_worth_goes_at_once_and_one_waits() {
        let mut admission = Admission::default();
        let mut all = |ms, n: usize| -> Vec<Verdict> {
            (0..n).map(|_| judge(&mut admission, at(ms), rates(10, 0), "10.0.0.1", "a")).collect()
        };
        assert!(all(0, 10).iter().all(|verdict| *verdict == Verdict::Now));
        let waiting = all(0, 11);
        assert_eq!(waiting[0], Verdict::Later(at(100)));
        assert_eq!(waiting[9], Verdict::Later(at(1_000)));
        assert_eq!(waiting[10], Verdict::Refused("max_connect_rate"));
        assert_eq!(all(100, 1), [Verdict::Later(at(1_100))], "the refused one took no place");
        assert_eq!(all(5_000, 1), [Verdict::Now]);
        assert_eq!(admission.counts.rate, 12);
    }

    #[test]
    fn addresses_are_apart_and_networks_of_ipv6_one() {
        let mut admission = Admission::default();
        let mut ask = |ip| judge(&mut admission, at(0), rates(0, 1), ip, "a");
        assert_eq!(ask("10.0.0.1"), Verdict::Now);
        assert_eq!(ask("10.0.0.2"), Verdict::Now);
        assert_eq!(ask("10.0.0.1"), Verdict::Later(at(1_000)));
        assert_eq!(ask("::ffff:10.0.0.1"), Verdict::Refused("max_connect_rate_per_address"));
        assert_eq!(ask("2001:db8::1"), Verdict::Now);
        assert_eq!(ask("2001:db8::ffff"), Verdict::Later(at(1_000)));
        assert_eq!(ask("2001:db8:0:1::1"), Verdict::Now);
        assert_eq!(admission.counts.per_address, 3);
    }

    #[test]
    fn loopback_is_spared_unless_it_is_meant() {
        let mut admission = Admission::default();
        let default = Rates {
            all: ConnectRate::per_second(1),
            per_address: ConnectRate::per_second(1),
            own: None,
        };
        for _ in 0..100 {
            assert_eq!(judge(&mut admission, at(0), default, "127.0.0.1", "a"), Verdict::Now);
        }
        // Nor does it use up the place of the others.
        assert_eq!(judge(&mut admission, at(0), default, "10.0.0.1", "a"), Verdict::Now);
        assert_ne!(judge(&mut admission, at(0), default, "10.0.0.2", "a"), Verdict::Now);
        let mut meant = rates(0, 1);
        meant.all = ANY;
        assert_eq!(judge(&mut admission, at(0), meant, "127.0.0.1", "a"), Verdict::Now);
        assert_ne!(judge(&mut admission, at(0), meant, "127.0.0.1", "a"), Verdict::Now);
    }

    /// A rate that is off leaves no debt for the one that a reload sets.
    #[test]
    fn a_rate_of_nothing_takes_nothing() {
        let mut admission = Admission::default();
        for _ in 0..100 {
            judge(&mut admission, at(0), rates(0, 0), "10.0.0.1", "a");
        }
        assert_eq!(judge(&mut admission, at(0), rates(1, 0), "10.0.0.1", "a"), Verdict::Now);
    }

    #[test]
    fn what_came_at_another_rate_is_forgotten() {
        let mut admission = Admission::default();
        let slow = ConnectRate { per: Duration::from_secs(3_600), ..rates(1, 1).all };
        let slow = Rates { all: slow, per_address: slow, own: Some(slow) };
        assert_eq!(judge(&mut admission, at(0), slow, "10.0.0.1", "a"), Verdict::Now);
        let fast = Rates { own: Some(rates(9, 9).all), ..rates(9, 9) };
        assert_ne!(judge(&mut admission, at(0), fast, "10.0.0.1", "a"), Verdict::Now);
        admission.forget_rates();
        assert_eq!(judge(&mut admission, at(0), fast, "10.0.0.1", "a"), Verdict::Now);
    }

    #[test]
    fn a_listener_has_its_own_rate() {
        let mut admission = Admission::default();
        let own = Rates { own: Some(rates(1, 0).all), ..rates(0, 0) };
        let key = SessionKey::new("mqtt", "a");
        let mut ask = |listener, rates| admission.judge(at(0), rates, (listener, None), &key);
        assert_eq!(ask(1, own), Verdict::Now);
        assert_eq!(ask(1, own), Verdict::Later(at(1_000)));
        assert_eq!(ask(2, rates(0, 0)), Verdict::Now);
    }

    /// mqtt.md 2.1 (h).
    #[test]
    fn a_fight_over_a_client_id_is_slowed_down_and_told_once() {
        let mut admission = Admission::default();
        let key = SessionKey::new("mqtt", "a");
        let all: Vec<Takeover> = (0..120).map(|_| admission.taken_over(at(0), &key)).collect();
        assert_eq!(all[..9], [Takeover::Single; 9]);
        assert_eq!(all[9], Takeover::Begins);
        assert!(all[10..].iter().all(|next| *next == Takeover::GoesOn));
        assert!(admission.is_told(at(0), &key));
        let mut ask = |ms, id| judge(&mut admission, at(ms), rates(0, 0), "10.0.0.1", id);
        assert_eq!(ask(0, "a"), Verdict::Refused("takeovers"));
        assert_eq!(ask(0, "b"), Verdict::Now, "who does not fight is not slowed down");
        assert_eq!(ask(2_000, "a"), Verdict::Later(at(2_100)));
        assert_eq!(ask(2_000, "a"), Verdict::Later(at(2_200)));
        assert_eq!(ask(2_300, "a"), Verdict::Now);
        assert_eq!(admission.taken_over(at(59_000), &key), Takeover::GoesOn);
        assert!(!admission.is_told(at(119_000), &key));
        assert_eq!(admission.taken_over(at(119_000), &key), Takeover::Single, "forgotten");
    }

    /// Two clients that come back after a second each are slowed down by nobody, and fight all the same.
    #[test]
    fn a_slow_fight_is_told_once_however_long_it_lasts() {
        let mut admission = Admission::default();
        let key = SessionKey::new("mqtt", "a");
        let hour: Vec<Takeover> =
            (0..3_600).map(|s| admission.taken_over(at(s * 1_000), &key)).collect();
        let singles = hour.iter().take_while(|next| **next == Takeover::Single).count();
        assert!((9..15).contains(&singles), "{singles}");
        assert_eq!(hour[singles], Takeover::Begins);
        assert!(hour[singles + 1..].iter().all(|next| *next == Takeover::GoesOn));
        assert!(!admission.is_told(at(3_660_000), &key), "a minute later it is over");
        // One that comes back now and then fights with nobody.
        let rare: Vec<Takeover> =
            (0..100).map(|n| admission.taken_over(at(9_000_000 + n * 10_000), &key)).collect();
        assert_eq!(rare, [Takeover::Single; 100]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut admission = Admission::default();
        for n in 0..70_000_u32 {
            let ip = IpAddr::from((0x0a00_0000 + n).to_be_bytes());
            admission.judge(at(0), rates(0, 1), (0, Some(ip)), &SessionKey::new("r", "a"));
            admission.taken_over(at(0), &SessionKey::new("r", &n.to_string()));
        }
        assert_eq!(admission.addresses.len(), MAX_REMEMBERED);
        assert_eq!(admission.fights.len(), MAX_REMEMBERED);
        judge(&mut admission, at(5_000), rates(0, 1), "10.255.0.1", "a");
        assert_eq!(admission.addresses.len(), 1);
    }
}
