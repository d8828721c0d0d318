//! Bad input is one clear line and a documented exit code; nothing half-written,
//! never a panic.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Output;
use support::{drawings, ended, fit_args, infer, stderr, stdout, train};

/// Fails unless the program ended with `code` and one line that holds all `words`.
#[track_caller]
fn says(output: &Output, code: i32, words: &[&str]) {
    ended(output, code);
    let text = stderr(output);
    let lines: Vec<&str> = text.lines().filter(|l| l.starts_with("moa-")).collect();
    assert_eq!(lines.len(), 1, "not one line: {text}");
    for word in words {
        assert!(lines[0].contains(word), "`{word}` is not in: {}", lines[0]);
    }
    assert!(!text.contains("panicked"), "{text}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

fn fit(data: &Path, out: &Path, more: &[&str]) -> Output {
    let (data, out) = (data.to_str().unwrap(), out.to_str().unwrap());
    let mut args = vec!["fit", "--data", data, "--test-env", "sketch", "--backbone", "tiny"];
    args.extend(["--method", "linear-probe", "--out", out, "--steps", "1"]);
    args.extend(["--set", "train.batch_per_env=64"]);
    args.extend(more);
    train(&args)
}

#[test]
fn data_folders() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("run"));
    says(&fit(&data, &out, &[]), 1, &["data"]);
    fs::create_dir(&data).unwrap();
    says(&fit(&data, &out, &[]), 1, &["data"]);
    copy(drawings(), &data);
    says(&fit(&data, &out, &["--test-env", "skech"]), 2, &["skech", "sketch", "photo"]);
    fs::remove_dir_all(data.join("photo/fish")).unwrap();
    says(&fit(&data, &out, &[]), 1, &["fish", "photo"]);
    assert!(!out.exists(), "a run folder was made for nothing");
}

#[test]
fn images() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("run"));
    copy(drawings(), &data);
    let good = fs::read(data.join("photo/car/000.png")).unwrap();
    for n in 0..6 {
        fs::write(data.join(format!("photo/car/00{n}.png")), &good[..good.len() / 2]).unwrap();
    }
    says(&fit(&data, &out, &[]), 1, &["photo/car/00", ".png"]);

    // predict reports what it cannot read, and goes on.
    let images = dir.path().join("images");
    fs::create_dir(&images).unwrap();
    fs::write(images.join("cut.png"), &good[..good.len() / 2]).unwrap();
    fs::write(images.join("empty.jpg"), "").unwrap();
    fs::write(images.join("good.png"), &good).unwrap();
    fs::write(images.join("text.png"), "not an image").unwrap();
    // A header of 60,000 x 60,000 pixels.
    let mut bomb = good.clone();
    bomb[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    fs::write(images.join("bomb.png"), bomb).unwrap();
    let run = dir.path().join("whole");
    ended(&fit(drawings(), &run, &[]), 0);
    let best = run.join("best").display().to_string();
    let output = infer(&["predict", &best, images.to_str().unwrap(), "--format", "jsonl"]);
    says(&output, 1, &["4 of 5 images"]);
    let rows: Vec<serde_json::Value> =
        stdout(&output).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let failed = |r: &&serde_json::Value| r.get("error").is_some();
    assert_eq!((rows.len(), rows.iter().filter(failed).count()), (5, 4));
    for row in rows.iter().filter(failed) {
        let (path, error) = (row["path"].as_str().unwrap(), row["error"].as_str().unwrap());
        assert!(error.contains(path), "{error}");
    }
}

