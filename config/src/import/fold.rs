//! Folds tables of topic ids: clients into groups, their names into `{client}`, runs of ids into
//! ranges.
//!
//! Exact for every client that is known: each id means what it meant, and an id that meant nothing
//! to a client means nothing to it afterwards. A group is written as a glob only where it takes no
//! client that is known to be different; that it also takes clients that are not known is for the
//! caller to say.

use std::collections::{BTreeMap, BTreeSet};

use super::{level, literal};

/// Ids of one scope, and the topic of each.
pub(crate) type Ids = BTreeMap<u16, String>;

/// Most names that a group lists; what is larger stays as it is.
const MAX_NAMES: usize = 64;
/// Most globs of all groups: they are checked in pairs.
const MAX_GLOBS: usize = 512;
/// Longest topic that is looked at for numbers.
const MAX_TOPIC: usize = 1024;

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Folded {
    pub(crate) groups: Vec<Group>,
    /// Scope, then key and template.
    pub(crate) scopes: Vec<(String, Vec<(String, String)>)>,
}

/// A group of clients.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) globs: Vec<String>,
    /// How many of the known clients are in it.
    pub(crate) clients: usize,
}

impl Group {
    /// Whether it also takes clients that nobody named.
    pub(crate) fn is_open(&self) -> bool {
        self.globs.iter().any(|glob| glob.contains('*'))
    }
}

/// Folds the ids of all and those of each client. `known` are further clients that are known to
/// have none.
pub(crate) fn fold(all: &Ids, clients: &BTreeMap<String, Ids>, known: &BTreeSet<String>) -> Folded {
    let mut folder = Folder { clients, known, folded: Folded::default(), rest: BTreeMap::new() };
    if !all.is_empty() {
        let all = all.iter().map(|(id, topic)| (*id, literal(topic))).collect();
        folder.folded.scopes.push(("all".into(), ranges(&all)));
    }
    let mut buckets: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for client in clients.keys() {
        buckets.entry(prefix(client)).or_default().push(client);
    }
    let mut single = Vec::new();
    for (prefix, members) in buckets {
        match members.as_slice() {
            [one] => single.push(*one),
            _ if prefix.is_empty() => single.extend(members),
            _ => folder.bucket(prefix, &members),
        }
    }
    folder.bucket("", &single);
    let rest = std::mem::take(&mut folder.rest);
    let mut folded = folder.folded;
    for (client, ids) in rest.into_iter().filter(|(_, ids)| !ids.is_empty()) {
        folded.scopes.push((format!("client:{client}"), ranges(&ids)));
    }
    folded
}

struct Folder<'a> {
    clients: &'a BTreeMap<String, Ids>,
    known: &'a BTreeSet<String>,
    folded: Folded,
    /// What stays with each client, as templates.
    rest: BTreeMap<&'a str, Ids>,
}

impl<'a> Folder<'a> {
    /// Clients whose names begin alike: one group, or one for each set of ids, or none.
    fn bucket(&mut self, prefix: &str, members: &[&'a str]) {
        let whole = vec![members.to_vec()];
        let mut by_ids: BTreeMap<Vec<u16>, Vec<&str>> = BTreeMap::new();
        for member in members {
            by_ids.entry(self.clients[*member].keys().copied().collect()).or_default().push(member);
        }
        let parts: Vec<Vec<&str>> = by_ids.into_values().collect();
        let split = if parts.len() > 1 { Some(parts) } else { None };
        let plan = |parts: Vec<Vec<&'a str>>| -> Vec<(Vec<&'a str>, Ids)> {
            let common = |part: &[&str]| self.common(prefix, part);
            parts.into_iter().map(|part| (common(&part), part)).map(|(c, p)| (p, c)).collect()
        };
        let mut best = plan(whole);
        if let Some(split) = split.map(plan)
            && self.lines(&split) < self.lines(&best)
        {
            best = split;
        }
        for (part, common) in best {
            self.group(prefix, &part, &common);
        }
    }

    /// How many ids are left to be written.
    fn lines(&self, plan: &[(Vec<&str>, Ids)]) -> usize {
        let left = |part: &[&str], common: &Ids| -> usize {
            part.iter().map(|member| self.clients[*member].len() - common.len()).sum()
        };
        plan.iter().map(|(part, common)| left(part, common) + common.len()).sum()
    }

