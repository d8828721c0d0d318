//! The text of the kernels, as the device's compiler gets it.

macro_rules! files {
    ($($name:literal),*) => {
        [$(($name, include_str!(concat!("../../metal/", $name)))),*]
    };
}

/// What files include.
const HEADERS: [(&str, &str); 4] = files!("common.h", "flash.h", "normal.h", "philox.h");

/// All files.
pub const FILES: [(&str, &str); 14] = files!(
    "adam.metal",
    "attention.metal",
    "balance.metal",
    "elementwise.metal",
    "experts.metal",
    "flash.metal",
    "flash_grad.metal",
    "grouped.metal",
    "layer_norm.metal",
    "lora.metal",
    "order.metal",
    "router.metal",
    "routing.metal",
    "units.metal"
);

/// A file with the headers that it includes in place: there are no files where it is compiled.
pub fn whole(text: &str) -> String {
    let header = |line: &str| {
        let name = line.strip_prefix("#include \"")?.strip_suffix('"')?;
        HEADERS.iter().find(|(of, _)| *of == name).map(|(_, text)| *text)
    };
    text.lines().map(|line| header(line).unwrap_or(line).to_string() + "\n").collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_there_and_includes_nothing_else() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("metal");
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), FILES.len() + HEADERS.len());
        for (name, text) in FILES {
            assert!(!whole(text).contains("#include \""), "{name}");
            assert!(whole(text).contains("#include <metal_stdlib>"), "{name}");
        }
    }
}