#[test]
fn configuration() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let set = |text: &str| fit(drawings(), &out, &["--set", text]);
    says(&set("optim.rl=1"), 2, &["optim.rl", "did you mean `optim.lr`"]);
    says(&set("optim.lr=0"), 2, &["optim.lr", "above 0"]);
    says(&set("train.device=tpu"), 2, &["tpu", "cuda"]);
    says(&set("data.dataset=pcas"), 2, &["pcas", "pacs"]);
    says(&set("backbone.spec=nowhere"), 1, &["nowhere"]);
    let file = dir.path().join("run.toml");
    fs::write(&file, "[optim]\nlr = \n").unwrap();
    says(&fit(drawings(), &out, &["--config", file.to_str().unwrap()]), 2, &["run.toml", "line 2"]);
    says(&set("method.name=lorra"), 2, &["lorra", "did you mean `lora`"]);
    says(&fit(drawings(), &out, &["--device", "cuda"]), 1, &["cuda"]);
    assert!(!out.exists(), "a run folder was made for nothing");
}

#[test]
fn a_run_that_diverges_names_the_place() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run").display().to_string();
    let output = train(&fit_args(&out, "full", &["--steps", "40", "--set", "optim.lr=1e18"]));
    says(&output, 1, &["step", "optim.lr"]);
}

#[test]
fn adapters() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    ended(&fit(drawings(), &run, &[]), 0);
    let best = run.join("best");
    let image = drawings().join("photo/car/000.png").display().to_string();
    let predict = |more: &[&str]| {
        let adapter = best.display().to_string();
        let mut args = vec!["predict", adapter.as_str(), image.as_str()];
        args.extend(more);
        infer(&args)
    };
    ended(&predict(&[]), 0);

    // Another backbone, by hash.
    let other =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden/backbones/timm_plain");
    says(&predict(&["--backbone", other.to_str().unwrap()]), 1, &["sha256"]);

    // Cut anywhere.
    let tensors = best.join("adapter_model.safetensors");
    let whole = fs::read(&tensors).unwrap();
    for cut in [0, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&tensors, &whole[..cut]).unwrap();
        says(&predict(&[]), 1, &["adapter_model.safetensors"]);
    }

    // A value that is not a number.
    let mut nan = whole.clone();
    let end = nan.len();
    nan[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&tensors, &nan).unwrap();
    says(&predict(&[]), 1, &["NaN", "head."]);

    // A tensor under another name: missing, with the nearest one.
    let renamed = String::from_utf8_lossy(&whole[8..120]).replace("head.bias", "head.bais");
    let mut bytes = whole.clone();
    bytes[8..120].copy_from_slice(&renamed.as_bytes()[..112]);
    fs::write(&tensors, &bytes).unwrap();
    says(&predict(&[]), 1, &["head.bias", "head.bais"]);
    fs::write(&tensors, &whole).unwrap();

    // A card that is not one.
    let card = best.join("moa.json");
    let text = fs::read_to_string(&card).unwrap();
    for (from, to, word) in [
        ("\"schema\": 1", "\"schema\": 9", "version 9"),
        ("\"classes\"", "\"clases\"", "clases"),
        ("{", "", "moa.json"),
    ] {
        fs::write(&card, text.replacen(from, to, 1)).unwrap();
        says(&predict(&[]), 1, &[word]);
    }
    fs::remove_file(&card).unwrap();
    says(&predict(&[]), 1, &["best"]);
}

#[test]
fn usage() {
    ended(&infer(&["predict"]), 2);
    ended(&train(&["fit"]), 2);
    ended(&train(&["fitt"]), 2);
    says(&infer(&["predict", "tiny", "nothing.png"]), 1, &["head"]);
    for (program, commands) in [
        ("train", "fit, list, report, tiny, push, analyse, check-data, sweep plan, sweep run"),
        ("train", "sweep status, sweep collect"),
        ("infer", "predict, eval, features, merge, inspect, selfcheck, routes, pull, export"),
    ] {
        for command in commands.split(", ") {
            let words: Vec<&str> = command.split(' ').chain(["--help"]).collect();
            let help = if program == "train" { train(&words) } else { infer(&words) };
            ended(&help, 0);
            assert!(stdout(&help).contains("Example: "), "{command} has no example");
        }
    }
}

