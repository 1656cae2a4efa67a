//! What came out: a line a row, and each failing cell by name.

use std::fmt::Write as _;
use std::io::Write as _;

use super::Outcome;

/// Rows of cells.
#[derive(Debug, Default)]
pub struct Table {
    columns: Vec<&'static str>,
    rows: Vec<(String, Vec<Cell>)>,
    failures: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    Passed,
    Failed,
    /// The peer cannot do it.
    Absent,
}

impl Table {
    /// An empty one.
    pub fn new(columns: &[&'static str]) -> Table {
        Table { columns: columns.to_vec(), ..Table::default() }
    }

    /// Starts a row.
    pub fn row(&mut self, name: String) {
        self.rows.push((name, vec![Cell::Absent; self.columns.len()]));
    }

    /// Fills a cell of the last row.
    ///
    /// # Panics
    /// If there is no such column, or no row.
    pub fn fill(&mut self, column: &str, outcome: Outcome) {
        let at =
            self.columns.iter().position(|name| *name == column).expect("a column by its name");
        let (name, cells) = self.rows.last_mut().expect("a row is started first");
        if let Err(failure) = outcome {
            cells[at] = Cell::Failed;
            self.failures.push(format!("{name} / {column}: {failure}"));
        } else {
            cells[at] = Cell::Passed;
        }
    }

    /// Prints it, whether the test passes or not, and fails the test if a cell failed.
    ///
    /// # Panics
    /// If a cell failed, or there is none.
    pub fn finish(self) {
        let widest = self.rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        let mut text = format!("\n{:widest$}", "");
        let put = |text: &mut String, words: &str| text.push_str(words);
        for column in &self.columns {
            put(&mut text, &format!("  {column}"));
        }
        for (name, cells) in &self.rows {
            write!(text, "\n{name:widest$}").expect("a string takes text");
            for (cell, column) in cells.iter().zip(&self.columns) {
                let word = match cell {
                    Cell::Passed => "ok",
                    Cell::Failed => "FAIL",
                    Cell::Absent => "-",
                };
                put(&mut text, &format!("  {word:width$}", width = column.len()));
            }
        }
        let cells = self.rows.iter().flat_map(|(_, cells)| cells);
        let run = cells.filter(|cell| **cell != Cell::Absent).count();
        put(&mut text, &format!("\n{run} cells, {} failed\n", self.failures.len()));
        // Not through `print!`, which the test runner keeps for itself when all is well.
        let _ = std::io::stderr().write_all(text.as_bytes());
        assert!(run > 0, "no cell was run");
        assert!(self.failures.is_empty(), "cells failed:\n{}", self.failures.join("\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_without_failures_passes() {
        let mut table = Table::new(&["a", "b"]);
        table.row("one".to_owned());
        table.fill("b", Ok(()));
        table.finish();
    }

    #[test]
    #[should_panic(expected = "one / b: broken")]
    fn a_failing_cell_is_named() {
        let mut table = Table::new(&["a", "b"]);
        table.row("one".to_owned());
        table.fill("a", Ok(()));
        table.fill("b", Err("broken".to_owned()));
        table.finish();
    }
}
