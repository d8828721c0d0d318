//! [`Dataset::open`]: the samples of a data set.

use std::path::Path;

use super::classes::common_classes;
use super::environments::{self, Found, layout};
use super::error::DatasetError;
use super::kind::DatasetKind;
use super::scan;
use super::{Dataset, Env, Sample};

impl Dataset {
    /// Lists the data set `kind` below `root`, which holds the environments; for
    /// a named data set it may also hold the folder of the data set (`PACS/`).
    /// [`Dataset::root`] says which it was.
    ///
    /// Environments of a named data set are found under any of their known
    /// names; other folders are passed over with a warning, and other counts
    /// than the published ones are warned about.
    ///
    /// # Errors
    /// [`DatasetError`]: no folder there, no environments, classes that differ
    /// between environments or hold no images, names that are not UTF-8.
    pub fn open(kind: DatasetKind, root: &Path) -> Result<Self, DatasetError> {
        require_folder(root, kind)?;
        let mut warnings = Vec::new();
        let (root, found) = match kind.info() {
            Some(info) => environments::named(info, root, &mut warnings)?,
            None => (root.to_owned(), environments::any(root)?),
        };
        let known = kind.info().map_or(&[][..], |info| info.classes);
        let (classes, found) = common_classes(known, found, &mut warnings)?;
        let envs = found.into_iter().map(|env| with_samples(env, &mut warnings));
        let envs = envs.collect::<Result<Vec<_>, _>>()?;
        let folder = || root.canonicalize().ok()?.file_name()?.to_str().map(str::to_owned);
        let name = match kind.info() {
            Some(info) => info.class_name.to_owned(),
            None => folder().unwrap_or_else(|| kind.name().to_owned()),
        };
        let dataset = Self { kind, name, root, envs, classes, warnings };
        Ok(dataset.with_count_warnings())
    }

    /// Warns of counts that are not those of the published copy.
    fn with_count_warnings(mut self) -> Self {
        let Some(info) = self.kind.info() else {
            return self;
        };
        if self.classes.len() != info.class_count {
            let (n, wanted) = (self.classes.len(), info.class_count);
            self.warnings.push(format!("{} has {wanted} classes, here are {n}", info.class_name));
        }
        for (env, known) in self.envs.iter().zip(info.environments) {
            let (n, wanted) = (env.samples.len(), known.images);
            if n != wanted {
                self.warnings.push(format!(
                    "`{}` has {n} images, not {wanted}, so its split is not the published one: {}",
                    env.name, info.counts_hint
                ));
            }
        }
        self
    }
}

fn require_folder(root: &Path, kind: DatasetKind) -> Result<(), DatasetError> {
    let path = root.to_owned();
    match root.metadata() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(DatasetError::Missing { path }),
        Err(source) => Err(DatasetError::Unreadable { path, source }),
        Ok(data) if !data.is_dir() => Err(DatasetError::NotAFolder { path }),
        Ok(_) if scan::is_empty(root)? => Err(DatasetError::Empty { path, layout: layout(kind) }),
        Ok(_) => Ok(()),
    }
}