#[cfg(unix)]
#[test]
fn names_that_are_not_utf8() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    copy(drawings(), &data);
    let bad = data.join("photo/car").join(std::ffi::OsStr::from_bytes(b"caf\xe9.png"));
    fs::copy(data.join("photo/car/000.png"), bad).unwrap();
    says(&fit(&data, &dir.path().join("run"), &[]), 1, &["caf"]);
}

/// Runs a program through `sh`, which can close, limit or cut its output.
#[cfg(unix)]
fn shell(script: &str) -> Output {
    let (train, infer) = (support::binary("moa-train"), support::binary("moa-infer"));
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script]).env("TRAIN", train).env("INFER", infer);
    command.env("DATA", drawings()).output().unwrap()
}

#[cfg(unix)]
#[test]
fn readers_that_go_away() {
    for command in [
        "$INFER inspect tiny",
        "$TRAIN list methods --backbone tiny",
        "$TRAIN fit --help-keys",
        "$TRAIN fit --data $DATA --test-env sketch --backbone tiny --dry-run",
    ] {
        // The status is that of the first program: it waits until nobody reads.
        let script = format!("{{ (sleep 0.3; {command}); echo $? >&2; }} | true");
        let output = shell(&script);
        let text = stderr(&output);
        assert!(!text.contains("panicked"), "{command}: {text}");
        assert_eq!(text.lines().last(), Some("0"), "{command}: {text}");
    }
    // A run goes on when the terminal that it reports to is gone.
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let script = format!(
        "$TRAIN fit --data $DATA --test-env sketch --backbone tiny --method linear-probe \
         --steps 2 --set train.batch_per_env=2 --out {} 2>&1 >/dev/null | true",
        out.display()
    );
    shell(&script);
    assert!(out.join("best/moa.json").is_file(), "the run died with its reader");
}

/// A file size limit makes writes fail as a full disk does.
#[cfg(unix)]
#[test]
fn a_full_disk() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let names = || -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    ended(&fit(drawings(), &dir.path().join("whole"), &[]), 0);
    fs::write(dir.path().join("rows.csv"), "old").unwrap();
    let limited = |blocks: usize, command: &str| {
        shell(&format!("trap '' XFSZ; ulimit -f {blocks}; {command}"))
    };
    let best = path("whole/best");
    let before = names();
    for (blocks, command, word) in [
        (0, format!("$INFER predict {best} $DATA/photo --output {}", path("rows.csv")), "rows.csv"),
        (1, format!("$INFER features {best} $DATA/photo --out {}", path("f.npy")), "f.npy"),
        (1, format!("$INFER merge {best} --out {}", path("merged")), "merged"),
        (1, format!("$TRAIN report {}", path("whole")), "report."),
    ] {
        let output = limited(blocks, &command);
        says(&output, 1, &[word]);
        assert_eq!(names(), before, "{command}");
    }
    assert_eq!(support::text(&dir.path().join("rows.csv")), "old");
    // A checkpoint that does not fit: the run ends with one line, and goes on once there is room.
    let out = path("run");
    let fit = format!(
        "$TRAIN fit --data $DATA --test-env sketch --backbone tiny --method kadaptation-moa \
         --steps 2 --set train.batch_per_env=2 --out {out}"
    );
    says(&limited(64, &fit), 1, &["File too large"]);
    ended(&shell(&format!("{fit} --resume")), 0);
    let hidden = |dir: &str| {
        let names = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name());
        names.into_iter().any(|n| n != ".lock" && n.to_string_lossy().starts_with('.'))
    };
    assert!(
        !hidden(&out) && !hidden(&format!("{out}/checkpoints")),
        "something half-written is left"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn folders_that_cannot_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    for out in [Path::new("/proc/run"), &file.join("run")] {
        says(&fit(drawings(), out, &[]), 1, &[out.to_str().unwrap()]);
    }
}

