//! Rows and columns of a report: which there are, and in what order.

use std::collections::BTreeSet;

use super::record::Record;
use moa_infer::dataset::registry::NAMED;

/// The methods that DomainBed lists first, in its order; the others follow in
/// the order of the records.
const ALGORITHMS: [&str; 34] = [
    "ERM",
    "ERMPlusPlus",
    "Fish",
    "IRM",
    "GroupDRO",
    "Mixup",
    "MLDG",
    "CORAL",
    "MMD",
    "DANN",
    "CDANN",
    "MTL",
    "SagNet",
    "ARM",
    "VREx",
    "RSC",
    "SD",
    "ANDMask",
    "SANDMask",
    "IGA",
    "SelfReg",
    "Fishr",
    "TRM",
    "IB_ERM",
    "IB_IRM",
    "CAD",
    "CondCAD",
    "Transfer",
    "CausIRL_CORAL",
    "CausIRL_MMD",
    "EQRM",
    "RDM",
    "ADRMX",
    "URM",
];

/// A data set of the records.
pub(super) struct Dataset {
    /// Its name in the records.
    pub(super) name: String,
    /// The columns of its table, environments in index order.
    pub(super) columns: Vec<String>,
}

/// The methods, in the order of the rows.
pub(super) fn algorithms(records: &[Record]) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for record in records {
        if !seen.contains(&record.args.algorithm) {
            seen.push(record.args.algorithm.clone());
        }
    }
    let place = |name: &String| ALGORITHMS.iter().position(|known| known == name);
    seen.sort_by_key(|name| place(name).unwrap_or(ALGORITHMS.len()));
    seen
}

/// The named data sets in DomainBed's order, then the others (which DomainBed
/// leaves out) by name.
pub(super) fn datasets(records: &[Record]) -> Vec<Dataset> {
    let names: BTreeSet<&String> = records.iter().map(|r| &r.args.dataset).collect();
    let place = |name: &&String| NAMED.iter().position(|info| info.class_name == *name);
    let mut names: Vec<&String> = names.into_iter().collect();
    names.sort_by_key(|name| place(name).unwrap_or(NAMED.len()));
    let set = |name: &String| Dataset { name: name.clone(), columns: columns(records, name) };
    names.into_iter().map(set).collect()
}

/// The names that a record gives, else the published letters, else `env0` ...
fn columns(records: &[Record], dataset: &str) -> Vec<String> {
    let mut of_set = records.iter().filter(|r| r.args.dataset == dataset);
    if let Some(record) = of_set.clone().find(|r| !r.args.env_names.is_empty()) {
        return record.args.env_names.clone();
    }
    if let Some(info) = NAMED.iter().find(|info| info.class_name == dataset) {
        return info.environments.iter().map(|env| env.display.to_owned()).collect();
    }
    let most = of_set.by_ref().map(|r| r.envs.len()).max().unwrap_or(0);
    (0..most).map(|i| format!("env{i}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::record::tests::record;

    fn of(dataset: &str, algorithm: &str) -> Record {
        let mut record = record(&[1], 100, &[(0.5, 0.5), (0.25, 0.5)]);
        (record.args.dataset, record.args.algorithm) = (dataset.to_owned(), algorithm.to_owned());
        record
    }

    #[test]
    fn orders() {
        let mut named = of("a folder", "lora-moa");
        named.args.env_names = vec!["day".to_owned(), "night".to_owned()];
        let records = [named, of("PACS", "kadaptation-moa"), of("z", "CORAL"), of("VLCS", "ERM")];
        assert_eq!(algorithms(&records), ["ERM", "CORAL", "lora-moa", "kadaptation-moa"]);
        let sets = datasets(&records);
        let sets: Vec<_> = sets.iter().map(|d| (d.name.as_str(), d.columns.join(" "))).collect();
        let wanted = [
            ("VLCS", "C L S V"),
            ("PACS", "A C P S"),
            ("a folder", "day night"),
            ("z", "env0 env1"),
        ];
        assert_eq!(sets, wanted.map(|(name, columns)| (name, columns.to_owned())));
    }
}
