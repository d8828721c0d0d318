//! Which linear layers a method touches.

use crate::backbone::{MlpKind, VitConfig};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A linear layer of a block, by timm's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinearName {
    /// The fused query, key and value projection.
    Qkv,
    /// The attention's output projection.
    Proj,
    /// The first layer of the MLP.
    Fc1,
    /// The second layer of the MLP.
    Fc2,
}

impl LinearName {
    /// All four, in the order of their numbers.
    pub const ALL: [LinearName; 4] =
        [LinearName::Qkv, LinearName::Proj, LinearName::Fc1, LinearName::Fc2];

    /// The layer's name in checkpoints.
    pub fn path(self, block: usize) -> String {
        let name = match self {
            LinearName::Qkv => "attn.qkv",
            LinearName::Proj => "attn.proj",
            LinearName::Fc1 => "mlp.fc1",
            LinearName::Fc2 => "mlp.fc2",
        };
        format!("blocks.{block}.{name}")
    }

    /// The layer's number in the counters of random numbers.
    pub fn number(self, block: usize) -> u16 {
        (4 * block + self as usize) as u16
    }

    /// Inputs and outputs.
    pub fn sizes(self, config: &VitConfig) -> (usize, usize) {
        let (dim, hidden) = (config.dim, config.mlp_hidden);
        match self {
            LinearName::Qkv => (dim, 3 * dim),
            LinearName::Proj => (dim, dim),
            LinearName::Fc1 if config.mlp == MlpKind::SwiGlu => (dim, 2 * hidden),
            LinearName::Fc1 => (dim, hidden),
            LinearName::Fc2 => (hidden, dim),
        }
    }

    /// Whether the backbone's layer has a bias.
    pub fn has_bias(self, config: &VitConfig) -> bool {
        self != LinearName::Qkv || config.qkv_bias
    }
}

/// Which blocks.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Blocks {
    /// Every block.
    #[default]
    All,
    /// Blocks 0, 2, 4, ... (the paper's "every").
    EveryTwo,
    /// The last two blocks.
    LastTwo,
    /// These blocks.
    List(Vec<usize>),
}

impl Blocks {
    /// True if `block` of `depth` is one of them.
    pub fn contains(&self, block: usize, depth: usize) -> bool {
        match self {
            Blocks::All => true,
            Blocks::EveryTwo => block.is_multiple_of(2),
            Blocks::LastTwo => block + 2 >= depth,
            Blocks::List(list) => list.contains(&block),
        }
    }
}

impl Serialize for Blocks {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Blocks::All => s.serialize_str("all"),
            Blocks::EveryTwo => s.serialize_str("every-two"),
            Blocks::LastTwo => s.serialize_str("last-two"),
            Blocks::List(list) => list.serialize(s),
        }
    }
}

impl<'de> Deserialize<'de> for Blocks {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Name(String),
            List(Vec<usize>),
        }
        match Form::deserialize(d) {
            Ok(Form::List(list)) => Ok(Blocks::List(list)),
            Ok(Form::Name(name)) if name == "all" => Ok(Blocks::All),
            Ok(Form::Name(name)) if name == "every-two" => Ok(Blocks::EveryTwo),
            Ok(Form::Name(name)) if name == "last-two" => Ok(Blocks::LastTwo),
            _ => Err(D::Error::custom(
                "blocks must be \"all\", \"every-two\", \"last-two\" or a list of block numbers",
            )),
        }
    }
}
