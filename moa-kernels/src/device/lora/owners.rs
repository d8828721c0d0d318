//! Which expert each rank belongs to, on the device once.

use super::wide;
use candle_core::{DType, Device, DeviceLocation, Result, Tensor};
use std::collections::HashMap;
use std::sync::Mutex;

/// The expert of every rank of a layer; ranks that only fill up belong to none.
#[derive(Clone)]
pub struct Owners {
    /// 1 where a rank belongs to an expert, `[experts, total]`.
    pub table: Tensor,
    /// The number of each rank's expert, or the number of experts, `[total]` `u32`.
    pub list: Tensor,
}

type Known = HashMap<(Vec<usize>, usize, DType, DeviceLocation), Owners>;

static KNOWN: Mutex<Option<Known>> = Mutex::new(None);

impl Owners {
    /// For experts of these ranks, `total` with those that fill up; type and device are those
    /// of `like`. Sent to the device only the first time.
    pub fn of(ranks: Vec<usize>, total: usize, like: &Tensor) -> Result<Self> {
        let key = (ranks, total, like.dtype(), like.device().location());
        let mut known = KNOWN.lock().unwrap_or_else(|e| e.into_inner());
        let known = known.get_or_insert_default();
        if let Some(owners) =
            known.get(&key).filter(|o| o.table.device().same_device(like.device()))
        {
            return Ok(owners.clone());
        }
        let owners = Self::new(&key.0, total, like)?;
        known.insert(key, owners.clone());
        Ok(owners)
    }

    fn new(ranks: &[usize], total: usize, like: &Tensor) -> Result<Self> {
        let mut list: Vec<u32> = Vec::with_capacity(total);
        for (e, rank) in ranks.iter().enumerate() {
            list.extend(std::iter::repeat_n(e as u32, *rank));
        }
        list.resize(total, ranks.len() as u32);
        let table: Vec<f32> = (0..ranks.len() as u32)
            .flat_map(|e| list.iter().map(move |&owner| f32::from(u8::from(owner == e))))
            .collect();
        let table = Tensor::from_vec(table, (ranks.len(), total), &Device::Cpu)?;
        Ok(Self {
            table: wide(&table.to_dtype(like.dtype())?)?.to_device(like.device())?,
            list: Tensor::from_vec(list, total, like.device())?,
        })
    }
}
