//! What is told of tests: text for people, and plain data for JSON.

use std::fmt;

use serde::Serialize;

use super::Coverage;

/// One thing that is not as expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Failure {
    /// Which part of `expect`, or of `given`.
    pub(crate) what: String,
    /// What should have come.
    pub(crate) expected: String,
    /// What came.
    pub(crate) came: String,
}

impl Failure {
    pub(super) fn new(
        what: impl Into<String>,
        expected: impl Into<String>,
        came: impl Into<String>,
    ) -> Self {
        Failure { what: what.into(), expected: expected.into(), came: came.into() }
    }

    /// The same, of another part.
    pub(super) fn of(self, what: &str) -> Self {
        Failure { what: what.to_owned(), ..self }
    }
}

/// One test.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    /// Its name.
    pub(crate) name: String,
    /// `motegate.yaml:55`.
    pub(crate) at: String,
    /// Nothing: it passed.
    pub(crate) failures: Vec<Failure>,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) coverage: Coverage,
}

impl Report {
    pub(crate) fn passed(&self) -> bool {
        self.verdicts.iter().all(|verdict| verdict.failures.is_empty())
    }

    pub(crate) fn failed(&self) -> impl Iterator<Item = &Verdict> {
        self.verdicts.iter().filter(|verdict| !verdict.failures.is_empty())
    }

    /// `9 tests passed`, or `2 of 9 tests failed`.
    pub(crate) fn summary(&self) -> String {
        let (all, failed) = (self.verdicts.len(), self.failed().count());
        match (all, failed) {
            (0, _) => "no tests".into(),
            (1, 0) => "1 test passed".into(),
            (_, 0) => format!("{all} tests passed"),
            (1, _) => "1 test failed".into(),
            _ => format!("{failed} of {all} tests failed"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { name, at, failures } = self;
        if failures.is_empty() {
            return write!(f, "ok      {name}");
        }
        write!(f, "FAILED  {name}  ({at})")?;
        for failure in failures {
            let Failure { what, expected, came } = failure;
            write!(
                f,
                "\n        {what}\n          expected  {expected}\n          came      {came}"
            )?;
        }
        Ok(())
    }
}
