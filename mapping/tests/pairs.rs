//! 10,000 random pairs of rules against brute force over a small world of requests: whether they
//! overlap, which is narrower, and that the request given as a witness is taken by both.
#![allow(clippy::unwrap_used)]

mod common;

use common::{caller_at, rule, strings};
use motegate_mapping::{Action, CoapMethod, CoapRule, RuleErrorKind, Rules, Table};

const PAIRS: usize = 10_000;

/// `x` stands for all that no rule names.
const SEGMENTS: [&str; 5] = ["a", "b", "c", "x", ""];
const LISTENERS: [&str; 3] = ["one", "two", "three"];
const CLIENTS: [&str; 5] = ["n-1", "n-2", "m-1", "other", "n-"];
const METHODS: [(CoapMethod, Action, &str); 3] = [
    (CoapMethod::Get, Action::Read, "GET"),
    (CoapMethod::Put, Action::Publish, "PUT"),
    (CoapMethod::Post, Action::Publish, "POST"),
];

/// The same in every run (Knuth's MMIX generator).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// A rule as data.
#[derive(Debug, Clone)]
struct Model {
    /// What each segment may be; `None`: anything but empty.
    segments: Vec<Option<Vec<&'static str>>>,
    tail: bool,
    methods: Vec<usize>,
    listeners: Vec<&'static str>,
    client: Option<&'static str>,
}

impl Model {
    fn any(random: &mut Random) -> Model {
        let mut segments: Vec<_> = (0..random.below(4))
            .map(|_| match random.below(8) {
                0..=2 => Some(vec![random.of(&["a", "b"])]),
                3 => Some(vec!["a", "b"]),
                4 => Some(vec!["b", "c"]),
                5 if random.below(4) == 0 => Some(vec![""]),
                _ => None,
            })
            .collect();
        let tail = random.below(3) == 0;
        if !tail && segments == [Some(vec![""])] {
            segments.clear(); // "/" is no segment at all (RFC 7252 §6.4)
        }
        let methods = match random.below(3) {
            0 => vec![random.below(3)],
            _ => vec![0, 1, 2],
        };
        let mut listeners: Vec<&str> =
            (0..random.below(3)).map(|_| random.of(&LISTENERS)).collect();
        listeners.dedup();
        let client = match random.below(3) {
            0 => Some(random.of(&["n-*", "*-1", "n-1", "*"])),
            _ => None,
        };
        Model { segments, tail, methods, listeners, client }
    }

    fn rule(&self, name: &str) -> CoapRule {
        let mut path = String::new();
        for (i, segment) in self.segments.iter().enumerate() {
            path.push('/');
            match segment.as_deref() {
                Some([one]) => path.push_str(one),
                Some(some) => path.push_str(&format!("{{s{i}:{}}}", some.join("|"))),
                None => path.push_str(&format!("{{s{i}}}")),
            }
        }
        if self.tail {
            path.push_str("/{rest...}");
        }
        CoapRule {
            methods: Some(self.methods.iter().map(|m| (METHODS[*m].0, METHODS[*m].1)).collect()),
            listeners: strings(self.listeners.iter().copied()),
            client: self.client.map(str::to_owned),
            ..rule(name, &path, "t")
        }
    }

    fn path_fits(&self, path: &[&str]) -> bool {
        let depth = match self.tail {
            true => path.len() > self.segments.len(),
            false => path.len() == self.segments.len(),
        };
        depth
            && self.segments.iter().zip(path).all(|(segment, text)| match segment {
                Some(some) => some.contains(text),
                None => !text.is_empty(),
            })
    }

    fn caller_fits(&self, listener: &str, client: &str) -> bool {
        let glob = |glob: &str| match (glob.strip_prefix('*'), glob.strip_suffix('*')) {
            (Some(end), _) if client.ends_with(end) => true,
            (_, Some(start)) => client.starts_with(start),
            _ => glob == client,
        };
        (self.listeners.is_empty() || self.listeners.contains(&listener))
            && self.client.is_none_or(glob)
    }
}

/// Paths of up to four segments.
fn paths() -> Vec<Vec<&'static str>> {
    let mut paths: Vec<Vec<&str>> = vec![vec![]];
    let mut from = 0;
    for _ in 0..4 {
        let until = paths.len();
        for i in from..until {
            for segment in SEGMENTS {
                let mut longer = paths[i].clone();
                longer.push(segment);
                paths.push(longer);
            }
        }
        from = until;
    }
    paths
}

