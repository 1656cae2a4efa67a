//! [`Place`]: where in the configuration a rule stands, so that an error can point at it.

use std::fmt;

/// One step into a YAML document.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// A key of a mapping.
    Key(String),
    /// A place in a list, from 0.
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Step::Key(key.to_owned())
    }
}

impl From<String> for Step {
    fn from(key: String) -> Self {
        Step::Key(key)
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Step::Index(index)
    }
}

/// A path into a YAML document: `mappings.coap[2].path`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Place(Vec<Step>);

impl Place {
    /// The whole document.
    #[must_use]
    pub const fn root() -> Self {
        Place(Vec::new())
    }

    /// One step further.
    #[must_use]
    pub fn at(&self, step: impl Into<Step>) -> Place {
        let mut steps = self.0.clone();
        steps.push(step.into());
        Place(steps)
    }

    /// The steps from the root.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.0
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if is_plain(key) => {
                    f.write_str(if i == 0 { "" } else { "." })?;
                    f.write_str(key)?;
                }
                Step::Key(key) => write!(f, "[{key:?}]")?,
            }
        }
        Ok(())
    }
}

fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_like_yaml() {
        let rule = Place::root().at("mappings").at("coap").at(2);
        assert_eq!(rule.at("path").to_string(), "mappings.coap[2].path");
        let ids = Place::root().at("topic_ids").at("client:legacy-7").at("10");
        assert_eq!(ids.to_string(), "topic_ids[\"client:legacy-7\"].10");
    }
}
