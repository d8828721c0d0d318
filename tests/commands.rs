//! Every command has a page in `docs/commands`, with its own help at the end.
//!
//! `MOA_BLESS=1 cargo test --test commands` writes the help anew.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

fn help(words: &[&str]) -> String {
    let mut command = Command::new(support::binary(words[0]));
    // As wide as without a terminal.
    command.args(&words[1..]).arg("--help").env_remove("COLUMNS");
    let output = command.output().unwrap();
    support::ended(&output, 0);
    support::stdout(&output).trim_end().to_string()
}

/// The commands that a program's help lists, `help` itself left out.
fn commands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| !line.is_empty());
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next()).map(String::from);
    names.filter(|name| name != "help").collect()
}

fn pages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/commands")
}

/// The page with the help of `words` under its heading.
fn with_help(page: &str, words: &[&str]) -> String {
    let heading = format!("\n## {} --help\n\n```text\n", words.join(" "));
    let start = page.find(&heading).unwrap_or_else(|| panic!("no{heading}")) + heading.len();
    let end = start + page[start..].find("\n```\n").unwrap();
    format!("{}{}{}", &page[..start], help(words), &page[end..])
}

#[test]
fn every_command_has_a_page_with_its_help() {
    let index = std::fs::read_to_string(pages().join("README.md")).unwrap();
    let mut count = 0;
    for program in ["moa-train", "moa-infer"] {
        for name in commands(&help(&[program])) {
            let file = format!("{program}-{name}.md");
            let link = format!("| [{program} {name}]({file}) | ");
            assert!(index.contains(&link), "docs/commands/README.md: no line {link}");
            let path = pages().join(&file);
            let page = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{file}: {e}"));
            let mut wanted = with_help(&page, &[program, &name]);
            for below in commands(&help(&[program, &name])) {
                wanted = with_help(&wanted, &[program, &name, &below]);
            }
            if std::env::var_os("MOA_BLESS").is_some() {
                std::fs::write(&path, &wanted).unwrap();
            } else {
                assert!(page == wanted, "{file} has old help; run with MOA_BLESS=1");
            }
            count += 1;
        }
    }
    let files = std::fs::read_dir(pages()).unwrap().count();
    assert_eq!(files, count + 1, "docs/commands has pages of no command");
}
