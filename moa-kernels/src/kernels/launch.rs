//! Launching kernels on tensors.

use super::emulate;
#[cfg(feature = "cuda")]
use crate::cuda::driver;
use candle_core::{DType, Device, Result, Shape, Tensor};

/// Threads of a block, in kernels that give each thread elements.
const BLOCK: u32 = 256;
/// Warps of a block, in kernels that give each warp a row.
const WARPS: u32 = 4;

/// A kernel about to be launched; arguments are added in the order of its parameters.
pub struct Launch {
    pub(crate) device: Device,
    pub(crate) module: (&'static str, &'static str),
    pub(crate) name: String,
    pub(crate) args: Vec<Arg>,
}

/// An argument of a kernel.
pub(crate) enum Arg {
    Tensor(Tensor),
    Null,
    Int(i32),
    Long(i64),
    Float(f32),
    Double(f64),
    Quad(Quad),
    Words(Words),
    Table(Vec<Tensor>),
    Counts(Counts),
}

impl Arg {
    /// Of a number, or a structure of numbers; one of double precision as two of single, as
    /// Metal has it. None of tensors.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self {
            Arg::Tensor(_) | Arg::Null | Arg::Table(_) => Vec::new(),
            Arg::Int(v) => v.to_ne_bytes().into(),
            Arg::Long(v) => v.to_ne_bytes().into(),
            Arg::Float(v) => v.to_ne_bytes().into(),
            Arg::Double(v) => {
                let (high, low) = (*v as f32, (v - f64::from(*v as f32)) as f32);
                [high, low].iter().flat_map(|v| v.to_ne_bytes()).collect()
            }
            Arg::Quad(v) => v.0.iter().flat_map(|v| v.to_ne_bytes()).collect(),
            Arg::Words(v) => v.0.iter().flat_map(|v| v.to_ne_bytes()).collect(),
            Arg::Counts(v) => v.0.iter().flat_map(|v| v.to_ne_bytes()).collect(),
        }
    }
}

/// Tensors of one launch that takes many.
pub const TENSORS: usize = 24;

/// As many numbers.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Counts(pub [i64; TENSORS]);

/// A structure of four 32-bit numbers.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Quad(pub [u32; 4]);

/// A structure of eight 32-bit numbers, some of them halves of one of 64 bits.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub struct Words(pub [u32; 8]);

/// The end of a kernel's name for an element type.
fn suffix(dtype: DType) -> Result<&'static str> {
    match dtype {
        DType::F32 => Ok("_f32"),
        DType::F16 => Ok("_f16"),
        DType::BF16 => Ok("_bf16"),
        other => candle_core::bail!("no kernel takes {other:?}"),
    }
}

/// A new tensor on the device of `like`, nothing written to it yet.
pub fn empty(shape: impl Into<Shape>, dtype: DType, like: &Tensor) -> Result<Tensor> {
    let shape = shape.into();
    match like.device() {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => driver::empty(shape, dtype, device),
        #[cfg(feature = "metal")]
        Device::Metal(device) => crate::metal::driver::empty(shape, dtype, device),
        device => emulate::empty(shape, dtype, device),
    }
}

/// The widest floats of the device of `like`.
pub fn widest(like: &Tensor) -> DType {
    if crate::metal::is(like.device()) { DType::F32 } else { DType::F64 }
}

/// Of a CUDA device, as `(major, minor)`; what is not one is as able as the newest.
pub fn compute_capability(device: &Device) -> Result<(i32, i32)> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => driver::compute_capability(device),
        _ => Ok(emulate::COMPUTE_CAPABILITY),
    }
}

impl Launch {
    /// The kernel `name` of `module` (its name and code), as it is.
    pub fn plain(
        device: &Device,
        module: (&'static str, &'static str),
        name: impl Into<String>,
    ) -> Result<Self> {
        let device = device.clone();
        Ok(Self { device, module, name: name.into(), args: Vec::new() })
    }

    /// The instance of the kernel for elements of `dtype`.
    pub fn of(
        device: &Device,
        module: (&'static str, &'static str),
        name: &str,
        dtype: DType,
    ) -> Result<Self> {
        Self::plain(device, module, format!("{name}{}", suffix(dtype)?))
    }

    /// The file that the kernel is in, without its ending.
    pub(crate) fn file(&self) -> String {
        self.module.0.trim_start_matches("moa-").replace('-', "_")
    }

    fn add(mut self, arg: Arg) -> Self {
        self.args.push(arg);
        self
    }

    pub fn tensor(self, t: &Tensor) -> Result<Self> {
        if !t.is_contiguous() {
            candle_core::bail!("{}: a tensor is not contiguous", self.name);
        }
        Ok(self.add(Arg::Tensor(t.clone())))
    }

