//! Which entry gives a pre-defined id its meaning, and which do not for this client.

use crate::explain::{MAX_NEAR, NearMiss, RuleKind, RuleRef};
use crate::ids::{Entry, IdTable, ScopeTable};
use crate::{Caller, Place};

impl IdTable {
    /// The entry that holds for the client, and those of other scopes that have the id too.
    pub(crate) fn explain(&self, caller: &Caller<'_>, id: u16) -> (Option<RuleRef>, Vec<NearMiss>) {
        let client = caller.client;
        let group = self.group_name(client);
        let mine = |scope: &str| {
            scope == "all" || Some(scope) == group || scope.strip_prefix("client:") == Some(client)
        };
        let mut having: Vec<(String, RuleRef)> = self
            .named()
            .filter_map(|(scope, table)| Some((refer(&scope, table.get(id)?), scope)))
            .map(|(rule, scope)| (scope, rule))
            .collect();
        // From the closest to the widest; the rest by name.
        having.sort_by_key(|(scope, _)| {
            let rank = match scope.as_str() {
                scope if !mine(scope) => 3,
                "all" => 2,
                scope if scope.starts_with("client:") => 0,
                _ => 1,
            };
            (rank, scope.clone())
        });
        let rule = having.first().filter(|(scope, _)| mine(scope)).map(|(_, rule)| rule.clone());
        let near = having.into_iter().skip(usize::from(rule.is_some())).map(|(scope, rule)| {
            let why = match (mine(&scope), group) {
                (true, _) => "has the id too, but a closer one comes first".to_owned(),
                (false, _) if scope.starts_with("client:") => "is of that client alone".to_owned(),
                (false, Some(group)) => format!("{client} is in group {group}"),
                (false, None) => format!("{client} is not in this group"),
            };
            NearMiss { rule, why }
        });
        (rule, near.take(MAX_NEAR).collect())
    }

    pub(crate) fn all(&self, out: &mut Vec<RuleRef>) {
        for (scope, table) in self.named() {
            out.extend(table.entries.iter().map(|entry| refer(&scope, entry)));
        }
    }

    /// Every scope under the key that it has in `topic_ids`, clients by name.
    fn named(&self) -> impl Iterator<Item = (String, &ScopeTable)> {
        let mut clients: Vec<(String, &ScopeTable)> =
            self.clients.iter().map(|(name, table)| (format!("client:{name}"), table)).collect();
        clients.sort_by(|a, b| a.0.cmp(&b.0));
        let groups = self.groups.iter().map(|group| (group.name.clone(), &group.ids));
        std::iter::once(("all".to_owned(), &self.all)).chain(groups).chain(clients)
    }

    fn group_name(&self, client: &str) -> Option<&str> {
        let ids = self.group(client)?;
        let found = self.groups.iter().find(|group| std::ptr::eq(&raw const group.ids, ids));
        found.map(|group| group.name.as_str())
    }
}

fn refer(scope: &str, entry: &Entry) -> RuleRef {
    let key = match entry.first == entry.last {
        true => entry.first.to_string(),
        false => format!("{}-{}", entry.first, entry.last),
    };
    let place = Place::root().at("mappings").at("mqttsn").at("topic_ids").at(scope);
    RuleRef::new(RuleKind::TopicId, format!("{scope} {key}"), Some(place.at(key)))
}
