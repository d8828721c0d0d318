//! The data sets that are known by name: their folders, environments, classes
//! and counts, as DomainBed has them.

use super::kind::DatasetKind;

/// A named data set.
#[derive(Debug)]
pub struct DatasetInfo {
    /// Its kind.
    pub kind: DatasetKind,
    /// How commands name it.
    pub name: &'static str,
    /// DomainBed's class, the `dataset` of its records.
    pub class_name: &'static str,
    /// Names of its folder, DomainBed's first; compared by [`same_name`].
    pub folders: &'static [&'static str],
    /// Environments in index order.
    pub environments: &'static [EnvironmentInfo],
    /// Number of classes.
    pub class_count: usize,
    /// Their names, where few enough to be listed here.
    pub classes: &'static [&'static str],
    /// Where other counts come from, as advice.
    pub counts_hint: &'static str,
}

/// An environment of a named data set.
#[derive(Debug)]
pub struct EnvironmentInfo {
    /// DomainBed's folder, our name of the environment.
    pub name: &'static str,
    /// Column of the tables.
    pub display: &'static str,
    /// Images in the copy that DomainBed uses.
    pub images: usize,
    /// Other folder names in circulation; compared by [`same_name`].
    pub also: &'static [&'static str],
}

const fn env(
    name: &'static str,
    display: &'static str,
    images: usize,
    also: &'static [&'static str],
) -> EnvironmentInfo {
    EnvironmentInfo { name, display, images, also }
}

/// The named data sets, in the order of DomainBed's tables.
pub static NAMED: [DatasetInfo; 5] = [
    DatasetInfo {
        kind: DatasetKind::Vlcs,
        name: "vlcs",
        class_name: "VLCS",
        folders: &["VLCS"],
        environments: &[
            env("Caltech101", "C", 1415, &["caltech"]),
            env("LabelMe", "L", 2656, &[]),
            env("SUN09", "S", 3282, &["sun"]),
            env("VOC2007", "V", 3376, &["voc", "pascal"]),
        ],
        class_count: 5,
        classes: &["bird", "car", "chair", "dog", "person"],
        counts_hint: "the original folders also hold the splits train, test and full",
    },
    DatasetInfo {
        kind: DatasetKind::Pacs,
        name: "pacs",
        class_name: "PACS",
        folders: &["PACS", "kfold"],
        environments: &[
            env("art_painting", "A", 2048, &["art"]),
            env("cartoon", "C", 2344, &[]),
            env("photo", "P", 1670, &[]),
            env("sketch", "S", 3929, &[]),
        ],
        class_count: 7,
        classes: &["dog", "elephant", "giraffe", "guitar", "horse", "house", "person"],
        counts_hint: "the copy may be incomplete",
    },
    DatasetInfo {
        kind: DatasetKind::OfficeHome,
        name: "office_home",
        class_name: "OfficeHome",
        folders: &["office_home", "OfficeHomeDataset_10072016"],
        environments: &[
            env("Art", "A", 2427, &[]),
            env("Clipart", "C", 4365, &[]),
            env("Product", "P", 4439, &[]),
            env("Real World", "R", 4357, &["real"]),
        ],
        class_count: 65,
        classes: &[],
        counts_hint: "the copy may be incomplete",
    },
    DatasetInfo {
        kind: DatasetKind::TerraIncognita,
        name: "terra_incognita",
        class_name: "TerraIncognita",
        folders: &["terra_incognita"],
        environments: &[
            env("location_100", "L100", 4741, &["100"]),
            env("location_38", "L38", 9736, &["38"]),
            env("location_43", "L43", 3970, &["43"]),
            env("location_46", "L46", 5883, &["46"]),
        ],
        class_count: 10,
        classes: &[
            "bird", "bobcat", "cat", "coyote", "dog", "empty", "opossum", "rabbit", "raccoon",
            "squirrel",
        ],
        counts_hint: "papers often say 24788 images, DomainBed's script makes 24330",
    },
    DatasetInfo {
        kind: DatasetKind::DomainNet,
        name: "domain_net",
        class_name: "DomainNet",
        folders: &["domain_net"],
        environments: &[
            env("clipart", "clip", 48_129, &[]),
            env("infograph", "info", 51_605, &[]),
            env("painting", "paint", 72_266, &[]),
            env("quickdraw", "quick", 172_500, &[]),
            env("real", "real", 172_947, &[]),
            env("sketch", "sketch", 69_128, &[]),
        ],
        class_count: 345,
        classes: &[],
        counts_hint: "DomainBed deletes the files of its list domain_net_duplicates.txt",
    },
];

impl EnvironmentInfo {
    /// Whether a folder or a user calls the environment by this name.
    pub fn is_called(&self, name: &str) -> bool {
        [self.name, self.display].iter().chain(self.also).any(|known| same_name(known, name))
    }
}

/// Equal but for letter case, spaces, `_` and `-`: `Real World`, `real_world`.
pub fn same_name(a: &str, b: &str) -> bool {
    let letters = |s: &str| -> String {
        s.chars().filter(|c| !matches!(c, ' ' | '_' | '-')).flat_map(char::to_lowercase).collect()
    };
    letters(a) == letters(b)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Index order is DomainBed's: folder names sorted.
    #[test]
    fn environments_are_sorted() {
        for info in &NAMED {
            assert!(info.environments.is_sorted_by_key(|env| env.name), "{}", info.name);
            assert!(info.classes.is_sorted());
            assert!(info.classes.is_empty() || info.classes.len() == info.class_count);
        }
    }

    #[test]
    fn spellings() {
        let office = DatasetKind::OfficeHome.info().unwrap();
        for name in ["Real World", "Real_World", "RealWorld", "real-world", "R"] {
            let found = office.environments.iter().position(|env| env.is_called(name));
            assert_eq!(found, Some(3), "{name}");
        }
    }
}
