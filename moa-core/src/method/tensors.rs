//! Every trainable tensor of a method, by name.

use super::{LinearName, Method, Trains};
use crate::adapter::{Init, shared_tensors, tensors};
use crate::backbone::VitConfig;
use std::collections::BTreeMap;

impl Method {
    /// Shape and start of every tensor that trains besides the head.
    pub fn trainable(&self, config: &VitConfig) -> BTreeMap<String, (Vec<usize>, Init)> {
        let mut all = BTreeMap::new();
        for block in 0..config.depth {
            for which in LinearName::ALL {
                let path = which.path(block);
                if let Some(adapter) = &self.adapter
                    && self.adapts(which, block, config.depth)
                {
                    let sizes = which.sizes(config);
                    let list = tensors(&path, sizes, adapter, self.router.as_ref());
                    let shared = shared_tensors(adapter);
                    all.extend(list.into_iter().chain(shared).map(|(n, s, i)| (n, (s, i))));
                }
                let (width, out) = which.sizes(config);
                if self.places(which, block, config.depth) {
                    if self.trains == Trains::Linears {
                        all.insert(format!("{path}.weight"), (vec![out, width], Init::Pretrained));
                    }
                    let biases = matches!(self.trains, Trains::Linears | Trains::Biases);
                    if biases && which.has_bias(config) {
                        all.insert(format!("{path}.bias"), (vec![out], Init::Pretrained));
                    }
                }
            }
        }
        if self.trains == Trains::Everything {
            let body = config.tensors();
            all.extend(body.into_iter().map(|(name, shape)| (name, (shape, Init::Pretrained))));
        }
        all
    }

    /// The first block of `depth` in which anything trains: 0 if what stands before the
    /// blocks does too, `depth` if nothing but the head does.
    pub fn first_trained(&self, depth: usize) -> usize {
        let everything = self.trains == Trains::Everything;
        let placed = |block| LinearName::ALL.iter().any(|&which| self.places(which, block, depth));
        (0..depth).find(|&block| everything || placed(block)).unwrap_or(depth)
    }

    /// How many numbers train besides the head.
    pub fn parameters(&self, config: &VitConfig) -> usize {
        let shapes = self.trainable(config);
        shapes.values().map(|(shape, _)| shape.iter().product::<usize>()).sum()
    }
}
