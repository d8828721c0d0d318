//! Splits, hyper-parameters, selection and tables against the published
//! programs of DomainBed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use libtest_mimic::{Failed, Trial};
use moa_infer::split::seed::split_seed;
use moa_infer::split::split::{held_out_count, split_dataset, split_environment};
use moa_train::protocol::choose::choose;
use moa_train::protocol::hparams::{HParams, registry_seed};
use moa_train::protocol::record::Record;
use moa_train::protocol::report::Report;
use moa_train::protocol::results::{RESULTS_FILE, append_record, read_sweep};
use moa_train::protocol::select::Rule;
use moa_train::protocol::summary::{RunSelection, Summary};
use moa_train::protocol::table::{Cell, Row, Table};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

type Check = Result<(), Failed>;

/// One trial for each list, digest, run and table found under `root`.
pub fn trials(root: &Path) -> Vec<Trial> {
    let dir = root.join("domainbed");
    let mut trials = Vec::new();
    let mut add = |name: String, check: Box<dyn FnOnce() -> Check + Send>| {
        trials.push(Trial::test(format!("domainbed/{name}"), check));
    };
    let splits = read(&dir.join("splits.json"));
    for row in rows(&splits["seeds"]) {
        let name = format!("seed/t{}-e{}", row["trial"], row["env"]);
        add(name, Box::new(move || seed(&row)));
    }
    for row in rows(&splits["lists"]).into_iter().chain(rows(&splits["digests"])) {
        let of = row.get("dataset").map_or(String::new(), |d| d.as_str().unwrap_or("").to_owned());
        let name =
            format!("{of}{}x{}-t{}-e{}", row["n"], row["fraction"], row["trial"], row["env"]);
        add(format!("split/{name}"), Box::new(move || split(&row)));
    }
    for row in rows(&read(&dir.join("hparams.json"))) {
        let name = format!("{}-t{}-h{}", row["dataset"], row["trial"], row["hparams_seed"]);
        add(format!("hparams/{}", name.replace('"', "")), Box::new(move || hparams(&row)));
    }
    for (i, run) in rows(&read(&dir.join("single_runs.json"))).into_iter().enumerate() {
        add(format!("single_run/{i}"), Box::new(move || single_run(&run)));
    }
    for rule in Rule::ALL {
        let dir = dir.clone();
        add(format!("tables/{}", rule.name()), Box::new(move || tables(&dir, rule)));
    }
    let here = dir.clone();
    add("results.txt".to_owned(), Box::new(move || report(&here)));
    add("run folders".to_owned(), Box::new(move || run_folders(&dir)));
    trials
}

fn seed(row: &Value) -> Check {
    equal("seed", &split_seed(count(&row["trial"]) as u64, count(&row["env"])), &row["seed"])
}

fn split(row: &Value) -> Check {
    let (n, env, trial) = (count(&row["n"]), count(&row["env"]), count(&row["trial"]) as u64);
    let fraction = number(&row["fraction"]);
    let n_out = held_out_count(n, fraction)?;
    equal("n_out", &n_out, &row["n_out"])?;
    let cut = split_dataset(n, n_out, split_seed(trial, env));
    let again = split_environment(n, fraction, trial, env, false)?;
    equal("split_environment", &(&cut.out, &cut.in_), &json!([again.out, again.in_]))?;
    let target = split_environment(n, fraction, trial, env, true)?;
    let last = cut.in_.len().saturating_sub(4);
    let first = cut.out.len().min(8);
    let found = json!({
        "out": cut.out, "in": cut.in_, "out_first": cut.out[..first], "in_last": cut.in_[last..],
        "out_sha256": digest(&cut.out), "in_sha256": digest(&cut.in_),
        "in_reordered_when_target_sha256": digest(&target.in_),
    });
    let keys = found.as_object().into_iter().flatten().filter(|(key, _)| row.get(key).is_some());
    let mut compared = 0;
    for (key, value) in keys {
        equal(key, value, &row[key])?;
        compared += 1;
    }
    if compared < 2 { Err("nothing to compare".into()) } else { Ok(()) }
}

/// Indices as decimal numbers with commas between, hashed.
fn digest(indices: &[usize]) -> String {
    let text: Vec<String> = indices.iter().map(usize::to_string).collect();
    moa_core::hash::hex(Sha256::digest(text.join(",")))
}

fn hparams(row: &Value) -> Check {
    let (seed, trial) = (count(&row["hparams_seed"]) as u64, count(&row["trial"]) as u64);
    equal("registry_seed", &registry_seed(seed, trial), &row["registry_seed"])?;
    let dataset = row["dataset"].as_str().ok_or("no dataset")?;
    let found = serde_json::to_value(HParams::of_seed(dataset, seed, trial))?;
    let wanted = row["values"].as_object().ok_or("no values")?;
    for (key, wanted) in wanted {
        close(key, number(&found[key]), number(wanted), 1e-12 * number(wanted).abs())?;
    }
    equal("number of values", &found.as_object().map(|f| f.len()), &json!(wanted.len()))
}

fn single_run(run: &Value) -> Check {
    let evaluations: Vec<Summary> = serde_json::from_value(run["records"].clone())?;
    let found = RunSelection::of(&evaluations).ok_or("nothing selected")?;
    let mut wanted = run.clone();
    wanted.as_object_mut().map(|w| w.remove("records"));
    equal("selection", &found, &wanted)
}

