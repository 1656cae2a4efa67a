//! What came out: a line a row, and each failing cell by name.
//!
//! A column is one cell, `ok` or `FAIL`, or a cell for each QoS, whose number stands there if it
//! passed and `x` in its place if it did not: `012`, `0x2`, or so many cells that only their number
//! is said: `8`, `7/8`.

use std::fmt::Write as _;
use std::io::Write as _;

use super::Outcome;

/// Rows of cells.
#[derive(Debug, Default)]
pub struct Table {
    columns: Vec<&'static str>,
    rows: Vec<(String, Vec<Vec<Cell>>)>,
    failures: Vec<String>,
}

/// Whether it passed, and what it is of its column.
#[derive(Debug, Clone, Copy)]
struct Cell {
    mark: Mark,
    passed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Whole,
    Qos(u64),
    Part,
}

impl Table {
    /// An empty one.
    pub fn new(columns: &[&'static str]) -> Table {
        Table { columns: columns.to_vec(), ..Table::default() }
    }

    /// Starts a row.
    pub fn row(&mut self, name: String) {
        self.rows.push((name, vec![Vec::new(); self.columns.len()]));
    }

    /// Fills a column of the last row, which is one cell.
    ///
    /// # Panics
    /// If there is no such column, or no row.
    pub fn fill(&mut self, column: &str, outcome: Outcome) {
        self.add(column, Mark::Whole, "", outcome);
    }

    /// Adds the cell of one QoS to a column of the last row.
    ///
    /// # Panics
    /// As [`fill`](Table::fill).
    pub fn fill_qos(&mut self, column: &str, qos: u64, outcome: Outcome) {
        self.add(column, Mark::Qos(qos), &format!(", QoS {qos}"), outcome);
    }

    /// Adds one of many cells to a column of the last row.
    ///
    /// # Panics
    /// As [`fill`](Table::fill).
    pub fn fill_part(&mut self, column: &str, part: &str, outcome: Outcome) {
        self.add(column, Mark::Part, &format!(", {part}"), outcome);
    }

    fn add(&mut self, column: &str, mark: Mark, which: &str, outcome: Outcome) {
        let at =
            self.columns.iter().position(|name| *name == column).expect("a column by its name");
        let (name, cells) = self.rows.last_mut().expect("a row is started first");
        cells[at].push(Cell { mark, passed: outcome.is_ok() });
        if let Err(failure) = outcome {
            self.failures.push(format!("{name} / {column}{which}: {failure}"));
        }
    }

    /// The table, and how many cells it has.
    fn text(&self) -> (String, usize) {
        let widest = self.rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        let mut text = format!("\n{:widest$}", "");
        let put = |text: &mut String, words: &str| text.push_str(words);
        for column in &self.columns {
            put(&mut text, &format!("  {column:4}"));
        }
        for (name, columns) in &self.rows {
            write!(text, "\n{name:widest$}").expect("a string takes text");
            for (cells, column) in columns.iter().zip(&self.columns) {
                let word = match cells.as_slice() {
                    // The peer cannot do it.
                    [] => "-".to_owned(),
                    [Cell { mark: Mark::Part, .. }, ..] => count(cells),
                    cells => cells.iter().map(|cell| cell.word()).collect(),
                };
                put(&mut text, &format!("  {word:width$}", width = column.len().max(4)));
            }
        }
        let run = self.rows.iter().flat_map(|(_, columns)| columns).map(Vec::len).sum();
        put(&mut text, &format!("\n{run} cells, {} failed\n", self.failures.len()));
        (text, run)
    }

    /// Prints it, whether the test passes or not, and fails the test if a cell failed.
    ///
    /// # Panics
    /// If a cell failed, or there is none.
    pub fn finish(self) {
        let (text, run) = self.text();
        // Not through `print!`, which the test runner keeps for itself when all is well.
        let _ = std::io::stderr().write_all(text.as_bytes());
        assert!(run > 0, "no cell was run");
        assert!(self.failures.is_empty(), "cells failed:\n{}", self.failures.join("\n"));
    }
}

impl Cell {
    fn word(self) -> String {
        match (self.mark, self.passed) {
            (Mark::Qos(qos), true) => qos.to_string(),
            (Mark::Qos(_), false) => "x".to_owned(),
            (_, true) => "ok".to_owned(),
            (_, false) => "FAIL".to_owned(),
        }
    }
}

/// How many there are, and how many of them passed if not all did.
fn count(cells: &[Cell]) -> String {
    let passed = cells.iter().filter(|cell| cell.passed).count();
    if passed == cells.len() { passed.to_string() } else { format!("{passed}/{}", cells.len()) }
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

    #[test]
    #[should_panic(expected = "one / a, QoS 1: broken")]
    fn a_failing_cell_of_a_qos_is_named() {
        let mut table = Table::new(&["a"]);
        table.row("one".to_owned());
        table.fill_qos("a", 0, Ok(()));
        table.fill_qos("a", 1, Err("broken".to_owned()));
        table.finish();
    }

    #[test]
    fn cells_of_each_qos_stand_together_and_all_count() {
        let mut table = Table::new(&["a", "order", "c"]);
        table.row("one".to_owned());
        table.fill("a", Ok(()));
        for qos in 0..=2 {
            let outcome = if qos == 1 { Err("broken".to_owned()) } else { Ok(()) };
            table.fill_qos("order", qos, outcome);
        }
        let wanted = "\n     a     order  c   \none  ok    0x2    -   \n4 cells, 1 failed\n";
        assert_eq!(table.text(), (wanted.to_owned(), 4));
    }

    #[test]
    fn of_many_cells_the_number_stands_there() {
        let mut table = Table::new(&["put", "get"]);
        table.row("one".to_owned());
        for size in 0..3 {
            table.fill_part("put", &size.to_string(), Ok(()));
            let outcome = if size == 1 { Err("broken".to_owned()) } else { Ok(()) };
            table.fill_part("get", &format!("{size} B"), outcome);
        }
        let wanted = "\n     put   get \none  3     2/3 \n6 cells, 1 failed\n";
        assert_eq!(table.text(), (wanted.to_owned(), 6));
        assert_eq!(table.failures, ["one / get, 1 B: broken"]);
    }
}
