//! [`check`]: reads everything, counts it by kind, and finds what does not fit together.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use motegate_message::journal::owner;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::database::{entry_from, is_own, number};
use super::view::{Stop, View};

/// Damage that is described; the rest is counted.
const MAX_TOLD: usize = 20;

/// What a store holds
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Checked {
    /// The last batch in it.
    pub(crate) applied: u64,
    /// Records by kind.
    pub(crate) counts: BTreeMap<String, u64>,
    /// Places that cannot be read.
    pub(crate) damaged: u64,
    /// The first of them, in words.
    pub(crate) damage: Vec<String>,
    /// Contents that no queue entry names.
    pub(crate) orphaned_contents: u64,
    /// Queue entries whose content is gone.
    pub(crate) entries_without_content: u64,
    /// Contents whose count of entries is wrong.
    pub(crate) wrong_counts: u64,
}

impl Checked {
    /// Whether nothing is wrong.
    pub(crate) fn is_sound(&self) -> bool {
        self.damaged + self.orphaned_contents + self.entries_without_content + self.wrong_counts
            == 0
    }

    pub(super) fn damage(&mut self, what: String) {
        self.damaged += 1;
        if self.damage.len() < MAX_TOLD {
            self.damage.push(what);
        }
    }
}

/// What a record of the state is, by the first bytes of its key.
fn kind(key: &[u8]) -> String {
    match key {
        [owner::BROKER, b'S', ..] => "sessions".into(),
        [owner::BROKER, b'F', ..] => "subscriptions".into(),
        [owner::BROKER, b'R', ..] => "retained messages".into(),
        [owner::BROKER, b'W', ..] => "wills".into(),
        [owner::MQTT, ..] => "mqtt delivery states".into(),
        [owner::MQTT_SN, ..] => "mqtt-sn clients and topic ids".into(),
        [owner::CORE, b't', ..] => "topics of the collection".into(),
        [owner::BROKER | owner::CORE, ..] => "marks".into(),
        [first, ..] => format!("of an unknown owner ({first:#04x})"),
        [] => "without a key".into(),
    }
}

/// Reads a whole store.
pub(crate) fn check(view: &View) -> Checked {
    let mut checked = Checked { applied: view.applied, ..Checked::default() };
    // By content: entries that name it, whether it is there, and what its count says.
    let mut contents: HashMap<u64, (u64, bool, u64)> = HashMap::new();
    walk(view, 0, &mut checked, |checked, key, _| {
        if !is_own(key) {
            *checked.counts.entry(kind(key)).or_default() += 1;
        }
    });
    walk(view, 1, &mut checked, |checked, key, _| match entry_from(key) {
        Some(entry) => {
            *checked.counts.entry("queued messages".into()).or_default() += 1;
            if entry.content != 0 {
                contents.entry(entry.content).or_default().0 += 1;
            }
        }
        None => checked.damage(format!("a queue entry's key of {} bytes", key.len())),
    });
    walk(view, 2, &mut checked, |checked, key, _| match number(key) {
        Some(number) => {
            *checked.counts.entry("shared contents".into()).or_default() += 1;
            contents.entry(number).or_default().1 = true;
        }
        None => checked.damage(format!("a content's key of {} bytes", key.len())),
    });
    walk(view, 3, &mut checked, |checked, key, value| match (number(key), number(value)) {
        (Some(number), Some(count)) => contents.entry(number).or_default().2 = count,
        _ => checked.damage(format!("a count of {} and {} bytes", key.len(), value.len())),
    });
    for (entries, is_there, count) in contents.into_values() {
        checked.wrong_counts += u64::from(entries != count);
        checked.orphaned_contents += u64::from(entries == 0 && is_there);
        checked.entries_without_content += if is_there { 0 } else { entries };
    }
    checked
}

/// Every record of a keyspace that can be read; what lies between damage and damage cannot.
pub(super) fn walk(
    view: &View,
    keyspace: usize,
    checked: &mut Checked,
    mut each: impl FnMut(&mut Checked, &[u8], &[u8]),
) {
    let name = super::database::KEYSPACES[keyspace];
    let mut last = None;
    let forward = view.each::<()>(keyspace, false, |key, value| {
        each(checked, key, value);
        last = Some(key.to_vec());
        Ok(())
    });
    match forward {
        Ok(()) | Err(Stop::Reader(())) => return,
        Err(Stop::Closing) => return checked.damage("the store has failed meanwhile".into()),
        Err(Stop::Damaged(error)) => {
            checked.damage(format!("`{name}` behind {}: {error:?}", hex(last.as_deref())));
        }
    }
    // What lies behind it, from the end.
    let mut first = None;
    let backward = view.each(keyspace, true, |key, value| {
        if last.as_deref().is_some_and(|last| key <= last) {
            return Err(());
        }
        each(checked, key, value);
        first = Some(key.to_vec());
        Ok(())
    });
    if let Err(Stop::Damaged(error)) = backward {
        checked.damage(format!("`{name}` before {}: {error:?}", hex(first.as_deref())));
    }
}

fn hex(key: Option<&[u8]>) -> String {
    match key {
        Some(key) => key.iter().take(32).map(|byte| format!("{byte:02x}")).collect(),
        None => "its beginning or end".into(),
    }
}
