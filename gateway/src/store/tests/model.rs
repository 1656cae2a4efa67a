//! Any batches, in any groups, with restarts between them.

use std::future::poll_fn;

use proptest::prelude::*;

use super::*;

/// What a batch may do; the world below makes of it what a broker would write.
#[derive(Debug, Clone)]
enum Op {
    State(u8, Option<u8>),
    /// An entry of a session: of its own, of a new content, or of one that is there.
    Entry(u64, Share),
    /// An entry that is or was there.
    Delete(prop::sample::Index),
    DeleteQueue(u64),
}

#[derive(Debug, Clone)]
enum Share {
    Nothing,
    New,
    Known(prop::sample::Index),
}

fn op() -> impl Strategy<Value = Op> {
    let index = any::<prop::sample::Index>;
    let share = prop_oneof![Just(Share::Nothing), Just(Share::New), index().prop_map(Share::Known)];
    prop_oneof![
        2 => (0..6_u8, any::<Option<u8>>()).prop_map(|(key, value)| Op::State(key, value)),
        5 => (SESSIONS, share).prop_map(|(session, share)| Op::Entry(session, share)),
        4 => index().prop_map(Op::Delete),
        1 => SESSIONS.prop_map(Op::DeleteQueue),
    ]
}

/// Numbers that are used once.
#[derive(Default)]
struct World {
    model: MemoryStore,
    entries: Vec<QueueKey>,
    contents: u64,
    deliveries: u64,
}

impl World {
    fn batch(&mut self, ops: Vec<Op>) -> Vec<Record> {
        let mut batch = Vec::new();
        for op in ops {
            self.op(op, &mut batch);
        }
        self.model.apply(batch.clone());
        batch
    }

    fn op(&mut self, op: Op, batch: &mut Vec<Record>) {
        match op {
            Op::State(key, value) => batch.push(Record {
                key: vec![owner::BROKER, key],
                value: value.map(|value| vec![value; usize::from(value)]),
            }),
            Op::Entry(session, share) => {
                self.deliveries += 1;
                let content = match share {
                    Share::Nothing => 0,
                    Share::New => {
                        self.contents += 1;
                        batch.push(set(&content_key(self.contents), b"content"));
                        self.contents
                    }
                    Share::Known(index) => self.known(&index),
                };
                let key = entry(session, self.deliveries, content);
                self.entries.push(key);
                batch.push(set(&key.to_bytes(), &self.deliveries.to_be_bytes()));
            }
            Op::Delete(index) if !self.entries.is_empty() => {
                batch.push(delete(&index.get(&self.entries).to_bytes()));
            }
            Op::Delete(_) => {}
            Op::DeleteQueue(session) => {
                batch.push(delete(&QueueKey::prefix(SessionId::from_u64(session))));
            }
        }
    }

    /// A content that an entry names, in the batches before this one.
    fn known(&self, index: &prop::sample::Index) -> u64 {
        let named: Vec<u64> = modelled(&self.model).1.into_keys().collect();
        if named.is_empty() { 0 } else { *index.get(&named) }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn the_disk_holds_what_the_model_holds(
        lives in prop::collection::vec(
            prop::collection::vec(
                (prop::collection::vec(op(), 1..12), any::<bool>()), 1..12), 1..4),
    ) {
        let scratch = Scratch::new("model");
        let mut world = World::default();
        for life in lives {
            let mut running = scratch.start(None);
            for (ops, wait) in life {
                let batch = world.batch(ops);
                running.append(batch);
                if wait {
                    running.settle();
                }
            }
            drop(running);
            assert_same(&scratch.open().db, &mut world.model);
        }
    }
}

#[test]
fn what_comes_and_goes_in_one_group_is_not_written() {
    let scratch = Scratch::new("annihilate");
    let opened = scratch.open();
    let mut group = super::super::group::Group::default();
    let mut counts = super::super::group::Counts::default();
    let (one, two) = (entry(1, 1, 7).to_bytes(), entry(2, 1, 7).to_bytes());
    let batch = vec![set(&content_key(7), b"content"), set(&one, b""), set(&two, b"")];
    group.add(Seq(1), batch, &opened.db, &mut counts);
    assert_eq!((group.queue.len(), group.contents.len()), (2, 1));
    group.add(Seq(2), vec![delete(&one)], &opened.db, &mut counts);
    assert_eq!((group.queue.len(), group.contents.len()), (1, 1));
    assert_eq!(group.changed_uses().collect::<Vec<_>>(), [(7, Some(1))]);
    group.add(Seq(3), vec![delete(&two)], &opened.db, &mut counts);
    assert_eq!((group.queue.len(), group.contents.len()), (0, 0));
    assert_eq!(group.changed_uses().count(), 0);
}

#[test]
fn nothing_is_lost_when_the_rings_are_full() {
    let scratch = Scratch::new("rings");
    let mut running = scratch.start(None);
    let mut model = MemoryStore::default();
    let (session, mut fetched) = (SessionId::from_u64(1), 0);
    for number in 1..=5_000 {
        let batch = vec![set(&entry(1, number, 0).to_bytes(), b"value")];
        model.apply(batch.clone());
        running.append(batch);
        running.disk.fetch(part(session.get(), number, 10, 1_000));
    }
    while fetched < 5_000 {
        if let Report::Fetched { page, .. } = running.report() {
            fetched += 1;
            assert_eq!(page.entries[0].key.delivery.0, fetched, "after what came before it");
            assert_eq!(page.entries.len(), 1, "and before what came after it");
        }
    }
    drop(running);
    assert_same(&scratch.open().db, &mut model);
}

#[tokio::test]
async fn the_worker_is_woken_by_a_commit_and_by_a_page() {
    let scratch = Scratch::new("wake");
    let mut running = scratch.start(None);
    let seq = running.append(vec![set(b"bk", b"v")]);
    poll_fn(|cx| running.disk.poll_ready(cx)).await;
    assert_eq!(running.disk.poll_report(), Some(Report::Committed(seq)));
    running.disk.fetch(part(1, 0, 1, 1));
    poll_fn(|cx| running.disk.poll_ready(cx)).await;
    assert!(matches!(running.disk.poll_report(), Some(Report::Fetched { .. })));
    let counters = running.stored.counters();
    let count =
        |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!((count(&counters.batches), count(&counters.groups)), (1, 1));
    assert_eq!((count(&counters.records), count(&counters.fetches)), (1, 1));
}

#[test]
fn counts_go_on_where_the_last_life_ended() {
    let scratch = Scratch::new("lives");
    for life in 1..=3_u64 {
        let mut running = scratch.start(None);
        for number in 0..5 {
            running.append(vec![set(b"bk", &[number])]);
        }
        running.settle();
        drop(running);
        let opened = scratch.open();
        assert_eq!((opened.applied, opened.lost), (life * 5, 0));
        assert_eq!(opened.directory.committed(), Some(life * 5));
    }
}
