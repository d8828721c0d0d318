//! What a data set is opened as: `--dataset`, `data.dataset`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::did_you_mean;
use super::registry::{DatasetInfo, NAMED, same_name};

/// A data set as commands and configurations name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DatasetKind {
    /// VLCS.
    Vlcs,
    /// PACS.
    Pacs,
    /// Office-Home.
    OfficeHome,
    /// Terra Incognita.
    TerraIncognita,
    /// DomainNet.
    DomainNet,
    /// Any folder of the layout `<environment>/<class>/<image>`.
    Folder,
}

impl DatasetKind {
    /// How commands name the data set.
    pub fn name(self) -> &'static str {
        self.info().map_or("folder", |info| info.name)
    }

    /// What is known of it; `None` for [`DatasetKind::Folder`].
    pub fn info(self) -> Option<&'static DatasetInfo> {
        NAMED.iter().find(|info| info.kind == self)
    }

    /// All names, for help and error messages.
    pub fn names() -> Vec<&'static str> {
        NAMED.iter().map(|info| info.name).chain(["folder"]).collect()
    }
}

/// The name is none of [`DatasetKind::names`].
#[derive(Debug, thiserror::Error)]
#[error("no data set `{name}`: choose one of {}{}", DatasetKind::names().join(", "), did_you_mean(suggestion.as_deref()))]
pub struct UnknownDataset {
    name: String,
    suggestion: Option<String>,
}

impl FromStr for DatasetKind {
    type Err = UnknownDataset;

    /// Command names and DomainBed's class names, compared by [`same_name`].
    fn from_str(name: &str) -> Result<Self, UnknownDataset> {
        if name == Self::Folder.name() {
            return Ok(Self::Folder);
        }
        let called = |i: &&DatasetInfo| same_name(i.name, name) || same_name(i.class_name, name);
        NAMED.iter().find(called).map(|info| info.kind).ok_or_else(|| UnknownDataset {
            name: name.to_owned(),
            suggestion: moa_core::suggest::nearest(name, Self::names()).map(str::to_owned),
        })
    }
}

impl TryFrom<String> for DatasetKind {
    type Error = UnknownDataset;

    fn try_from(name: String) -> Result<Self, UnknownDataset> {
        name.parse()
    }
}

impl From<DatasetKind> for String {
    fn from(kind: DatasetKind) -> Self {
        kind.name().to_owned()
    }
}

impl fmt::Display for DatasetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for kind in NAMED.iter().map(|info| info.kind).chain([DatasetKind::Folder]) {
            assert_eq!(kind.name().parse::<DatasetKind>().unwrap(), kind);
        }
        assert_eq!("OfficeHome".parse::<DatasetKind>().unwrap(), DatasetKind::OfficeHome);
        assert_eq!("terra-incognita".parse::<DatasetKind>().unwrap(), DatasetKind::TerraIncognita);
        let error = "pcas".parse::<DatasetKind>().unwrap_err().to_string();
        let wanted = "no data set `pcas`: choose one of vlcs, pacs, office_home, terra_incognita, \
            domain_net, folder; did you mean `pacs`?";
        assert_eq!(error, wanted);
        assert_eq!(serde_json::to_string(&DatasetKind::Pacs).unwrap(), "\"pacs\"");
        assert!(serde_json::from_str::<DatasetKind>("\"cifar\"").is_err());
    }
}
