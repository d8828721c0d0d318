//! A stretch as candle's operation.

use super::passes::Stretch;
use crate::cpu::{Read, Real, by_float, data, element, tensor};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};

impl Stretch {
    fn run<T: Real>(&self, x: &[T], qkv: Option<&[T]>) -> Result<(CpuStorage, Shape)> {
        let (y, kept) = self.forward(x, qkv)?;
        if self.keeps {
            *self.kept.lock().unwrap_or_else(|e| e.into_inner()) = Some(kept);
        }
        let dims = self.dims().pop().unwrap_or(self.dims);
        Ok(element(y, dims.to_vec()))
    }
}

impl CustomOp1 for Stretch {
    fn name(&self) -> &'static str {
        "moa-stretch"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        by_float!(x.dtype(), "stretch", T => self.run::<T>(data(x, layout)?, None))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let dy = dy.contiguous()?;
        by_float!(x.dtype(), "stretch", T => {
            let (dx, _) = self.backward::<T>(&Read::new(x)?, None, &Read::new(&dy)?)?;
            Ok(Some(tensor(dx, x.shape(), x)?))
        })
    }
}

impl CustomOp2 for Stretch {
    fn name(&self) -> &'static str {
        "moa-stretch"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        qkv: &CpuStorage,
        lq: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        by_float!(x.dtype(), "stretch", T => self.run::<T>(data(x, lx)?, Some(data(qkv, lq)?)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        qkv: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        by_float!(x.dtype(), "stretch", T => {
            let given = Read::new(qkv)?;
            let (dx, dqkv) = self.backward::<T>(&Read::new(x)?, Some(&given), &Read::new(&dy)?)?;
            let dx = x.track_op().then(|| tensor(dx, x.shape(), x)).transpose()?;
            let dqkv = dqkv.filter(|_| qkv.track_op());
            Ok((dx, dqkv.map(|d| tensor(d, qkv.shape(), qkv)).transpose()?))
        })
    }
}
