//! `--device auto|cpu|cuda[:N]|metal`.

use crate::error::{Error, Result};
use candle_core::Device;
use std::str::FromStr;

/// What the user asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceSpec {
    /// The first CUDA device if this program was built for one and it answers, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A CUDA device by number.
    Cuda(usize),
    /// Metal.
    Metal,
}

impl FromStr for DeviceSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let unknown = || Error::DeviceSpec(text.into());
        Ok(match text {
            "auto" => DeviceSpec::Auto,
            "cpu" => DeviceSpec::Cpu,
            "cuda" => DeviceSpec::Cuda(0),
            "metal" => DeviceSpec::Metal,
            _ => {
                let number = text.strip_prefix("cuda:").ok_or_else(unknown)?;
                DeviceSpec::Cuda(number.parse().map_err(|_| unknown())?)
            }
        })
    }
}

impl DeviceSpec {
    /// Opens the device. An explicit one that cannot be used is an error, never a
    /// silent run on the CPU.
    ///
    /// # Errors
    /// If this program was built without the feature, the device does not answer,
    /// or `moa-kernels` has no kernels for it.
    pub fn open(self) -> Result<Device> {
        let (name, opened) = match self {
            DeviceSpec::Auto if cfg!(feature = "cuda") => {
                return Ok(DeviceSpec::Cuda(0).open().unwrap_or(Device::Cpu));
            }
            DeviceSpec::Auto | DeviceSpec::Cpu => return Ok(Device::Cpu),
            DeviceSpec::Cuda(_) if !cfg!(feature = "cuda") => {
                return Err(Error::DeviceFeature("cuda"));
            }
            DeviceSpec::Metal if !cfg!(feature = "metal") => {
                return Err(Error::DeviceFeature("metal"));
            }
            // A stream of its own: the default one differs from thread to thread.
            DeviceSpec::Cuda(n) => (format!("cuda:{n}"), Device::new_cuda_with_stream(n)),
            DeviceSpec::Metal => ("metal".to_string(), Device::new_metal(0)),
        };
        let failed = |e: candle_core::Error| Error::device(name.clone(), e.to_string());
        let device = opened.map_err(failed)?;
        moa_kernels::memory::prepare(&device).map_err(failed)?;
        match moa_kernels::supports(&device) {
            true => Ok(device),
            false => Err(Error::device(name, "this release has no kernels for it".into())),
        }
    }
}

/// How a device is printed.
pub fn name(device: &Device) -> String {
    match device.location() {
        candle_core::DeviceLocation::Cpu => "cpu".into(),
        candle_core::DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        candle_core::DeviceLocation::Metal { .. } => "metal".into(),
    }
}