    /// Writes a group, if there is something that its members have in common.
    fn group(&mut self, prefix: &str, members: &[&'a str], common: &Ids) {
        let globs = self.globs(prefix, members);
        let written: usize = self.folded.groups.iter().map(|group| group.globs.len()).sum();
        let fits = globs.len() <= MAX_NAMES && written + globs.len() <= MAX_GLOBS;
        let grouped = members.len() > 1 && !common.is_empty() && fits;
        for &member in members {
            let own = self.clients[member].iter();
            let own = own.filter(|(id, _)| !grouped || !common.contains_key(id));
            self.rest.insert(member, own.map(|(id, topic)| (*id, literal(topic))).collect());
        }
        if grouped {
            let name = self.group_name(prefix);
            self.folded.scopes.push((name.clone(), ranges(common)));
            self.folded.groups.push(Group { name, globs, clients: members.len() });
        }
    }

    /// A prefix where that takes nobody else who is known, the names otherwise.
    fn globs(&self, prefix: &str, members: &[&str]) -> Vec<String> {
        // Members are in the order of their names, as the tables are.
        let stranger = |name: &&String| members.binary_search(&name.as_str()).is_err();
        let begins = |name: &&String| name.starts_with(prefix);
        let from = prefix.to_owned()..;
        let tables = self.clients.range(from.clone()).map(|(name, _)| name);
        let stranger = tables.take_while(begins).any(|name| stranger(&name))
            || self.known.range(from).take_while(begins).any(|name| stranger(&name));
        if members.len() >= 3 && !prefix.is_empty() && !stranger {
            return vec![format!("{prefix}*")];
        }
        members.iter().map(|member| (*member).to_owned()).collect()
    }

    fn group_name(&self, prefix: &str) -> String {
        let base = level(prefix.trim_end_matches(['-', '_', '.', ':', '/']));
        let base = match base.as_str() {
            "" if prefix.is_empty() => "clients".to_owned(),
            "" => "group".to_owned(),
            "all" => "all-clients".to_owned(),
            _ => base,
        };
        let mut names = std::iter::once(base.clone()).chain((2..).map(|n| format!("{base}-{n}")));
        let taken = |name: &str| self.folded.groups.iter().any(|group| group.name == name);
        names.find(|name| !taken(name)).unwrap_or(base)
    }

    /// The ids whose topics follow one template for every member.
    fn common(&self, prefix: &str, members: &[&str]) -> Ids {
        let [first, others @ ..] = members else { return Ids::new() };
        // A star in a name would be a glob, and a name cannot be quoted in one.
        if others.is_empty() || members.iter().any(|name| name.is_empty() || name.contains('*')) {
            return Ids::new();
        }
        let template = |id: u16, topic: &str| {
            candidates(topic, first, prefix).into_iter().find(|pieces| {
                let agrees = |client: &&str| {
                    let topic = self.clients[*client].get(&id);
                    topic.is_some_and(|topic| render(pieces, client, prefix) == Some(topic.clone()))
                };
                others.iter().all(agrees)
            })
        };
        let own = self.clients[*first].iter();
        own.filter_map(|(id, topic)| Some((*id, write(&template(*id, topic)?, prefix)))).collect()
    }
}

/// Part of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// `{client}`
    Client,
    /// `{client|trim:PREFIX}`
    Trimmed,
}

/// What a client's name begins with: up to its last separator, or before its number.
fn prefix(client: &str) -> &str {
    match client.rfind(['-', '_', '.', ':']) {
        Some(at) if at + 1 < client.len() => &client[..=at],
        _ => client.trim_end_matches(|c: char| c.is_ascii_digit()),
    }
}

/// Whether a text may fill a placeholder.
fn fills(text: &str) -> bool {
    !text.is_empty() && !text.contains(['+', '#', '/', '\0']) && !text.starts_with('$')
}

/// Ways in which a client's name may be part of its topic, the plainest first.
fn candidates(topic: &str, client: &str, prefix: &str) -> Vec<Vec<Piece>> {
    let mut all = vec![vec![Piece::Text(topic.to_owned())]];
    if !fills(client) || topic.len() > MAX_TOPIC {
        return all;
    }
    let whole = |topic: &[Piece], text: &str, piece: &Piece| replace(topic, text, piece, true);
    let anywhere = |topic: &[Piece], text: &str, piece: &Piece| replace(topic, text, piece, false);
    let literal = all[0].clone();
    let levels = whole(&literal, client, &Piece::Client);
    let inside = anywhere(&literal, client, &Piece::Client);
    all.extend([levels.clone(), inside.clone()]);
    let suffix = client.strip_prefix(prefix).unwrap_or_default();
    let trims = !prefix.is_empty() && !prefix.contains(['|', '{', '}']) && fills(suffix);
    if trims {
        all.push(whole(&levels, suffix, &Piece::Trimmed));
        all.push(whole(&inside, suffix, &Piece::Trimmed));
        all.push(anywhere(&inside, suffix, &Piece::Trimmed));
    }
    all
}

