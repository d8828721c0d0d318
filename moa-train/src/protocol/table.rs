//! Tables of accuracies: mean, standard error and number of trials.

use serde::Serialize;

use super::numeric;

/// One number of a table, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Cell {
    /// Trials behind the number; a lost job lowers it.
    pub n: usize,
    /// Mean over trials, `None` if no trial has a value.
    pub mean: Option<f64>,
    /// Standard error: deviation of the population over `sqrt(n)`.
    pub error: Option<f64>,
}

/// A method's line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The method.
    pub algorithm: String,
    /// One for each column but the last.
    pub cells: Vec<Cell>,
    /// Mean of the cells' means, `None` if one is missing.
    pub average: Option<f64>,
}

/// Methods down, environments or data sets across.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Table {
    /// What the table shows.
    pub title: String,
    /// Names of the columns between `Algorithm` and `Avg`.
    pub columns: Vec<String>,
    /// The methods.
    pub rows: Vec<Row>,
}

impl Cell {
    /// Of accuracies (0 to 1), one a trial.
    pub fn of(accuracies: &[f64]) -> Self {
        if accuracies.is_empty() {
            return Self::default();
        }
        let root = (accuracies.len() as f64).sqrt();
        let scaled: Vec<f64> = accuracies.iter().map(|accuracy| accuracy / root).collect();
        Self {
            n: accuracies.len(),
            mean: Some(100.0 * numeric::mean(accuracies)),
            error: Some(100.0 * numeric::deviation(&scaled)),
        }
    }

    /// `"92.1 +/- 3.5"`, or `"X"`.
    pub fn text(&self) -> String {
        match (self.mean, self.error) {
            (Some(mean), Some(error)) => format!("{mean:.1} +/- {error:.1}"),
            _ => "X".to_owned(),
        }
    }
}

impl Row {
    /// A line with its average.
    pub fn new(algorithm: String, cells: Vec<Cell>) -> Self {
        let means: Option<Vec<f64>> = cells.iter().map(|cell| cell.mean).collect();
        let average = means.filter(|m| !m.is_empty());
        let average = average.map(|m| m.iter().sum::<f64>() / m.len() as f64);
        Self { algorithm, cells, average }
    }

    /// `"92.9"`, or `"X"`.
    pub fn average_text(&self) -> String {
        self.average.map_or_else(|| "X".to_owned(), |mean| format!("{mean:.1}"))
    }
}

impl Table {
    /// The table as DomainBed's `collect_results.py` prints it, in columns of
    /// `width` characters; `first` for the names of the methods.
    pub fn to_text(&self, first: usize, width: usize) -> String {
        let wide = first;
        let mut out = format!("\n-------- {}\n", self.title);
        let mut line = |first: &str, cells: &mut dyn Iterator<Item = String>, last: &str| {
            out.push_str(&format!("{first:wide$.wide$}  "));
            for text in cells.chain([last.to_owned()]) {
                // cut as well as filled, and two spaces between columns
                out.push_str(&format!("{text:width$.width$}  "));
            }
            // of the spaces behind the last column, DomainBed prints one
            out.pop();
            out.push('\n');
        };
        line("Algorithm", &mut self.columns.iter().cloned(), "Avg");
        for row in &self.rows {
            let cells = &mut row.cells.iter().map(Cell::text);
            line(&row.algorithm, cells, &row.average_text());
        }
        out
    }

    /// The table in Markdown. A cell with fewer trials than the fullest of the
    /// table says how many it has.
    pub fn to_markdown(&self) -> String {
        let full = self.rows.iter().flat_map(|r| &r.cells).map(|c| c.n).max().unwrap_or(0);
        let shown = |cell: &Cell| match cell.n {
            n if n == 0 || n == full => cell.text(),
            n => format!("{} (n = {n})", cell.text()),
        };
        let mut lines = vec![markdown_line("Algorithm", self.columns.iter().cloned(), "Avg")];
        lines.push(format!("|---|{}", "---:|".repeat(self.columns.len() + 1)));
        for row in &self.rows {
            let cells = row.cells.iter().map(shown);
            lines.push(markdown_line(&row.algorithm, cells, &row.average_text()));
        }
        lines.push(format!("\nMean +/- standard error in percent, n = {full} trials."));
        lines.join("\n") + "\n"
    }
}

fn markdown_line(first: &str, cells: impl Iterator<Item = String>, last: &str) -> String {
    let cells = std::iter::once(first.to_owned()).chain(cells).chain([last.to_owned()]);
    let cells: Vec<String> = cells.map(|text| text.replace('|', "\\|")).collect();
    format!("| {} |", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let rows = vec![
            Row::new("ERM".to_owned(), vec![Cell::of(&[0.9, 0.8]), Cell::of(&[1.0])]),
            Row::new("a|b".to_owned(), vec![Cell::of(&[0.5, 0.5]), Cell::of(&[])]),
        ];
        Table { title: "Title".to_owned(), columns: vec!["A".to_owned(), "B".to_owned()], rows }
    }

    #[test]
    fn cells() {
        // DomainBed's own test of `format_mean`
        assert_eq!(Cell::of(&[0.1, 0.2, 0.3]).text(), "20.0 +/- 4.7");
        assert_eq!(Cell::of(&[]).text(), "X");
        assert_eq!(Cell::of(&[0.5]), Cell { n: 1, mean: Some(50.0), error: Some(0.0) });
        assert_eq!(Row::new(String::new(), vec![]).average_text(), "X");
    }

    /// Exact halves go to the even digit in Python and here.
    #[test]
    fn rounding() {
        let text = |mean| Cell { n: 1, mean: Some(mean), error: Some(0.0) }.text();
        let halves = [0.25, 0.75, 12.25, 12.75, 86.25, 99.95, 0.05];
        let digits = ["0.2", "0.8", "12.2", "12.8", "86.2", "100.0", "0.1"];
        for (half, wanted) in halves.into_iter().zip(digits) {
            assert_eq!(text(half), format!("{wanted} +/- 0.0"));
        }
    }

    #[test]
    fn text() {
        let wanted = "\n-------- Title\n\
            Algorithm  A          B          Avg       \n\
            ERM        85.0 +/-   100.0 +/-  92.5      \n\
            a|b        50.0 +/-   X          X         \n";
        assert_eq!(table().to_text(9, 9), wanted);
    }

    #[test]
    fn markdown() {
        let wanted = "| Algorithm | A | B | Avg |\n\
            |---|---:|---:|---:|\n\
            | ERM | 85.0 +/- 3.5 | 100.0 +/- 0.0 (n = 1) | 92.5 |\n\
            | a\\|b | 50.0 +/- 0.0 | X | X |\n\
            \nMean +/- standard error in percent, n = 2 trials.\n";
        assert_eq!(table().to_markdown(), wanted);
    }
}
