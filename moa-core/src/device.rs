//! `--device auto|cpu|cuda[:N]|metal`.

use crate::error::{Error, Result};
use candle_core::Device;
use std::str::FromStr;

/// What the user asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceSpec {
    /// The first CUDA device, else Metal, else the CPU.
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
    /// Opens the device. An explicit one that is not there is an error, never a
    /// silent run on the CPU.
    ///
    /// # Errors
    /// If this program was built without the feature, or the device does not answer.
    pub fn open(self) -> Result<Device> {
        match self {
            DeviceSpec::Cpu => Ok(Device::Cpu),
            DeviceSpec::Cuda(n) if cfg!(feature = "cuda") => {
                Device::new_cuda(n).map_err(|e| Error::device(format!("cuda:{n}"), e))
            }
            DeviceSpec::Cuda(_) => Err(Error::DeviceFeature("cuda")),
            DeviceSpec::Metal if cfg!(feature = "metal") => {
                Device::new_metal(0).map_err(|e| Error::device("metal".into(), e))
            }
            DeviceSpec::Metal => Err(Error::DeviceFeature("metal")),
            DeviceSpec::Auto => {
                let candidates = [DeviceSpec::Cuda(0), DeviceSpec::Metal];
                Ok(candidates.iter().find_map(|c| c.open().ok()).unwrap_or(Device::Cpu))
            }
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