/// Puts a piece where a text stands: as a whole level, or anywhere.
fn replace(topic: &[Piece], text: &str, piece: &Piece, levels: bool) -> Vec<Piece> {
    let mut out: Vec<Piece> = Vec::new();
    let put = |out: &mut Vec<Piece>, text: &str| match out.last_mut() {
        _ if text.is_empty() => {}
        Some(Piece::Text(before)) => before.push_str(text),
        _ => out.push(Piece::Text(text.to_owned())),
    };
    for part in topic {
        let Piece::Text(literal) = part else {
            out.push(part.clone());
            continue;
        };
        let separator = if levels { "/" } else { text };
        for (i, between) in literal.split(separator).enumerate() {
            match (i > 0, levels) {
                (true, true) => put(&mut out, "/"),
                (true, false) => out.push(piece.clone()),
                _ => {}
            }
            if levels && between == text {
                out.push(piece.clone());
            } else {
                put(&mut out, between);
            }
        }
    }
    out
}

fn render(pieces: &[Piece], client: &str, prefix: &str) -> Option<String> {
    let mut out = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Client if fills(client) => out.push_str(client),
            Piece::Trimmed => {
                out.push_str(client.strip_prefix(prefix).filter(|suffix| fills(suffix))?);
            }
            Piece::Client => return None,
        }
    }
    Some(out)
}

fn write(pieces: &[Piece], prefix: &str) -> String {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => literal(text),
            Piece::Client => "{client}".to_owned(),
            Piece::Trimmed => format!("{{client|trim:{prefix}}}"),
        })
        .collect()
}

/// Folds runs of three and more ids whose topics count with them.
pub(crate) fn ranges(ids: &Ids) -> Vec<(String, String)> {
    let ids: Vec<(u16, &str)> = ids.iter().map(|(id, topic)| (*id, topic.as_str())).collect();
    let mut out = Vec::new();
    let mut rest = ids.as_slice();
    while let [(id, topic), ..] = rest {
        let best = numbers(topic)
            .filter_map(|(before, number, after)| {
                let less = u32::from(*id).checked_sub(number)?;
                let follows = |(n, (other, text)): (u32, &(u16, &str))| {
                    let counted = text.strip_prefix(before).and_then(|t| t.strip_suffix(after));
                    u32::from(*other) == u32::from(*id) + n
                        && counted == Some((number + n).to_string().as_str())
                };
                let length = (0..).zip(rest).take_while(|pair| follows(*pair)).count();
                Some((length, before, less, after))
            })
            .max_by_key(|(length, ..)| *length);
        match best {
            Some((length, before, less, after)) if length >= 3 => {
                let last = rest[length - 1].0;
                let number = if less == 0 { "{id}".into() } else { format!("{{id-{less}}}") };
                out.push((format!("{id}-{last}"), format!("{before}{number}{after}")));
                rest = &rest[length..];
            }
            _ => {
                out.push((id.to_string(), (*topic).to_owned()));
                rest = &rest[1..];
            }
        }
    }
    out
}

