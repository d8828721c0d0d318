//! `moa-infer selfcheck` with the real binary.
#![allow(clippy::unwrap_used)]

mod support;

use support::{ended, infer, stderr, stdout};

#[test]
fn every_operation_passes_on_the_cpu() {
    let output = infer(&["selfcheck", "--device", "cpu"]);
    ended(&output, 0);
    let text = stdout(&output);
    for fact in ["- version: moa-infer ", "- system: ", "- device: cpu"] {
        assert!(text.contains(fact), "{fact}: {text}");
    }
    let rows: Vec<&str> = text.lines().filter(|line| line.ends_with("| ok |")).collect();
    for operation in ["linear", "layer norm", "attention", "gelu", "LoRA", "Kronecker", "adam"] {
        assert!(rows.iter().any(|row| row.contains(operation)), "no {operation}: {text}");
    }
    assert!(rows.iter().any(|row| row.contains("| f64 |")), "{text}");
    assert!(text.ends_with(&format!("{0} of {0} checks passed, 20 runs each.\n", rows.len())));
}

#[test]
fn a_device_that_cannot_be_used_is_one_line() {
    for (device, code) in [("metal", 1), ("cuda:99", 1), ("tpu", 2)] {
        let output = infer(&["selfcheck", "--device", device]);
        ended(&output, code);
        assert!(stdout(&output).is_empty());
        let text = stderr(&output);
        assert!(text.contains(device.trim_end_matches(":99")), "{text}");
    }
}