#[cfg(unix)]
#[test]
fn files_that_never_end() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    ended(&fit(drawings(), &run, &[]), 0);
    let images = dir.path().join("images");
    fs::create_dir(&images).unwrap();
    std::os::unix::fs::symlink("/dev/zero", images.join("zero.png")).unwrap();
    fs::copy(drawings().join("photo/car/000.png"), images.join("car.png")).unwrap();
    let best = run.join("best").display().to_string();
    let output = infer(&["predict", &best, images.to_str().unwrap()]);
    says(&output, 1, &["1 of 2 images"]);
    assert!(stdout(&output).contains("zero.png: cannot read the file: not a regular file"));
    let tensors = run.join("best/adapter_model.safetensors");
    fs::remove_file(&tensors).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &tensors).unwrap();
    says(&infer(&["predict", &best, "x.png"]), 1, &["adapter_model", "not a regular file"]);
}

#[test]
fn sizes_beyond_reason() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    for (set, word) in [
        ("train.batch_per_env=9223372036854775807", "16384"),
        ("eval.batch=0", "16384"),
        ("eval.cache_limit=0", "eval.cache_limit must be at least 1"),
        ("data.workers=100000", "256"),
        ("train.steps=4294967296", "4294967294"),
        ("optim.lr=nan", "optim.lr"),
        ("method.router.dim=1000000000", "router.dim"),
        ("method.router.noise=inf", "router.noise"),
        ("method.adapter.t=0", "adapter.t"),
        ("method.adapter.ranks=[100000000]", "adapter.ranks"),
        ("data.image_size=17", "whole patches of 8"),
        ("data.image_size=100000", "8192"),
    ] {
        let method = "method.name=kadaptation-moa";
        says(&fit(drawings(), &out, &["--set", method, "--set", set]), 2, &[word]);
    }
    assert!(!out.exists(), "a run folder was made for nothing");
    ended(&infer(&["predict", "tiny", "x.png", "--batch-size", "10000000000"]), 2);
    ended(&infer(&["predict", "tiny", "x.png", "--workers", "100000"]), 2);
    ended(&fit(drawings(), &out, &[]), 0);
    let (card, image) = (out.join("best/moa.json"), drawings().join("photo/car/000.png"));
    let text = fs::read_to_string(&card).unwrap();
    for (from, to, word) in [
        ("\"height\": 48", "\"height\": 18446744073709551615", "height"),
        ("\"height\": 48", "\"height\": 96", "image_size"),
        ("\"depth\": 6", "\"depth\": 1000000000", "depth"),
        ("\"heads\": 4", "\"heads\": 8", "architecture"),
    ] {
        assert!(text.contains(from), "{from}");
        fs::write(&card, text.replacen(from, to, 1)).unwrap();
        let output =
            infer(&["predict", out.join("best").to_str().unwrap(), image.to_str().unwrap()]);
        says(&output, 1, &[word]);
    }
}

#[test]
fn what_a_user_meant() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    ended(&fit(drawings(), &run, &[]), 0);
    let image = drawings().join("photo/car/000.png").display().to_string();
    let run = run.to_str().unwrap();
    says(&infer(&["predict", run, &image]), 1, &["a run folder", "run/best"]);
    says(&infer(&["inspect", run]), 1, &["a run folder", "run/best"]);
    // A missing image is a row like any other.
    let best = format!("{run}/best");
    let output = infer(&["predict", &best, "nothing.png", &image]);
    says(&output, 1, &["1 of 2 images"]);
    assert_eq!(stdout(&output).lines().count(), 2);
    let index = dir.path().join("f.json");
    fs::write(&index, "{\"mine\": 1}").unwrap();
    let out = dir.path().join("f.npy");
    let output = infer(&["features", "tiny", &image, "--out", out.to_str().unwrap()]);
    says(&output, 1, &["f.json", "--out"]);
    assert_eq!(support::text(&index), "{\"mine\": 1}");
    says(&train(&["tiny", "--out", run, "--steps", "1"]), 2, &["exists"]);
    let data = drawings().to_str().unwrap();
    let split = ["eval", "tiny", "--data", data, "--split", "in"];
    says(&infer(&split), 1, &["classes"]);
}