/// The numbers in a template outside of its placeholders, each with what is around it.
fn numbers(template: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    let bytes = template.as_bytes();
    let mut found = Vec::new();
    let (mut at, mut inside) = (0, false);
    while at < bytes.len() && template.len() <= MAX_TOPIC {
        match bytes[at] {
            // A doubled brace is a literal one.
            b'{' | b'}' if bytes.get(at + 1) == Some(&bytes[at]) && !inside => at += 1,
            b'{' => inside = true,
            b'}' => inside = false,
            b'0'..=b'9' if !inside => {
                let start = at;
                while bytes.get(at + 1).is_some_and(u8::is_ascii_digit) {
                    at += 1;
                }
                let digits = &template[start..=at];
                if (digits == "0" || !digits.starts_with('0'))
                    && let Ok(number) = digits.parse::<u32>()
                {
                    // Ids are below this, so that counting on does not overflow.
                    if number <= 0xffff {
                        found.push((&template[..start], number, &template[at + 1..]));
                    }
                }
            }
            _ => {}
        }
        at += 1;
    }
    found.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(pairs: &[(u16, &str)]) -> Ids {
        pairs.iter().map(|(id, topic)| (*id, (*topic).to_owned())).collect()
    }

    fn folded(clients: &[(&str, &[(u16, &str)])], known: &[&str]) -> Folded {
        let clients =
            clients.iter().map(|(name, table)| ((*name).to_owned(), ids(table))).collect();
        fold(&Ids::new(), &clients, &known.iter().map(|name| (*name).to_owned()).collect())
    }

    fn scopes(folded: &Folded) -> Vec<String> {
        let line = |(scope, ids): &(String, Vec<(String, String)>)| {
            let ids: Vec<String> =
                ids.iter().map(|(key, topic)| format!("{key}={topic}")).collect();
            format!("{scope} {}", ids.join(" "))
        };
        folded.scopes.iter().map(line).collect()
    }

    #[test]
    fn names_that_begin_alike_become_a_group() {
        let three: &[(&str, &[(u16, &str)])] = &[
            ("env-1", &[(10, "dev/env-1/t"), (11, "lab/1"), (12, "one")]),
            ("env-2", &[(10, "dev/env-2/t"), (11, "lab/2"), (12, "two")]),
            ("env-3", &[(10, "dev/env-3/t"), (11, "lab/3"), (12, "three")]),
        ];
        let result = folded(three, &[]);
        assert_eq!((&*result.groups[0].name, &*result.groups[0].globs[0]), ("env", "env-*"));
        assert_eq!(
            scopes(&result),
            [
                "env 10=dev/{client}/t 11=lab/{client|trim:env-}",
                "client:env-1 12=one",
                "client:env-2 12=two",
                "client:env-3 12=three",
            ]
        );
        let result = folded(three, &["env-9"]);
        assert_eq!(result.groups[0].globs, ["env-1", "env-2", "env-3"], "env-9 had no ids");
        assert!(!result.groups[0].is_open());
    }

    #[test]
    fn one_that_differs_does_not_keep_the_others_apart() {
        let clients: &[(&str, &[(u16, &str)])] = &[
            ("m1", &[(1, "a/m1"), (2, "b/m1")]),
            ("m2", &[(1, "a/m2"), (2, "b/m2")]),
            ("m3", &[(1, "a/m3"), (2, "b/m3")]),
            ("m9", &[(7, "other")]),
        ];
        let result = folded(clients, &[]);
        assert_eq!(result.groups[0].globs, ["m1", "m2", "m3"]);
        assert_eq!(scopes(&result), ["m 1=a/{client} 2=b/{client}", "client:m9 7=other"]);
    }

    #[test]
    fn names_without_a_common_beginning() {
        let clients: &[(&str, &[(u16, &str)])] =
            &[("hall", &[(1, "r/hall/t")]), ("attic", &[(1, "r/attic/t")]), ("*", &[(1, "x{")])];
        assert_eq!(
            scopes(&folded(clients, &[])),
            ["client:* 1=x{{", "client:attic 1=r/attic/t", "client:hall 1=r/hall/t"]
        );
        let result = folded(&clients[..2], &[]);
        assert_eq!(scopes(&result), ["clients 1=r/{client}/t"]);
        assert_eq!(result.groups[0].globs, ["attic", "hall"]);
    }

    #[test]
    fn what_cannot_fill_a_placeholder_stays_literal() {
        let clients: &[(&str, &[(u16, &str)])] = &[
            ("a/1", &[(1, "x/a/1")]),
            ("a/2", &[(1, "x/a/2")]),
            ("$a1", &[(1, "$a1")]),
            ("$a2", &[(1, "$a2")]),
        ];
        assert!(folded(clients, &[]).groups.is_empty());
    }

    #[test]
    fn runs_of_ids() {
        let run: Ids = (100..132).map(|id| (id, format!("d/{}/c", id - 100))).collect();
        assert_eq!(ranges(&run), [("100-131".to_owned(), "d/{id-100}/c".to_owned())]);
        let same = ids(&[
            (1, "a1"),
            (2, "a2"),
            (3, "a3"),
            (5, "a5"),
            (6, "{{6}}"),
            (7, "a{client|trim:7}"),
        ]);
        let keys: Vec<String> =
            ranges(&same).into_iter().map(|(k, t)| format!("{k} {t}")).collect();
        assert_eq!(keys, ["1-3 a{id}", "5 a5", "6 {{6}}", "7 a{client|trim:7}"]);
        for table in [
            ids(&[(1, "a01"), (2, "a02"), (3, "a03")]),
            ids(&[(1, "a5"), (2, "a6"), (3, "a7")]),
            ids(&[(1, "same"), (2, "same"), (3, "same")]),
            ids(&[(1, "a1"), (2, "a2")]),
            ids(&[(1, "1/1"), (2, "2/2"), (3, "3/3")]),
        ] {
            assert_eq!(ranges(&table).len(), table.len(), "{table:?}");
        }
    }
}