fn with_samples(env: Found, warnings: &mut Vec<String>) -> Result<Env, DatasetError> {
    let mut samples = Vec::new();
    for (class, folder) in env.classes.iter().enumerate() {
        let images = scan::images(&folder.path)?;
        if images.paths.is_empty() {
            return Err(DatasetError::EmptyClass { path: folder.path.clone() });
        }
        if images.foreign > 0 {
            let (n, path) = (images.foreign, folder.path.display());
            warnings.push(format!("passed over {n} image(s) in {path} (ppm, pgm or tif)"));
        }
        samples.extend(images.paths.into_iter().map(|path| Sample { path, class }));
    }
    Ok(Env { name: env.name, display: env.display, samples })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs;

    const PACS: [&str; 4] = ["art_painting", "cartoon", "photo", "sketch"];

    /// Writes `<env>/<class>/<image>` for each, below `dir`.
    fn fill(dir: &Path, envs: &[&str], classes: &[&str], images: &[&str]) {
        for env in envs {
            for class in classes {
                let folder = dir.join(env).join(class);
                fs::create_dir_all(&folder).unwrap();
                images.iter().for_each(|image| fs::write(folder.join(image), "").unwrap());
            }
        }
    }

    fn pacs_classes() -> &'static [&'static str] {
        DatasetKind::Pacs.info().unwrap().classes
    }

    fn refused(kind: DatasetKind, root: &Path) -> String {
        let text = Dataset::open(kind, root).unwrap_err().to_string();
        assert!(!text.contains('\n'), "{text}");
        text.replace(root.to_str().unwrap(), "DIR")
    }

    #[test]
    fn a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("birds");
        fill(&root, &["night", "day"], &["owl", "Lark"], &["b.png", "a.jpg"]);
        fs::write(root.join("README.md"), "").unwrap();
        let set = Dataset::open(DatasetKind::Folder, &root).unwrap();
        assert_eq!((set.name.as_str(), &set.root, set.len()), ("birds", &root, 8));
        assert_eq!(set.classes, ["Lark", "owl"]);
        assert!(set.warnings.is_empty());
        let day = set.env("day").unwrap();
        assert_eq!((day.name.as_str(), day.display.as_str()), ("day", "day"));
        let wanted = [("Lark/a.jpg", 0), ("Lark/b.png", 0), ("owl/a.jpg", 1), ("owl/b.png", 1)];
        let sample = |(p, class)| Sample { path: root.join("day").join(p), class };
        assert_eq!(day.samples, wanted.map(sample));
        assert_eq!(set.env_index("day").unwrap(), 0);
    }

    #[test]
    fn a_named_set_is_found_in_its_folder() {
        let dir = tempfile::tempdir().unwrap();
        fill(&dir.path().join("pacs"), &PACS, pacs_classes(), &["a.png", "b.tif"]);
        fs::create_dir(dir.path().join("VLCS")).unwrap();
        fs::create_dir_all(dir.path().join("pacs/full/dog")).unwrap();
        fs::create_dir_all(dir.path().join("pacs/photo/backup")).unwrap();
        let set = Dataset::open(DatasetKind::Pacs, dir.path()).unwrap();
        assert_eq!((set.name.as_str(), set.root.clone()), ("PACS", dir.path().join("pacs")));
        assert_eq!(set.classes, pacs_classes());
        let displays: String = set.envs.iter().map(|env| env.display.as_str()).collect();
        assert_eq!(displays, "ACPS");
        assert_eq!(set.warnings[0], "not environments of PACS, passed over: full");
        assert_eq!(set.warnings[1], "not classes, passed over in `photo`: backup");
        assert!(set.warnings[2].starts_with("passed over 1 image(s) in "));
        let counts = "`sketch` has 7 images, not 3929, so its split is not the published one: \
            the copy may be incomplete";
        assert_eq!(set.warnings.last().unwrap(), counts);
        // the folder itself
        let again = Dataset::open(DatasetKind::Pacs, &set.root).unwrap();
        assert_eq!((again.len(), again.root), (28, set.root));
    }

    #[test]
    fn other_spellings_keep_the_published_order() {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path(), &["SUN", "PASCAL", "LabelMe", "CALTECH"], &["0", "1"], &["a.png"]);
        let set = Dataset::open(DatasetKind::Vlcs, dir.path()).unwrap();
        let names: Vec<&str> = set.envs.iter().map(|env| env.name.as_str()).collect();
        assert_eq!(names, ["Caltech101", "LabelMe", "SUN09", "VOC2007"]);
        assert!(set.envs[3].samples[0].path.starts_with(dir.path().join("PASCAL")));
        assert!(set.warnings.contains(&"VLCS has 5 classes, here are 2".to_owned()));
    }

    #[test]
    fn no_data_folder() {
        let dir = tempfile::tempdir().unwrap();
        let end = "give the folder that holds the data set";
        let missing = dir.path().join("none");
        assert_eq!(
            refused(DatasetKind::Folder, &missing),
            format!("data folder DIR does not exist: {end}")
        );
        fs::write(&missing, "").unwrap();
        assert_eq!(refused(DatasetKind::Pacs, &missing), format!("DIR is not a folder: {end}"));
        let unreadable = refused(DatasetKind::Pacs, Path::new("a\0b"));
        assert!(unreadable.ends_with("; check its name and permissions"), "{unreadable}");
    }

    #[test]
    fn no_environments() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            refused(DatasetKind::Folder, dir.path()),
            "data folder DIR is empty: expected <environment>/<class>/<image> in it"
        );
        fs::write(dir.path().join("PACS.zip"), "").unwrap();
        assert_eq!(
            refused(DatasetKind::Folder, dir.path()),
            "DIR holds no environments: expected <environment>/<class>/<image>, found no folders"
        );
        (0..12).for_each(|i| fs::create_dir(dir.path().join(format!("s{i:02}"))).unwrap());
        assert_eq!(
            refused(DatasetKind::Pacs, dir.path()),
            "DIR holds no environments: expected the folders art_painting, cartoon, photo, sketch, \
             found s00, s01, s02, s03, s04, s05, s06, s07, s08, s09 and 2 more"
        );
    }

    #[test]
    fn incomplete_sets() {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path(), &PACS[..3], &["dog", "house"], &["a.png"]);
        assert_eq!(
            refused(DatasetKind::Pacs, dir.path()),
            "PACS has an environment `sketch`, but DIR has no folder of that name (found \
             art_painting, cartoon, photo): complete the copy, or use the data set `folder`"
        );
        fs::create_dir_all(dir.path().join("photo/horse")).unwrap();
        assert_eq!(
            refused(DatasetKind::Folder, dir.path()),
            "class `horse` is in environment `photo` but not in `art_painting`: every environment \
             needs the same class folders; add it to DIR/art_painting or take it away from the \
             others"
        );
        fs::remove_dir(dir.path().join("photo/horse")).unwrap();
        fs::remove_file(dir.path().join("cartoon/dog/a.png")).unwrap();
        assert_eq!(
            refused(DatasetKind::Folder, dir.path()),
            "class folder DIR/cartoon/dog holds no image (jpg, jpeg, png, webp, bmp, gif): fill \
             it, or take the class away from every environment"
        );
        fs::create_dir(dir.path().join("logs")).unwrap();
        assert_eq!(
            refused(DatasetKind::Folder, dir.path()),
            "environment folder DIR/logs has no class folders: the layout is \
             <environment>/<class>/<image>; fill it or take it away"
        );
    }
}
