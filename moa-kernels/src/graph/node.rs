//! A node of candle's graph around a result that is already there.
//!
//! candle's custom operations compute their result from raw storage. Here it is computed
//! from tensors that no graph sees, with any number of kernels, and then takes its place
//! in the graph together with a function for its gradients.

#![allow(unsafe_code)]

use super::tape::Backward;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, InplaceOp1, Layout, MetalStorage,
    Result, Shape, Storage, Tensor,
};
use std::sync::Mutex;

/// Makes `y` the result of an operation on `args`, one to three of them, in candle's graph.
pub fn node(name: &'static str, y: Tensor, args: &[&Tensor], backward: Backward) -> Result<Tensor> {
    let shape = y.shape().clone();
    let result = Mutex::new(Some(take(name, &y.contiguous()?)?));
    let op = Node { name, result, shape, backward };
    match *args {
        [a] => a.apply_op1(op),
        [a, b] => a.apply_op2(b, op),
        [a, b, c] => a.apply_op3(b, c, op),
        _ => candle_core::bail!("{name}: {} arguments", args.len()),
    }
}

/// Takes the storage of a whole tensor.
pub fn take(name: &'static str, y: &Tensor) -> Result<Storage> {
    if y.layout().start_offset() != 0 {
        candle_core::bail!("{name}: the result is part of another tensor");
    }
    let taken = Take::default();
    y.inplace_op1(&taken)?;
    let taken = taken.0.into_inner().unwrap_or_else(|e| e.into_inner());
    taken.ok_or_else(|| candle_core::Error::msg(format!("{name}: taken twice")))
}

/// Takes the storage out of a tensor.
#[derive(Default)]
struct Take(Mutex<Option<Storage>>);

impl Take {
    fn put(&self, storage: Storage) {
        *self.0.lock().unwrap_or_else(|e| e.into_inner()) = Some(storage);
    }
}

impl InplaceOp1 for Take {
    fn name(&self) -> &'static str {
        "moa-take"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, _: &Layout) -> Result<()> {
        let rest = CpuStorage::U8(Vec::new());
        self.put(Storage::Cpu(std::mem::replace(storage, rest)));
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, storage: &mut CudaStorage, _: &Layout) -> Result<()> {
        let device = storage.device.clone();
        // SAFETY: nobody reads what is left of a tensor whose storage was taken.
        let rest = unsafe { device.alloc::<u8>(1)? };
        let rest = CudaStorage::wrap_cuda_slice(rest, device);
        self.put(Storage::Cuda(std::mem::replace(storage, rest)));
        Ok(())
    }

    #[cfg(feature = "metal")]
    fn metal_fwd(&self, storage: &mut MetalStorage, _: &Layout) -> Result<()> {
        use candle_core::{DType, backend::BackendStorage};
        let device = storage.device().clone();
        let rest = device.new_buffer(1, DType::U8, "moa-take")?;
        let rest = MetalStorage::new(rest, device, 1, DType::U8);
        self.put(Storage::Metal(std::mem::replace(storage, rest)));
        Ok(())
    }
}

struct Node {
    name: &'static str,
    result: Mutex<Option<Storage>>,
    shape: Shape,
    backward: Backward,
}

impl Node {
    fn take(&self) -> Result<Storage> {
        let taken = self.result.lock().unwrap_or_else(|e| e.into_inner()).take();
        taken.ok_or_else(|| candle_core::Error::msg(format!("{}: taken twice", self.name)))
    }

    fn cpu(&self) -> Result<(CpuStorage, Shape)> {
        match self.take()? {
            Storage::Cpu(storage) => Ok((storage, self.shape.clone())),
            _ => candle_core::bail!("{}: arguments and result on two devices", self.name),
        }
    }

    fn cuda(&self) -> Result<(CudaStorage, Shape)> {
        match self.take()? {
            Storage::Cuda(storage) => Ok((storage, self.shape.clone())),
            _ => candle_core::bail!("{}: arguments and result on two devices", self.name),
        }
    }

    fn metal(&self) -> Result<(MetalStorage, Shape)> {
        match self.take()? {
            Storage::Metal(storage) => Ok((storage, self.shape.clone())),
            _ => candle_core::bail!("{}: arguments and result on two devices", self.name),
        }
    }

    fn grads<const N: usize>(&self, dy: &Tensor) -> Result<[Option<Tensor>; N]> {
        let grads = (self.backward)(&dy.contiguous()?)?;
        let wrong =
            |g: Vec<_>| candle_core::Error::msg(format!("{}: {} gradients", self.name, g.len()));
        grads.try_into().map_err(wrong)
    }
}

/// The three device functions of an operation; each argument is a storage and its layout.
macro_rules! forwards {
    ($($s:ident $l:ident),*) => {
        fn name(&self) -> &'static str {
            self.name
        }

        fn cpu_fwd(&self, $($s: &CpuStorage, $l: &Layout),*) -> Result<(CpuStorage, Shape)> {
            self.cpu()
        }

        fn cuda_fwd(&self, $($s: &CudaStorage, $l: &Layout),*) -> Result<(CudaStorage, Shape)> {
            self.cuda()
        }

        fn metal_fwd(&self, $($s: &MetalStorage, $l: &Layout),*) -> Result<(MetalStorage, Shape)> {
            self.metal()
        }
    };
}

impl CustomOp1 for Node {
    forwards!(_s _l);

    fn bwd(&self, _: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let [a] = self.grads(dy)?;
        Ok(a)
    }
}

impl CustomOp2 for Node {
    forwards!(_s1 _l1, _s2 _l2);

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [a, b] = self.grads(dy)?;
        Ok((a, b))
    }
}

impl CustomOp3 for Node {
    forwards!(_s1 _l1, _s2 _l2, _s3 _l3);

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [a, b, c] = self.grads(dy)?;
        Ok((a, b, c))
    }
}
