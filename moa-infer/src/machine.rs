//! What a report says about this machine.

use candle_core::Device;
use std::process::Command;

/// Names and values: version, system, processor, device, driver.
pub fn facts(device: &Device) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("version", format!("moa-infer {}", env!("CARGO_PKG_VERSION"))),
        ("system", format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)),
        ("device", moa_core::device::name(device)),
    ];
    facts.extend(processor().map(|name| ("processor", name)));
    if device.is_cuda() {
        let query = ["--query-gpu=name,driver_version", "--format=csv,noheader"];
        let found = output("nvidia-smi", &query).unwrap_or_else(|| "not known".into());
        facts.push(("GPU, driver", found.replace('\n', "; ")));
    }
    if let Some(why) = moa_kernels::without_kernels(device) {
        facts.push((
            "kernels",
            format!("none, candle's own operations: {}", why.replace('\n', "; ")),
        ));
    }
    facts
}

/// The processor's name, where the system tells it.
fn processor() -> Option<String> {
    let line = |text: String| {
        let line = text.lines().find(|line| line.starts_with("model name"))?.to_string();
        Some(line.split_once(':')?.1.trim().to_string())
    };
    match std::fs::read_to_string("/proc/cpuinfo") {
        Ok(text) => line(text),
        Err(_) => output("sysctl", &["-n", "machdep.cpu.brand_string"]),
    }
}

fn output(program: &str, args: &[&str]) -> Option<String> {
    let out = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8_lossy(&out.stdout).trim().to_string();
    (out.status.success() && !text.is_empty()).then_some(text)
}
