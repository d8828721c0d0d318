//! Compiles a file of kernels for the CPU when one of them is first launched.
//!
//! | variable | |
//! |---|---|
//! | `CXX` | the compiler of C++, else `c++`, `g++` or `clang++` |
//! | `MOA_KERNEL_SOURCES` | a folder with other sources than those of this crate |
//! | `MOA_SHIM_THREADS` | anything: threads of a block are real ones, watched by ThreadSanitizer |

use super::Launch;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};

const FLAGS: &[&str] = &["-std=c++20", "-O1", "-g1", "-shared", "-fPIC", "-w", "-U_FORTIFY_SOURCE"];
const THREADS: &[&str] = &["-DSHIM_THREADS", "-fsanitize=thread", "-pthread"];

/// The compiler of C++, if there is one.
pub fn compiler() -> Option<&'static str> {
    static FOUND: OnceLock<Option<String>> = OnceLock::new();
    let runs = |name: &String| {
        Command::new(name).arg("--version").output().is_ok_and(|out| out.status.success())
    };
    let names = || match std::env::var("CXX") {
        Ok(name) => vec![name],
        Err(_) => ["c++", "g++", "clang++"].map(String::from).to_vec(),
    };
    FOUND.get_or_init(|| names().into_iter().find(runs)).as_deref()
}

type Slot = Arc<OnceLock<Result<Launch, String>>>;

/// The kernels of `FILE.cu`.
pub fn library(file: &str) -> Result<Launch, String> {
    static ALL: Mutex<Option<HashMap<String, Slot>>> = Mutex::new(None);
    let slot = {
        let mut all = ALL.lock().unwrap_or_else(|e| e.into_inner());
        all.get_or_insert_default().entry(file.into()).or_default().clone()
    };
    slot.get_or_init(|| load(&compile(file)?)).clone()
}

/// True if threads of a block are real ones.
pub fn real_threads() -> bool {
    std::env::var_os("MOA_SHIM_THREADS").is_some()
}

fn sources() -> PathBuf {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("cuda");
    std::env::var("MOA_KERNEL_SOURCES").map_or_else(|_| own(), PathBuf::from)
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}

/// A library of the kernels of `FILE.cu`, made before or now.
fn compile(file: &str) -> Result<PathBuf, String> {
    let (sources, shim) = (sources(), Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shim"));
    let compiler = compiler().ok_or("no compiler of C++")?;
    let flags = if real_threads() { [FLAGS, THREADS].concat() } else { FLAGS.to_vec() };
    let source = read(&sources.join(format!("{file}.cu")))?;
    let mut hash = DefaultHasher::new();
    (compiler, &flags, &source).hash(&mut hash);
    for folder in [&sources, &shim] {
        let entries =
            std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let mut headers: Vec<_> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
        headers.retain(|p| p.extension().is_some_and(|e| e == "h" || e == "cuh"));
        headers.sort();
        for header in headers {
            (header.file_name(), read(&header)?).hash(&mut hash);
        }
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shim");
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let stem = format!("{file}-{:016x}", hash.finish());
    let library = folder.join(format!("{stem}.so"));
    if library.exists() {
        return Ok(library);
    }
    let (unit, part) = (folder.join(format!("{stem}.cpp")), folder.join(format!("{stem}.part")));
    let write = |path: &Path, text: &str| {
        std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
    };
    write(&unit, &around(file, &source))?;
    let out = Command::new(compiler)
        .args(&flags)
        .arg("-I")
        .arg(&shim)
        .arg("-I")
        .arg(&sources)
        .arg(&unit)
        .arg("-o")
        .arg(&part)
        .output()
        .map_err(|e| format!("{compiler}: {e}"))?;
    if !out.status.success() {
        return Err(format!("{compiler} on {file}.cu:\n{}", String::from_utf8_lossy(&out.stderr)));
    }
    std::fs::rename(&part, &library).map_err(|e| format!("{}: {e}", library.display()))?;
    Ok(library)
}

/// The source and a list of its kernels. What it defines stays its own.
fn around(file: &str, source: &str) -> String {
    let kernels: Vec<_> = kernels(source).iter().map(|k| format!("KERNEL({k})")).collect();
    format!(
        "#include \"cuda.h\"\n#include \"kernels.h\"\nnamespace {{\n#include \"{file}.cu\"\n}}\n\
         KERNELS({})\n",
        kernels.join(", ")
    )
}

/// Names of the kernels that a source defines, by itself or with the macros of the headers.
fn kernels(source: &str) -> Vec<String> {
    let halves = ["_f16", "_bf16"];
    let all = ["_f32", "_f16", "_bf16", "_f32_wide", "_f16_wide", "_bf16_wide"];
    let name = |text: &str| -> String {
        let is_part = |c: &char| c.is_alphanumeric() || *c == '_';
        text.trim_start().chars().take_while(is_part).collect()
    };
    let mut found = Vec::new();
    for line in source.lines() {
        for (macro_, suffixes) in [("INSTANCES(", &all[..]), ("HALF(", &halves[..])] {
            if let Some(rest) = line.strip_prefix(macro_) {
                found.extend(suffixes.iter().map(|s| format!("{}{s}", name(rest))));
            }
        }
        if let Some((kernel, rest)) =
            line.strip_prefix("INSTANCE(").and_then(|rest| rest.split_once(','))
        {
            found.push(kernel.to_string() + &name(rest));
        }
    }
    for rest in source.split("extern \"C\" __global__ void").skip(1) {
        let rest = rest.trim_start();
        let rest = match rest.strip_prefix("__launch_bounds__(") {
            Some(bounds) => bounds.split_once(')').map_or(bounds, |(_, rest)| rest),
            None => rest,
        };
        found.push(name(rest));
    }
    found
}

fn load(path: &Path) -> Result<Launch, String> {
    let name = CString::new(path.to_string_lossy().as_bytes()).map_err(|e| e.to_string())?;
    // SAFETY: a library that was made here and stays loaded.
    let launch = unsafe {
        let library = libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
        match library.is_null() {
            true => std::ptr::null_mut(),
            false => libc::dlsym(library, c"launch".as_ptr()),
        }
    };
    if launch.is_null() {
        // SAFETY: the message of what has just failed.
        return Err(unsafe { CStr::from_ptr(libc::dlerror()) }.to_string_lossy().into_owned());
    }
    // SAFETY: the function has this type.
    Ok(unsafe { std::mem::transmute::<*mut libc::c_void, Launch>(launch) })
}
