//! Tensors of a model by name: frozen ones and trainable ones.

use crate::error::{Error, Result};
use crate::pass::Pass;
use candle_core::{DType, Device, Tensor, Var};
use std::collections::{BTreeMap, BTreeSet};

/// One tensor of a model.
#[derive(Clone, Debug)]
pub enum Param {
    /// Never changes and never gets a gradient.
    Frozen(Tensor),
    /// Trains.
    Trainable(Var),
}

impl Param {
    /// The tensor as `pass` needs it: tracked only where gradients are wanted.
    pub fn get(&self, pass: &Pass<'_>) -> Tensor {
        match self {
            Param::Frozen(tensor) => tensor.clone(),
            Param::Trainable(var) if pass.tracks() => var.as_tensor().clone(),
            Param::Trainable(var) => var.as_detached_tensor(),
        }
    }

    /// The tensor as it is now, frozen.
    pub(crate) fn pretrained(&self) -> Result<Self> {
        Ok(match self {
            Param::Frozen(tensor) => Param::Frozen(tensor.clone()),
            Param::Trainable(var) => Param::Frozen(var.as_detached_tensor().copy()?),
        })
    }

    /// The tensor without its history.
    pub fn value(&self) -> Tensor {
        match self {
            Param::Frozen(tensor) => tensor.clone(),
            Param::Trainable(var) => var.as_detached_tensor(),
        }
    }
}

/// The tensors that a model is built from. Layers take theirs by name; what is
/// left at the end belongs to nobody.
pub struct Store {
    tensors: BTreeMap<String, Tensor>,
    trainable: BTreeSet<String>,
    taken: BTreeMap<String, Var>,
    /// Type of frozen tensors. Those that train have at least single precision.
    pub dtype: DType,
    /// Device of all tensors.
    pub device: Device,
}

impl Store {
    /// A store of `tensors`, of which the names in `trainable` train.
    pub fn new(
        tensors: BTreeMap<String, Tensor>,
        trainable: BTreeSet<String>,
        dtype: DType,
        device: &Device,
    ) -> Self {
        Self { tensors, trainable, taken: BTreeMap::new(), dtype, device: device.clone() }
    }

    /// Takes a tensor that must have `shape`.
    ///
    /// # Errors
    /// If it is missing or has another shape.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Param> {
        // A tensor that several layers share stays; it is one variable.
        if let Some(var) = self.taken.get(name) {
            return Ok(Param::Trainable(var.clone()));
        }
        let tensor = self.tensors.get(name).ok_or_else(|| Error::missing(name, &self.tensors))?;
        if tensor.dims() != shape {
            return Err(Error::Shape {
                name: name.into(),
                wanted: shape.to_vec(),
                found: tensor.dims().to_vec(),
            });
        }
        let trains = self.trainable.contains(name);
        let dtype = match self.dtype {
            DType::F16 | DType::BF16 if trains => DType::F32,
            dtype => dtype,
        };
        let tensor = tensor.to_dtype(dtype)?.to_device(&self.device)?.contiguous()?;
        if !trains {
            return Ok(Param::Frozen(tensor));
        }
        let var = Var::from_tensor(&tensor)?;
        self.taken.insert(name.into(), var.clone());
        Ok(Param::Trainable(var))
    }

    /// True if there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The trainable tensors that were taken, by name.
    ///
    /// # Errors
    /// If a tensor that should train was not taken by any layer.
    pub fn finish(self) -> Result<BTreeMap<String, Var>> {
        match self.trainable.iter().find(|name| !self.taken.contains_key(*name)) {
            Some(name) => Err(Error::Unused(name.clone())),
            None => Ok(self.taken),
        }
    }
}
