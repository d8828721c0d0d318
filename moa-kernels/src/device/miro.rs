//! MIRO's penalty.

use super::{node, rows, sum_rows, wide};
use crate::miro::EPS;
use candle_core::{Result, Tensor};

/// See [`crate::miro::penalty`]; the result has at least single precision.
pub fn penalty(x: &Tensor, target: &Tensor, b: &Tensor) -> Result<Tensor> {
    let gap = (wide(&rows(&x.detach().contiguous()?)?)? - wide(&rows(&target.contiguous()?)?)?)?;
    let (tokens, width) = gap.dims2()?;
    let distances = (sum_rows(&gap.sqr()?, gap.dtype())? / tokens as f64)?;
    let b_ = wide(&b.detach())?.to_dtype(gap.dtype())?;
    // log(1 + exp(b)) without its overflow.
    let softplus = (b_.relu()? + (b_.abs()?.neg()?.exp()? + 1.0)?.log()?)?;
    let v = (softplus + EPS)?;
    let sum = ((&distances / &v)? + v.log()?)?.sum_all()?;
    let mean = (sum / (2.0 * width as f64))?;
    let (wants, dtypes) = ([x.track_op(), b.track_op()], [x.dtype(), b.dtype()]);
    let shape = x.shape().clone();
    node("moa-miro", mean, &[x, b], move |grad| {
        let grad = wide(grad)?.to_dtype(gap.dtype())?;
        let mut grads = vec![None; 2];
        if wants[0] {
            let shares = (v.recip()? / (tokens * width) as f64)?.broadcast_mul(&grad)?;
            let dx = gap.broadcast_mul(&shares)?;
            grads[0] = Some(dx.to_dtype(dtypes[0])?.reshape(&shape)?);
        }
        if wants[1] {
            let slope = (b_.neg()?.exp()? + 1.0)?.recip()?;
            let off = ((&distances / &v)?.neg()? + 1.0)?;
            let db = ((off / &v)? * slope)?.broadcast_mul(&(grad / (2.0 * width as f64))?)?;
            grads[1] = Some(db.to_dtype(dtypes[1])?);
        }
        Ok(grads)
    })
}
