//! A broker with its store: what it wants to read is read at once.

use motegate_broker::*;
use motegate_message::journal::{MemoryStore, PageRequest, Saved};
use motegate_message::*;

/// Heads of one or two messages, so that nearly every queue has a part on disk; or the usual ones.
pub(crate) fn config(spills: bool) -> Config {
    match spills {
        true => Config { head_messages: 2, head_messages_away: 1, ..Config::default() },
        false => Config::default(),
    }
}

/// Every effect and what follows from it; records are stored first.
pub(crate) fn effects(broker: &mut Broker, store: &mut MemoryStore, turn: &Turn) -> Vec<Effect> {
    let (mut effects, mut fetches) = (Vec::new(), std::collections::VecDeque::new());
    loop {
        store.apply(std::iter::from_fn(|| broker.poll_record()).collect());
        while let Some(effect) = broker.poll_effect() {
            match effect {
                Effect::Fetch(wanted) => {
                    // Small pages, so that there are several.
                    let max_entries = wanted.max_entries.min(3);
                    fetches.push_back(PageRequest { max_entries, ..wanted });
                }
                other => effects.push(other),
            }
        }
        let Some(wanted) = fetches.pop_front() else { return effects };
        broker.fetched(turn, wanted.session, &store.page(wanted));
    }
}

/// A broker that goes on from what is stored.
pub(crate) fn restart(store: &mut MemoryStore, turn: &Turn, spills: bool) -> Broker {
    let mut broker = Broker::new(config(spills));
    let mut state = Vec::new();
    store.state(&mut |key, value| state.push((key.to_vec(), value.to_vec())));
    for (key, value) in state.iter().rev() {
        assert!(broker.restore(turn, key, value), "{key:?}");
    }
    broker.restored(turn, store);
    broker
}
