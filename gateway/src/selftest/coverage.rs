//! Which rules the tests hit.

use motegate_config::Resolved;
use motegate_config::tests::Test;
use serde::Serialize;

/// A rule, and how many tests hit it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Hits {
    /// Its name.
    pub(crate) rule: String,
    /// `motegate.yaml:18`.
    pub(crate) at: String,
    /// How many stimuli, observations and subscriptions it took.
    pub(crate) hits: usize,
}

/// All rules, in the order of the file.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Coverage {
    pub(crate) rules: Vec<Hits>,
}

impl Coverage {
    pub(super) fn new(_resolved: &Resolved) -> Self {
        Coverage::default()
    }

    pub(super) fn count(&mut self, _resolved: &Resolved, _test: &Test) {}
}

impl std::fmt::Display for Coverage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hit = self.rules.iter().filter(|rule| rule.hits > 0).count();
        writeln!(f, "rules hit: {hit} of {}", self.rules.len())?;
        let width = self.rules.iter().map(|rule| rule.rule.chars().count()).max().unwrap_or(0);
        for Hits { rule, at, hits } in &self.rules {
            let hits = if *hits == 0 { "never".to_owned() } else { hits.to_string() };
            writeln!(f, "  {hits:>5}  {rule:width$}  {at}")?;
        }
        Ok(())
    }
}
