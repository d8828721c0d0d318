//! Tables as CSV and LaTeX.

use crate::protocol::report::Report;
use crate::protocol::table::{Cell, Table};
use moa_infer::csv::quoted;

/// One line a cell: rule, table, method, column, mean, standard error, trials.
pub fn csv(report: &Report) -> String {
    let mut out = String::from("rule,dataset,algorithm,column,mean,standard_error,trials\n");
    for rule in &report.rules {
        let named = report.datasets.iter().zip(&rule.datasets);
        for (dataset, table) in
            named.map(|(name, t)| (name.as_str(), t)).chain([("all", &rule.averages)])
        {
            for row in &table.rows {
                for (column, cell) in table.columns.iter().zip(&row.cells) {
                    let number =
                        |value: Option<f64>| value.map_or(String::new(), |v| format!("{v:.4}"));
                    let fields = [rule.rule.name(), dataset, &row.algorithm, column];
                    let fields: Vec<_> = fields.iter().map(|field| quoted(field)).collect();
                    let (mean, error) = (number(cell.mean), number(cell.error));
                    out.push_str(&format!("{},{mean},{error},{}\n", fields.join(","), cell.n));
                }
            }
        }
    }
    out
}

/// A `tabular` for each table that has a number, for the package `booktabs`.
pub fn latex(report: &Report) -> String {
    let mut out = String::from("% needs \\usepackage{booktabs}\n");
    for rule in &report.rules {
        for table in rule.datasets.iter().chain([&rule.averages]).filter(|table| is_filled(table)) {
            out.push_str(&tabular(table));
        }
    }
    out
}

/// Whether a table has any number.
pub fn is_filled(table: &Table) -> bool {
    table.rows.iter().flat_map(|row| &row.cells).any(|cell| cell.n > 0)
}

fn tabular(table: &Table) -> String {
    let full = full(table);
    let cell = |cell: &Cell| match (cell.mean, cell.error) {
        (Some(mean), Some(error)) => {
            let n = if cell.n == full { String::new() } else { format!("\\,({})", cell.n) };
            format!("${mean:.1} \\pm {error:.1}${n}")
        }
        _ => "--".into(),
    };
    let line =
        |first: &str, cells: Vec<String>| format!("{} & {} \\\\\n", tex(first), cells.join(" & "));
    let head = table.columns.iter().map(|c| tex(c)).chain(["Avg".into()]).collect();
    let mut out = format!("\n% {} (n = {full} trials; fewer in parentheses)\n", table.title);
    out.push_str(&format!(
        "\\begin{{tabular}}{{l{}}}\n\\toprule\n",
        "c".repeat(table.columns.len() + 1)
    ));
    out.push_str(&line("Algorithm", head));
    out.push_str("\\midrule\n");
    for row in &table.rows {
        let average = row.average.map_or("--".into(), |mean| format!("{mean:.1}"));
        out.push_str(&line(&row.algorithm, row.cells.iter().map(cell).chain([average]).collect()));
    }
    out + "\\bottomrule\n\\end{tabular}\n"
}

/// Trials of the fullest cell.
pub fn full(table: &Table) -> usize {
    table.rows.iter().flat_map(|row| &row.cells).map(|cell| cell.n).max().unwrap_or(0)
}

fn tex(text: &str) -> String {
    let escape = |c: char| match c {
        '&' | '%' | '$' | '#' | '_' | '{' | '}' => format!("\\{c}"),
        '~' => "\\textasciitilde{}".into(),
        '^' => "\\textasciicircum{}".into(),
        '\\' => "\\textbackslash{}".into(),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::record::tests::record;

    #[test]
    fn both() {
        let mut a = record(&[1], 100, &[(0.5, 0.5), (0.25, 0.5)]);
        a.args.algorithm = "lora_r=2, x".into();
        let report = Report::new(&[a]);
        let csv = csv(&report);
        let wanted = "training-domain validation set,PACS,\"lora_r=2, x\",C,25.0000,0.0000,1\n";
        assert!(csv.contains(wanted), "{csv}");
        assert!(csv.contains(",P,,,0\n"), "{csv}");
        let latex = latex(&report);
        assert!(
            latex.contains("lora\\_r=2, x & -- & $25.0 \\pm 0.0$ & -- & -- & -- \\\\\n"),
            "{latex}"
        );
        // Two rules have numbers, each a table of the environments and one of averages.
        assert_eq!(latex.matches("\\begin{tabular}").count(), 4);
    }
}
