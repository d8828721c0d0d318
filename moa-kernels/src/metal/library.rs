//! Libraries and kernels of each device, compiled once.

use super::source::{FILES, whole};
use candle_core::{MetalDevice, Result};
use candle_metal_kernels::metal::{ComputePipeline, Library};
use objc2_metal::{MTLCompileOptions, MTLComputePipelineState};
use std::collections::HashMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

/// Lanes of a SIMD group that the kernels count on.
const WIDTH: usize = 32;

/// Kernels that need as many threads in a group: a device that has fewer runs none of ours.
const LARGE: [(&str, &str, usize); 1] = [("order", "order", 512)];

/// What one device has.
struct Own {
    device: MetalDevice,
    libraries: HashMap<&'static str, Library>,
    pipelines: HashMap<String, ComputePipeline>,
    refused: Option<String>,
}

static ALL: Mutex<Vec<Own>> = Mutex::new(Vec::new());

/// Calls `f` with what the device has, compiled now if it is the first time.
fn with<R>(device: &MetalDevice, f: impl FnOnce(&mut Own) -> R) -> R {
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    let known = all.iter().position(|own| own.device.id() == device.id());
    let at = known.unwrap_or_else(|| {
        all.push(Own::new(device));
        all.len() - 1
    });
    f(&mut all[at])
}

/// What the compiler said, if a file did not compile.
pub fn refused(device: &MetalDevice) -> Option<String> {
    with(device, |own| own.refused.clone())
}

/// A kernel of a file, ready to be launched with so many threads to a group.
pub fn pipeline(
    device: &MetalDevice,
    file: &str,
    kernel: &str,
    threads: usize,
) -> Result<ComputePipeline> {
    with(device, |own| own.pipeline(file, kernel, threads)).map_err(candle_core::Error::msg)
}

impl Own {
    fn new(device: &MetalDevice) -> Self {
        let (libraries, pipelines) = (HashMap::new(), HashMap::new());
        let mut own = Self { device: device.clone(), libraries, pipelines, refused: None };
        let compiled = own.compile().and_then(|()| {
            LARGE.iter().try_for_each(|&(file, kernel, threads)| {
                own.pipeline(file, kernel, threads).map(|_| ())
            })
        });
        if let Err(error) = compiled {
            let used = "candle's own operations are used instead of the Metal kernels";
            let _ = writeln!(std::io::stderr(), "warning: {used}: {error}");
            own.refused = Some(error);
        }
        own
    }

    fn compile(&mut self) -> std::result::Result<(), String> {
        let options = MTLCompileOptions::new();
        // Sums have an order, infinity a meaning.
        #[allow(deprecated)] // what replaces it needs macOS 15
        options.setFastMathEnabled(false);
        for (name, text) in FILES {
            let library = self.device.new_library_with_source(&whole(text), Some(&options));
            let library = library.map_err(|e| format!("{name} does not compile: {e}"))?;
            self.libraries.insert(name.trim_end_matches(".metal"), library);
        }
        Ok(())
    }

    fn pipeline(
        &mut self,
        file: &str,
        kernel: &str,
        threads: usize,
    ) -> std::result::Result<ComputePipeline, String> {
        if let Some(known) = self.pipelines.get(kernel) {
            return Ok(known.clone());
        }
        let library = self.libraries.get(file).ok_or_else(|| format!("no library {file}"))?;
        let wrong = |e| format!("{kernel}: {e}");
        let function = library.get_function(kernel, None).map_err(wrong)?;
        let pipeline = self.device.new_compute_pipeline_state_with_function(&function);
        let pipeline = pipeline.map_err(wrong)?;
        if pipeline.as_ref().threadExecutionWidth() != WIDTH {
            return Err(format!("{kernel}: SIMD groups do not have {WIDTH} lanes"));
        }
        let most = pipeline.max_total_threads_per_threadgroup();
        if most < threads {
            return Err(format!("{kernel}: a group has {most} threads at most, not {threads}"));
        }
        self.pipelines.insert(kernel.into(), pipeline.clone());
        Ok(pipeline)
    }
}
