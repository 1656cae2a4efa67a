//! Resolving: what each record says once the base fields are applied (RFC 8428 §4.6).
//!
//! A resolved record keeps everything but its name and the base fields: unit (its own or the base
//! unit), value and sum (base value and base sum added), time (base time added), update time, unknown
//! fields. Sums are exact decimals. A time of 0, which means "now", is left out. A time below 2^28
//! is relative to now (§4.5.3) and stays so: nothing here knows the time of day. The version is
//! left out when it is 10, which it is unless an older draft's pack says otherwise.

use std::borrow::Cow;

use super::super::error::{Fault, Problem};
use super::super::{Key, Number, SenmlProblem, Value};
use super::{check_name, labels};

/// A record that stands for itself.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct Resolved<'a> {
    /// Base name and name.
    pub(in super::super) name: Cow<'a, str>,
    /// The rest, values first.
    pub(in super::super) fields: Vec<(Key<'a>, Value<'a>)>,
}

impl<'a> Resolved<'a> {
    /// The object that stands in the broker under the record's topic.
    pub(in super::super) fn into_object(self) -> Value<'a> {
        Value::Map(self.fields)
    }

    /// A pack of this record alone.
    pub(in super::super) fn into_pack(mut self) -> Value<'a> {
        self.fields.insert(0, (Key::from("n"), Value::Text(self.name)));
        Value::Array(vec![Value::Map(self.fields)])
    }
}

const VERSION: u64 = 10;

/// Checks a pack and resolves its records.
///
/// # Errors
/// The record and field that is not as the RFC has it.
pub(in super::super) fn resolve<'a>(pack: &Value<'a>) -> Result<Vec<Resolved<'a>>, Fault> {
    let not_a_pack = || Fault::whole(Problem::from(SenmlProblem::NotAPack));
    let Value::Array(records) = pack else { return Err(not_a_pack()) };
    let mut base = Base::default();
    let mut resolved = Vec::with_capacity(records.len());
    for (i, record) in records.iter().enumerate() {
        let one = Fields::of(record).and_then(|fields| {
            base.take(&fields)?;
            match fields.is_bare() {
                true => Ok(None),
                false => base.resolve(&fields).map(Some),
            }
        });
        resolved.extend(one.map_err(|fault| fault.below_index(i))?);
    }
    match resolved.is_empty() {
        true => Err(not_a_pack()),
        false => Ok(resolved),
    }
}

/// The fields of a record as they stand.
#[derive(Default)]
struct Fields<'m, 'a> {
    base_name: Option<&'m Cow<'a, str>>,
    base_time: Option<Number>,
    base_unit: Option<&'m Cow<'a, str>>,
    base_value: Option<Number>,
    base_sum: Option<Number>,
    base_version: Option<Number>,
    name: Option<&'m Cow<'a, str>>,
    unit: Option<&'m Cow<'a, str>>,
    value: Option<Number>,
    /// `vs`, `vb` or `vd`.
    other_value: Option<(&'static str, &'m Value<'a>)>,
    sum: Option<Number>,
    time: Option<Number>,
    update: Option<Number>,
    unknown: Vec<&'m (Key<'a>, Value<'a>)>,
}

impl<'m, 'a> Fields<'m, 'a> {
    fn of(record: &'m Value<'a>) -> Result<Self, Fault> {
        let Value::Map(map) = record else {
            return Err(Fault::whole(Problem::from(SenmlProblem::NotAPack)));
        };
        let mut fields = Fields::default();
        for entry in map {
            let (key, value) = entry;
            let Key::Text(label) = key else { continue };
            fields.field(label, value, entry).map_err(|fault| fault.below(label))?;
        }
        if fields.value.is_some() && fields.other_value.is_some() {
            return Err(Fault::whole(Problem::from(SenmlProblem::ManyValues)));
        }
        Ok(fields)
    }

    fn field(
        &mut self,
        label: &str,
        value: &'m Value<'a>,
        entry: &'m (Key<'a>, Value<'a>),
    ) -> Result<(), Fault> {
        match label {
            "bn" => self.base_name = Some(text(value)?),
            "bt" => self.base_time = Some(number(value)?),
            "bu" => self.base_unit = Some(text(value)?),
            "bv" => self.base_value = Some(number(value)?),
            "bs" => self.base_sum = Some(number(value)?),
            "bver" => self.base_version = Some(number(value)?),
            "n" => self.name = Some(text(value)?),
            "u" => self.unit = Some(text(value)?),
            "v" => self.value = Some(number(value)?),
            "s" => self.sum = Some(number(value)?),
            "t" => self.time = Some(number(value)?),
            "ut" => self.update = Some(number(value)?),
            "vs" => {
                text(value)?;
                self.other("vs", value)?;
            }
            "vb" => match value {
                Value::Bool(_) => self.other("vb", value)?,
                other => return Err(wrong_kind("a boolean", other)),
            },
            "vd" => {
                labels::data(value)?;
                self.other("vd", value)?;
            }
            // §4.4: a label that ends in _ must be understood.
            unknown if unknown.ends_with('_') => {
                let problem = SenmlProblem::MustUnderstand(unknown.to_owned());
                return Err(Fault::whole(Problem::from(problem)));
            }
            // Base fields of later RFCs: applying them is not ours, and a resolved record has none.
            unknown if unknown.starts_with('b') => {}
            _ => self.unknown.push(entry),
        }
        Ok(())
    }