    /// The addresses of up to [`TENSORS`] tensors.
    pub fn table<'a>(self, tensors: impl Iterator<Item = &'a Tensor>) -> Result<Self> {
        let tensors: Vec<_> = tensors.cloned().collect();
        if tensors.len() > TENSORS || tensors.iter().any(|t| !t.is_contiguous()) {
            candle_core::bail!("{}: too many tensors, or one is not contiguous", self.name);
        }
        Ok(self.add(Arg::Table(tensors)))
    }

    /// As many numbers.
    pub fn counts(self, numbers: impl Iterator<Item = usize>) -> Self {
        let mut counts = [0; TENSORS];
        counts.iter_mut().zip(numbers).for_each(|(to, n)| *to = n as i64);
        self.add(Arg::Counts(Counts(counts)))
    }

    /// A view from its first element on, its strides known to the kernel.
    pub fn whole(self, t: &Tensor) -> Self {
        self.add(Arg::Tensor(t.clone()))
    }

    pub fn optional(self, t: Option<&Tensor>) -> Result<Self> {
        match t {
            Some(t) => self.tensor(t),
            None => Ok(self.add(Arg::Null)),
        }
    }

    pub fn int(self, v: usize) -> Self {
        self.add(Arg::Int(v as i32))
    }

    pub fn long(self, v: usize) -> Self {
        self.add(Arg::Long(v as i64))
    }

    pub fn float(self, v: f64) -> Self {
        self.add(Arg::Float(v as f32))
    }

    pub fn double(self, v: f64) -> Self {
        self.add(Arg::Double(v))
    }

    pub fn quad(self, v: [u32; 4]) -> Self {
        self.add(Arg::Quad(Quad(v)))
    }

    pub fn words(self, v: Words) -> Self {
        self.add(Arg::Words(v))
    }

    /// One thread for each element, or for each 16 bytes of them where rows of `cols`
    /// elements and all tensors begin at such places.
    pub fn elements(mut self, count: usize, cols: usize) -> Result<()> {
        let per_thread = self.widen(cols)?;
        let blocks = count.div_ceil(per_thread).div_ceil(BLOCK as usize);
        self.launch((blocks as u32, 1, 1), (BLOCK, 1))
    }

    /// One thread for each of `count` things, whatever it is.
    pub fn threads(self, count: usize, of: usize) -> Result<()> {
        let blocks = count.div_ceil(BLOCK as usize);
        self.launch((blocks as u32, of as u32, 1), (BLOCK, 1))
    }

    /// One warp for each of `count` things, `of` times.
    pub fn warps_of(self, count: usize, of: usize) -> Result<()> {
        self.launch((count.div_ceil(WARPS as usize) as u32, of as u32, 1), (32, WARPS))
    }

    /// Blocks of so many threads.
    pub fn blocks(self, grid: (u32, u32, u32), threads: u32) -> Result<()> {
        self.launch(grid, (threads, 1))
    }

    /// The same with 16 bytes moved at once where rows of `cols` elements and all tensors begin
    /// at such places; the grid depends on the elements that a thread moves.
    pub fn wide_blocks(
        mut self,
        cols: usize,
        grid: impl FnOnce(usize) -> usize,
        threads: u32,
    ) -> Result<()> {
        let blocks = grid(self.widen(cols)?);
        self.launch((blocks as u32, 1, 1), (threads, 1))
    }

    /// One thread.
    pub fn single(self) -> Result<()> {
        self.launch((1, 1, 1), (1, 1))
    }

    /// One warp for each of `rows` rows of `cols` elements.
    pub fn warps(mut self, rows: usize, cols: usize) -> Result<()> {
        self.widen(cols)?;
        self.launch((rows.div_ceil(WARPS as usize) as u32, 1, 1), (32, WARPS))
    }

    /// Takes the instance that moves 16 bytes at once if it can be; returns the number of
    /// elements that a thread moves.
    fn widen(&mut self, cols: usize) -> Result<usize> {
        let bytes = if self.name.ends_with("_f32") { 4 } else { 2 };
        let wide = 16 / bytes;
        let mut aligned = cols.is_multiple_of(wide);
        for arg in &self.args {
            if let Arg::Tensor(t) = arg {
                aligned &= t.layout().start_offset().is_multiple_of(wide);
            }
        }
        if !aligned {
            return Ok(1);
        }
        self.name.push_str("_wide");
        Ok(wide)
    }

    fn launch(self, grid: (u32, u32, u32), block: (u32, u32)) -> Result<()> {
        if grid.0 == 0 || grid.1 == 0 || grid.2 == 0 {
            return Ok(()); // nothing to do
        }
        let at = (grid, block);
        match self.device.clone() {
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => driver::launch(&device, self, at),
            #[cfg(feature = "metal")]
            Device::Metal(device) => crate::metal::driver::launch(&device, &self, at),
            _ => emulate::launch(self, at),
        }
    }
}
