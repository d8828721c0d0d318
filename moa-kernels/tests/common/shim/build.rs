//! Compiles a file of kernels for the CPU when one of them is first launched.
//!
//! | variable | |
//! |---|---|
//! | `CXX` | the compiler of C++, else `c++`, `g++` or `clang++` |
//! | `MOA_KERNEL_SOURCES` | a folder with other `cuda` and `metal` than those of this crate |
//! | `MOA_SHIM_THREADS` | anything: threads of a block are real ones, watched by ThreadSanitizer |

use super::{Kernels, Launch, Written};
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};

const FLAGS: &[&str] = &["-std=c++20", "-O1", "-g1", "-shared", "-fPIC", "-w", "-U_FORTIFY_SOURCE"];
const THREADS: &[&str] = &["-DSHIM_THREADS", "-fsanitize=thread", "-pthread", STATIC_TLS];
/// ThreadSanitizer takes a thread's variables to be neighbours in memory, which those of a
/// library loaded later are not.
const STATIC_TLS: &str = "-ftls-model=initial-exec";

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

type Slot = Arc<OnceLock<Result<Kernels, String>>>;

/// The two languages: their folder, the ending of a file, and the header that stands for them.
pub struct Language(&'static str, &'static str, &'static str);
pub const CUDA: Language = Language("cuda", "cu", "#include \"cuda.h\"\n#include \"kernels.h\"");
pub const METAL: Language = Language("metal", "metal", "#include \"metal.h\"");

/// The kernels of a file.
pub fn library(file: &str, language: &Language) -> Result<Kernels, String> {
    static ALL: Mutex<Option<HashMap<String, Slot>>> = Mutex::new(None);
    let file = format!("{file}.{}", language.1);
    let slot = {
        let mut all = ALL.lock().unwrap_or_else(|e| e.into_inner());
        all.get_or_insert_default().entry(file.clone()).or_default().clone()
    };
    slot.get_or_init(|| load(&compile(&file, language)?)).clone()
}

/// True if threads of a block are real ones.
pub fn real_threads() -> bool {
    std::env::var_os("MOA_SHIM_THREADS").is_some()
}

fn sources(language: &Language) -> PathBuf {
    let own = || PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let all = std::env::var("MOA_KERNEL_SOURCES").map_or_else(|_| own(), PathBuf::from);
    all.join(language.0)
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}

/// A library of the kernels of a file, made before or now.
fn compile(file: &str, language: &Language) -> Result<PathBuf, String> {
    let (sources, shim) =
        (sources(language), Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shim"));
    let compiler = compiler().ok_or("no compiler of C++")?;
    let flags = if real_threads() { [FLAGS, THREADS].concat() } else { FLAGS.to_vec() };
    let source = read(&sources.join(file))?;
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
    write(&unit, &around(file, &source, language))?;
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
        return Err(format!("{compiler} on {file}:\n{}", String::from_utf8_lossy(&out.stderr)));
    }
    std::fs::rename(&part, &library).map_err(|e| format!("{}: {e}", library.display()))?;
    Ok(library)
}

/// The source and a list of its kernels. What it defines stays its own.
fn around(file: &str, source: &str, language: &Language) -> String {
    let kernels: Vec<_> = kernels(source).iter().map(|k| format!("KERNEL({k})")).collect();
    format!(
        "{}\nnamespace {{\n#include \"{file}\"\n}}\nKERNELS({})\n",
        language.2,
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
        let macros = [("INSTANCES(", &all[..]), ("HALF(", &halves[..]), ("TYPES(", &all[..3])];
        for (macro_, suffixes) in macros {
            if let Some(rest) = line.strip_prefix(macro_) {
                found.extend(suffixes.iter().map(|s| format!("{}{s}", name(rest))));
            }
        }
        let one = line.strip_prefix("INSTANCE(").or(line.strip_prefix("INSTANCE_BF16("));
        if let Some((kernel, rest)) = one.and_then(|rest| rest.split_once(',')) {
            found.push(kernel.to_string() + &name(rest));
        }
        found.extend(line.strip_prefix("kernel void ").map(name));
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

fn load(path: &Path) -> Result<Kernels, String> {
    let file = CString::new(path.to_string_lossy().as_bytes()).map_err(|e| e.to_string())?;
    // SAFETY: a library that was made here and stays loaded.
    let library = unsafe { libc::dlopen(file.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    let find = |name: &CStr| match library.is_null() {
        true => std::ptr::null_mut(),
        // SAFETY: the library is there.
        false => unsafe { libc::dlsym(library, name.as_ptr()) },
    };
    let (launch, written) = (find(c"launch"), find(c"written"));
    if launch.is_null() || written.is_null() {
        // SAFETY: the message of what has just failed.
        return Err(unsafe { CStr::from_ptr(libc::dlerror()) }.to_string_lossy().into_owned());
    }
    // SAFETY: the functions have these types.
    Ok(unsafe {
        Kernels {
            launch: std::mem::transmute::<*mut libc::c_void, Launch>(launch),
            written: std::mem::transmute::<*mut libc::c_void, Written>(written),
        }
    })
}