    fn other(&mut self, label: &'static str, value: &'m Value<'a>) -> Result<(), Fault> {
        match self.other_value.replace((label, value)) {
            None => Ok(()),
            Some(_) => Err(Fault::whole(Problem::from(SenmlProblem::ManyValues))),
        }
    }

    /// Whether there is nothing but base fields.
    fn is_bare(&self) -> bool {
        let measured = self.value.is_some() || self.other_value.is_some() || self.sum.is_some();
        let base = self.base_name.is_some()
            || self.base_time.is_some()
            || self.base_unit.is_some()
            || self.base_value.is_some()
            || self.base_sum.is_some()
            || self.base_version.is_some();
        base && !measured && self.name.is_none() && self.unit.is_none() && self.time.is_none()
    }
}

/// The base fields that hold for the record at hand.
#[derive(Default)]
struct Base<'a> {
    name: Cow<'a, str>,
    time: Option<Number>,
    unit: Option<Cow<'a, str>>,
    value: Option<Number>,
    sum: Option<Number>,
    version: Option<Number>,
    /// Whether a record was resolved, so that the version is settled.
    begun: bool,
}

impl<'a> Base<'a> {
    fn take(&mut self, fields: &Fields<'_, 'a>) -> Result<(), Fault> {
        if let Some(name) = fields.base_name {
            self.name = name.clone();
        }
        if let Some(unit) = fields.base_unit {
            self.unit = Some(unit.clone());
        }
        self.time = fields.base_time.or(self.time);
        self.value = fields.base_value.or(self.value);
        self.sum = fields.base_sum.or(self.sum);
        let Some(version) = fields.base_version else { return Ok(()) };
        // §4.4: a positive integer; a later version must not be used. §4.1: one for the whole pack.
        let default = Number::from(VERSION);
        let known = version
            .to_integer()
            .is_some_and(|(negative, n)| !negative && (1..=u128::from(VERSION)).contains(&n));
        let settled = self.version.or(self.begun.then_some(default));
        if !known || settled.is_some_and(|settled| settled != version) {
            let problem = Problem::from(SenmlProblem::Version(version));
            return Err(Fault::field("bver", problem));
        }
        self.version = Some(version);
        Ok(())
    }

    fn resolve(&mut self, fields: &Fields<'_, 'a>) -> Result<Resolved<'a>, Fault> {
        self.begun = true;
        let name = match fields.name {
            None => self.name.clone(),
            Some(name) if self.name.is_empty() => name.clone(),
            Some(name) => Cow::Owned(format!("{}{name}", self.name)),
        };
        check_name(&name)?;
        let value = match fields.other_value {
            // §4.5.4: a missing one counts as 0, and a base value is for numbers.
            None => sum(self.value, fields.value).map_err(|fault| fault.below("v"))?,
            Some(_) => None,
        };
        let total = sum(self.sum, fields.sum).map_err(|fault| fault.below("s"))?;
        if value.is_none() && fields.other_value.is_none() && total.is_none() {
            return Err(Fault::whole(Problem::from(SenmlProblem::NoValue)));
        }
        let time = sum(self.time, fields.time).map_err(|fault| fault.below("t"))?;
        let mut out = Vec::with_capacity(4);
        let mut push = |label: &'static str, number: Option<Number>| {
            out.extend(number.map(|number| (Key::from(label), Value::Number(number))));
        };
        push("v", value);
        push("s", total);
        push("t", time.filter(|time| !time.is_zero()));
        push("ut", fields.update);
        push("bver", self.version.filter(|version| *version != Number::from(VERSION)));
        if let Some((label, value)) = fields.other_value {
            out.insert(0, (Key::from(label), value.clone()));
        }
        if let Some(unit) = fields.unit.cloned().or_else(|| self.unit.clone()) {
            let after = usize::from(value.is_some() || fields.other_value.is_some());
            out.insert(after, (Key::from("u"), Value::Text(unit)));
        }
        out.extend(fields.unknown.iter().map(|entry| (*entry).clone()));
        Ok(Resolved { name, fields: out })
    }
}

/// §4.5.3, §4.5.4: base and own, a missing one is 0; `None` if both are missing.
fn sum(base: Option<Number>, own: Option<Number>) -> Result<Option<Number>, Fault> {
    match (base, own) {
        (Some(base), Some(own)) => match base.checked_add(&own) {
            Some(sum) => Ok(Some(sum)),
            None => Err(Fault::whole(Problem::TooPrecise)),
        },
        (base, own) => Ok(base.or(own)),
    }
}

fn text<'m, 'a>(value: &'m Value<'a>) -> Result<&'m Cow<'a, str>, Fault> {
    match value {
        Value::Text(text) => Ok(text),
        other => Err(wrong_kind("text", other)),
    }
}

fn number(value: &Value<'_>) -> Result<Number, Fault> {
    match value {
        Value::Number(number) => Ok(*number),
        other => Err(wrong_kind("a number", other)),
    }
}

fn wrong_kind(wanted: &'static str, got: &Value<'_>) -> Fault {
    Fault::whole(Problem::WrongKind { wanted, got: got.kind() })
}
