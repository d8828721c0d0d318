//! Compiles `cuda/*.cu` to PTX with nvcc, if the feature `cuda` is on, and links a BLAS, if one
//! is wanted.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=cuda");
    blas();
    if let Err(error) = kernels() {
        println!("cargo::error=the CUDA kernels do not compile: {error}");
    }
}

/// Accelerate with its feature on macOS, or the library that `MOA_BLAS` names.
fn blas() {
    println!("cargo::rerun-if-env-changed=MOA_BLAS");
    println!("cargo::rustc-check-cfg=cfg(blas)");
    let apple = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "macos");
    let library = match std::env::var("MOA_BLAS") {
        Ok(name) => name,
        Err(_) if apple && cfg!(feature = "accelerate") => "framework=Accelerate".into(),
        Err(_) => return,
    };
    println!("cargo::rustc-cfg=blas");
    println!("cargo::rustc-link-lib={library}");
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

/// Without the feature their code is empty.
#[cfg(not(feature = "cuda"))]
fn kernels() -> Result<(), Box<dyn std::error::Error>> {
    let mut code = String::new();
    for file in std::fs::read_dir("cuda")? {
        let path = file?.path();
        if let Some(stem) = path.file_stem().filter(|_| path.extension().is_some_and(|e| e == "cu"))
        {
            let name = stem.to_string_lossy().to_uppercase();
            code += &format!("pub const {name}: &str = \"\";\n");
        }
    }
    std::fs::write(std::path::Path::new(&std::env::var("OUT_DIR")?).join("ptx.rs"), code)?;
    Ok(())
}