/// Each listener, and one that no rule names, with each client.
fn callers() -> Vec<(&'static str, &'static str)> {
    let listeners = LISTENERS.into_iter().chain(["four"]);
    listeners
        .flat_map(|listener| CLIENTS.into_iter().map(move |client| (listener, client)))
        .collect()
}

/// How two sets lie: which elements both have, and whether one is in the other.
struct Sets {
    both: Vec<usize>,
    inside: bool,
    around: bool,
}

fn compare<T>(all: &[T], a: impl Fn(&T) -> bool, b: impl Fn(&T) -> bool) -> Sets {
    let mut sets = Sets { both: Vec::new(), inside: true, around: true };
    for (i, one) in all.iter().enumerate() {
        match (a(one), b(one)) {
            (true, true) => sets.both.push(i),
            (true, false) => sets.inside = false,
            (false, true) => sets.around = false,
            (false, false) => {}
        }
    }
    sets
}

fn table(rules: Vec<CoapRule>) -> Result<Table, Vec<motegate_mapping::RuleError>> {
    Table::new(Rules { coap: rules, presets: Vec::new(), ..Rules::default() })
}

/// `PUT /a/x on listener one from client "n-1"`, asked of a table.
fn taken(table: &Table, witness: &str) -> bool {
    let (head, client) = witness.split_once(" from client ").unwrap_or((witness, "\"other\""));
    let (head, listener) = head.split_once(" on listener ").unwrap_or((head, "four"));
    let (method, path) = head.split_once(' ').unwrap();
    let method = METHODS.iter().find(|(_, _, name)| *name == method).unwrap().0;
    let path = path.strip_prefix('/').unwrap();
    let segments = if path.is_empty() { vec![] } else { strings(path.split('/')) };
    let caller = caller_at(listener, client.trim_matches('"'), "");
    table.coap(&caller, None, method, &segments, &[]).is_ok()
}

#[test]
fn p03_ten_thousand_pairs_agree_with_brute_force() {
    let (paths, callers) = (paths(), callers());
    let wire: Vec<Vec<String>> = paths.iter().map(|path| strings(path.iter().copied())).collect();
    let mut random = Random(1);
    let (mut conflicts, mut nested, mut apart) = (0, 0, 0);
    for number in 0..PAIRS {
        let (a, b) = (Model::any(&mut random), Model::any(&mut random));
        // What a rule takes is a set of paths times a set of callers, neither of them empty.
        let by_path = compare(&paths, |path| a.path_fits(path), |path| b.path_fits(path));
        let fits =
            |model: &Model, (listener, client): &(&str, &str)| model.caller_fits(listener, client);
        let by_caller = compare(&callers, |one| fits(&a, one), |one| fits(&b, one));
        let overlap = !by_path.both.is_empty()
            && !by_caller.both.is_empty()
            && a.methods.iter().any(|m| b.methods.contains(m));
        let a_in_b = by_path.inside && by_caller.inside;
        let b_in_a = by_path.around && by_caller.around;
        let text = || format!("pair {number}: {a:?} and {b:?}");
        let made = table(vec![a.rule("a"), b.rule("b")]);
        match made {
            Err(errors) => {
                let [error] = errors.as_slice() else { panic!("{}: {errors:?}", text()) };
                let RuleErrorKind::Overlap { witness, .. } = &error.kind else {
                    panic!("{}: {error}", text())
                };
                assert!(overlap && a_in_b == b_in_a, "{}: {error}", text());
                for one in [&a, &b] {
                    let alone = table(vec![one.rule("alone")]).unwrap();
                    assert!(taken(&alone, witness), "{}: {one:?} takes no {witness}", text());
                }
                conflicts += 1;
            }
            Ok(_) if !overlap => apart += 1,
            Ok(table) => {
                assert!(a_in_b != b_in_a, "{}: a conflict", text());
                let narrow = if a_in_b { "a" } else { "b" };
                // The narrower one wins wherever both take the method.
                let shared = METHODS
                    .iter()
                    .enumerate()
                    .find(|(m, _)| a.methods.contains(m) && b.methods.contains(m));
                let method = shared.unwrap().1.0;
                for i in &by_path.both {
                    let (listener, client) = callers[by_caller.both[i % by_caller.both.len()]];
                    let caller = caller_at(listener, client, "");
                    let found = table.coap(&caller, None, method, &wire[*i], &[]).unwrap();
                    assert_eq!(&*found.rule, narrow, "{}: {:?}", text(), wire[*i]);
                }
                nested += 1;
            }
        }
    }
    println!("{conflicts} conflicts, {nested} nested, {apart} apart");
    assert!(conflicts > 500 && nested > 500 && apart > 1_000, "{conflicts} {nested} {apart}");
}
