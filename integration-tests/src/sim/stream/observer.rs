//! The observer (RFC 7641, RFC 8323 §7): while its connection stands it has every last value without asking
//! again, however long it did not read; of a notification in part it fetches the rest.

use super::super::coap_wire::{BLOCK2, GET, Message};
use super::super::ctx::{Ctx, retained_topic};
use super::super::model::Model;
use super::frames::{BERT, Block};
use super::values::{Download, Parted, get};
use super::{Client, What, dotted, observe, value_path, with};

#[derive(Debug)]
pub(super) struct Observation {
    token: Vec<u8>,
    /// The model's time when it was asked for.
    since: u64,
    /// The newest that came whole.
    value: Vec<u8>,
    /// By this token the rest of a newer one comes.
    rest: Option<Vec<u8>>,
}

impl Observation {
    pub(super) fn check(&self, topic: &str, model: &Model) -> Result<(), String> {
        if self.rest.is_some() {
            return Err(format!("{topic} is there in part"));
        }
        model.check_read(topic, Some(&self.value), model.tick)
    }
}

impl Client {
    pub(super) fn watch(&mut self, ctx: &mut Ctx<'_>) {
        let registering = |topic: &String| {
            let of =
                |what: &What| matches!(what, What::Register(t) | What::Cancel(t) if t == topic);
            self.requests.iter().any(|request| of(&request.what))
        };
        let targets = self.targets.iter().map(|target| retained_topic(*target));
        let missing: Vec<String> = targets
            .filter(|topic| !self.observed.contains_key(topic) && !registering(topic))
            .collect();
        // All at once, or one after the other.
        let count = if ctx.rng.chance(500) { missing.len() } else { 1 };
        for topic in missing.into_iter().take(count) {
            let (number, value) = observe(false);
            let mut options = with(value_path(&topic), number, value);
            if ctx.rng.chance(400) {
                let exponent = *ctx.rng.pick(&[0, 3, 6]);
                options = with(options, BLOCK2, Block { at: 0, more: false, exponent }.value());
            }
            self.ask(ctx, (GET, options, Vec::new()), What::Register(topic));
        }
        let ends = !ctx.healing && self.requests.is_empty() && ctx.rng.chance(40);
        if ends && !self.observed.is_empty() {
            let at = ctx.rng.index(self.observed.len());
            let Some((topic, o)) = self.observed.iter().nth(at) else { return };
            let (topic, token) = (topic.clone(), o.token.clone());
            let (number, value) = observe(true);
            let options = with(value_path(&topic), number, value);
            self.ask_by(ctx, token, (GET, options, Vec::new()), What::Cancel(topic));
        }
    }

    pub(super) fn on_registered(
        &mut self,
        ctx: &mut Ctx<'_>,
        topic: String,
        since: u64,
        m: &Message,
    ) -> Result<(), String> {
        match m.code {
            0x45 if m.observe().is_some() => {}
            0x45 => return Err("2.05 without Observe".into()),
            // The gateway stops.
            0xa3 => return Ok(()),
            code => return Err(format!("{} to a registration", dotted(code))),
        }
        let (token, value) = (m.token.clone(), Vec::new());
        self.observed.insert(topic.clone(), Observation { token, since, value, rest: None });
        self.on_value(ctx, topic, m)
    }

    pub(super) fn on_notification(&mut self, ctx: &mut Ctx<'_>, m: &Message) {
        let found = self.observed.iter().find(|(_, o)| o.token == m.token);
        let Some(topic) = found.map(|(topic, _)| topic.clone()) else {
            return ctx.fail(&self.name, format!("an answer that nobody asked for: {m:?}"));
        };
        let told = match m.code {
            0xa3 => {
                self.observed.remove(&topic); // 5.03: the gateway stops
                Ok(())
            }
            0x45 if m.observe().is_some() => self.on_value(ctx, topic, m),
            0x45 => Err("a notification without Observe".into()),
            code => Err(format!("notification {}", dotted(code))),
        };
        ctx.check(&self.name, told);
    }

    fn on_value(&mut self, ctx: &mut Ctx<'_>, topic: String, m: &Message) -> Result<(), String> {
        let Some(o) = self.observed.get_mut(&topic) else { return Ok(()) };
        o.rest = None;
        let mut download = Download::new(topic.clone(), o.since, None);
        match download.take(m)? {
            Parted::Whole => {
                o.value = download.body;
                // Nothing overtakes on a stream: never older than what was there at the registration.
                ctx.model.check_read(&topic, Some(&o.value), o.since)
            }
            Parted::More => {
                if download.exponent == Some(BERT) && !self.block_wise {
                    return Err("BERT to who did not say that it knows it".into());
                }
                self.fetch_rest(ctx, download);
                Ok(())
            }
            Parted::Changed => Err("a first part cannot be of another value".into()),
        }
    }

    fn fetch_rest(&mut self, ctx: &Ctx<'_>, download: Download) {
        let (topic, asked) = (download.topic.clone(), get(&download));
        let token = self.ask(ctx, asked, What::Rest(download));
        if let Some(o) = self.observed.get_mut(&topic) {
            o.rest = Some(token);
        }
    }

    /// RFC 7959 §3.4: what changes meanwhile is notified anew.
    pub(super) fn on_rest(
        &mut self,
        ctx: &mut Ctx<'_>,
        mut download: Download,
        m: &Message,
    ) -> Result<(), String> {
        let topic = download.topic.clone();
        let Some(o) = self.observed.get_mut(&topic) else { return Ok(()) };
        if o.rest.as_ref() != Some(&m.token) {
            return Ok(()); // a newer one came
        }
        o.rest = None;
        match m.code {
            0x45 => match download.take(m)? {
                Parted::Whole => {
                    o.value = std::mem::take(&mut download.body);
                    ctx.model.in_blocks_read += 1;
                    ctx.model.check_read(&topic, Some(&o.value), o.since)
                }
                Parted::More => {
                    self.fetch_rest(ctx, download);
                    Ok(())
                }
                Parted::Changed => Ok(()),
            },
            0x80 | 0x84 => Ok(()),
            code => Err(format!("{} to a GET of the rest", dotted(code))),
        }
    }
}
