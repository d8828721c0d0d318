//! Compiles `cuda/*.cu` to PTX with nvcc, if the feature `cuda` is on.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=cuda");
    #[cfg(feature = "cuda")]
    if let Err(error) = kernels() {
        println!("cargo::error=the CUDA kernels do not compile: {error}");
    }
}

#[cfg(feature = "cuda")]
fn kernels() -> Result<(), Box<dyn std::error::Error>> {
    let ptx = std::path::PathBuf::from(std::env::var("OUT_DIR")?).join("ptx.rs");
    let built = cudaforge::KernelBuilder::new()
        .source_dir("cuda")
        .arg("--expt-relaxed-constexpr")
        .arg("-std=c++17")
        .arg("-O3")
        .build_ptx()?;
    built.write(&ptx)?;
    Ok(())
}
