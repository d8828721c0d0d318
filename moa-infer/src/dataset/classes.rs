//! Which folders are classes.

use std::collections::BTreeSet;

use super::environments::{Found, names};
use super::error::DatasetError;
use super::scan::Folder;

/// The classes, which must be the same in every environment. Where all of the
/// `known` ones are there, other folders are passed over.
pub(super) fn common_classes(
    known: &[&str],
    mut envs: Vec<Found>,
    warnings: &mut Vec<String>,
) -> Result<(Vec<String>, Vec<Found>), DatasetError> {
    let has = |env: &Found, class: &str| env.classes.iter().any(|folder| folder.name == class);
    if !known.is_empty() && envs.iter().all(|env| known.iter().all(|class| has(env, class))) {
        for env in &mut envs {
            let is_known = |folder: &Folder| known.contains(&folder.name.as_str());
            let (kept, extra) = env.classes.drain(..).partition(is_known);
            env.classes = kept;
            if !extra.is_empty() {
                let (name, extra) = (&env.name, names(&extra));
                warnings.push(format!("not classes, passed over in `{name}`: {extra}"));
            }
        }
    }
    let all: BTreeSet<&String> =
        envs.iter().flat_map(|env| env.classes.iter().map(|folder| &folder.name)).collect();
    for class in &all {
        let (with, without): (Vec<&Found>, Vec<&Found>) =
            envs.iter().partition(|env| has(env, class));
        if let ([present, ..], [absent, ..]) = (with.as_slice(), without.as_slice()) {
            return Err(DatasetError::MissingClass {
                class: (*class).clone(),
                present: present.name.clone(),
                absent: absent.name.clone(),
                path: absent.folder.path.clone(),
            });
        }
    }
    Ok((all.into_iter().cloned().collect(), envs))
}
