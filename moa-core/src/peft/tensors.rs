//! The tensors of an adapter file, taken one by one: what is left belongs to nobody.

use crate::error::{Error, Result};
use crate::suggest::nearest;
use candle_core::Tensor;
use std::collections::BTreeMap;

/// What stands in front of every name in a file of PEFT.
pub(super) const PREFIX: &str = "base_model.model.";

/// Tensors by their names in the file.
pub(super) struct Tensors {
    left: BTreeMap<String, Tensor>,
    taken: Vec<String>,
}

impl Tensors {
    pub(super) fn new(all: BTreeMap<String, Tensor>) -> Self {
        Self { left: all, taken: Vec::new() }
    }

    /// True if the file has this tensor; `name` without [`PREFIX`].
    pub(super) fn has(&self, name: &str) -> bool {
        self.left.contains_key(&format!("{PREFIX}{name}"))
    }

    /// Takes a tensor.
    pub(super) fn take(&mut self, name: &str) -> Result<Tensor> {
        let name = format!("{PREFIX}{name}");
        let tensor = self.left.remove(&name).ok_or_else(|| Error::missing(&name, &self.left))?;
        self.taken.push(name);
        Ok(tensor)
    }

    /// Takes a tensor of `rows` and, however it is shaped, as many numbers as `columns`
    /// in each: a convolution's weight lies like a matrix.
    pub(super) fn take_flat(&mut self, name: &str, shape: [usize; 2]) -> Result<Tensor> {
        let tensor = self.take(name)?;
        let [rows, columns] = shape;
        // DoRA's magnitudes of a convolution are `[1, rows, 1, 1]`.
        let leads = tensor.dims().first() == Some(&rows) || tensor.dims() == [1, rows, 1, 1];
        match tensor.elem_count() == rows * columns && leads {
            true => Ok(tensor.reshape((rows, columns))?),
            false => Err(misshapen(name, shape.to_vec(), &tensor)),
        }
    }

    /// Refuses what nobody took, but for the names that `ignores` says.
    pub(super) fn finish(self, ignores: impl Fn(&str) -> bool) -> Result<usize> {
        let strange = |name: &&String| !ignores(name.strip_prefix(PREFIX).unwrap_or(name));
        match self.left.keys().find(strange) {
            None => Ok(self.left.len()),
            Some(name) => {
                let near = nearest(name, self.taken.iter()).map(String::from);
                Err(Error::Extra { name: name.clone(), near })
            }
        }
    }
}

/// A tensor with another shape than it must have.
pub(super) fn misshapen(name: &str, wanted: Vec<usize>, found: &Tensor) -> Error {
    Error::Shape { name: format!("{PREFIX}{name}"), wanted, found: found.dims().to_vec() }
}
