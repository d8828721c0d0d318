//! Running the cases of some sections.

use libtest_mimic::{Arguments, Trial};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The folder of a section and what makes its cases from the root.
pub type Section = (&'static str, fn(&Path) -> Vec<Trial>);

pub fn run(sections: &[Section]) -> ExitCode {
    let arguments = Arguments::from_args();
    let given = std::env::var_os("MOA_GOLDEN").map(PathBuf::from);
    let root = given
        .clone()
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden"));
    let mut trials = Vec::new();
    for (name, section) in sections {
        if root.join(name).is_dir() {
            let found = section(&root);
            assert!(!found.is_empty(), "{}: no case in {name}", root.display());
            trials.extend(found);
        } else {
            // Say that it was not run, rather than nothing.
            let missing = Trial::test(format!("{name}::(not in {})", root.display()), || Ok(()));
            trials.push(missing.with_ignored_flag(true));
        }
    }
    let ran = trials.iter().filter(|t| !t.has_ignored_flag()).count();
    assert!(ran > 0, "{}: no reference data; is MOA_GOLDEN the right folder?", root.display());
    libtest_mimic::run(&arguments, trials).exit_code()
}