fn tables(dir: &Path, rule: Rule) -> Check {
    let (records, wanted) = (records(dir)?, read(&dir.join("tables.json")));
    let report = Report::new(&records.into_iter().map(|(_, record)| record).collect::<Vec<_>>());
    equal("algorithms", &report.algorithms, &wanted["algorithms"])?;
    equal("datasets", &report.datasets, &wanted["datasets"])?;
    let found = report.rules.iter().find(|r| r.rule == rule).ok_or("no such rule")?;
    let wanted = &wanted["methods"][rule.name()];
    // what was chosen: everything equal, the value it was chosen by nearly
    let chosen = serde_json::to_value(found)?["chosen"].clone();
    let (chosen, picks) = (rows(&chosen), rows(&wanted["chosen"]));
    equal("number of choices", &chosen.len(), &json!(picks.len()))?;
    for (mut chosen, mut wanted) in chosen.into_iter().zip(picks) {
        let (val, wanted_val) = (chosen["val"].take(), wanted["val"].take());
        close("val", number(&val), number(&wanted_val), 1e-12)?;
        equal("choice", &chosen, &wanted)?;
    }
    for (name, table) in report.datasets.iter().zip(&found.datasets) {
        same_table(table, &wanted["datasets"][name])?;
    }
    same_table(&found.averages, &wanted["averages"])
}

fn same_table(table: &Table, wanted: &Value) -> Check {
    equal("columns", &table.columns, &wanted["columns"])?;
    for row in &table.rows {
        let wanted = &wanted["rows"][&row.algorithm];
        same_average(row, &wanted["average"])?;
        for (cell, wanted) in row.cells.iter().zip(rows(&wanted["cells"])) {
            same_cell(cell, &wanted)?;
        }
        equal("cells", &row.cells.len(), &json!(rows(&wanted["cells"]).len()))?;
    }
    Ok(())
}

fn same_cell(cell: &Cell, wanted: &Value) -> Check {
    equal("text", &cell.text(), &wanted["text"])?;
    equal("n", &cell.n, &wanted["n"])?;
    same_number("mean", cell.mean, &wanted["mean"])?;
    same_number("error", cell.error, &wanted["error"])
}

fn same_average(row: &Row, wanted: &Value) -> Check {
    equal("text", &row.average_text(), &wanted["text"])?;
    same_number("average", row.average, &wanted["mean"])
}

fn same_number(what: &str, found: Option<f64>, wanted: &Value) -> Check {
    match (found, wanted.as_f64()) {
        (Some(found), Some(wanted)) => close(what, found, wanted, 1e-9),
        (None, None) => Ok(()),
        (found, wanted) => Err(format!("{what}: {found:?}, expected {wanted:?}").into()),
    }
}

/// The same bytes that `collect_results.py` prints.
fn report(dir: &Path) -> Check {
    let records: Vec<Record> = records(dir)?.into_iter().map(|(_, record)| record).collect();
    let wanted = fs::read_to_string(dir.join("results.txt"))?;
    equal("results.txt", &Report::new(&records).to_text(), &json!(wanted))
}

/// Written as run folders and read back, no choice changes and no key is lost.
fn run_folders(dir: &Path) -> Check {
    let sweep = tempfile::tempdir()?;
    let mut jobs: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    for (job, record) in records(dir)? {
        jobs.entry(job).or_default().push(record);
    }
    for (job, records) in &jobs {
        let run = sweep.path().join(job);
        fs::create_dir(&run)?;
        for record in records {
            append_record(&run.join(RESULTS_FILE), record)?;
        }
    }
    let (written, read) =
        (jobs.into_values().flatten().collect::<Vec<_>>(), read_sweep(sweep.path())?);
    if written != read {
        return Err("records differ after writing and reading".into());
    }
    for rule in Rule::ALL {
        if choose(&written, rule) != choose(&read, rule) {
            return Err(format!("other choices by {}", rule.name()).into());
        }
    }
    Ok(())
}

/// The records and the jobs they belong to, in the order of the file.
fn records(dir: &Path) -> Result<Vec<(String, Record)>, Failed> {
    fs::read_to_string(dir.join("records.jsonl"))?.lines().map(record).collect()
}

fn record(line: &str) -> Result<(String, Record), Failed> {
    let row: Value = serde_json::from_str(line)?;
    let job = row["job"].as_str().ok_or("no job")?.to_owned();
    Ok((job, Record::from_line(&row["record"].to_string())?))
}

fn read(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn rows(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn count(value: &Value) -> usize {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count")) as usize
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn equal(what: &str, found: &impl serde::Serialize, wanted: &Value) -> Check {
    let found = serde_json::to_value(found)?;
    if found == *wanted {
        Ok(())
    } else {
        Err(format!("{what}: {found}\nexpected {wanted}").into())
    }
}

fn close(what: &str, found: f64, wanted: f64, tolerance: f64) -> Check {
    if (found - wanted).abs() <= tolerance {
        return Ok(());
    }
    Err(format!("{what}: {found}, expected {wanted} +/- {tolerance}").into())
}
