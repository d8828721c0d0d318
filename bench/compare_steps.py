"""Training steps, or forward passes, of ours and of PyTorch in turns, with ratios.

    pip install torch torchvision timm numpy safetensors
    cargo build --release --example step_cost
    python bench/compare_steps.py --model tiny --batch 8 32 --rounds 3
    python bench/compare_steps.py --forms lora lora+compiled lora-moa-all forward onnx

`--forms` are those of step_memory.py; "+compiled" after one is with torch.compile.
First check_peers.py must find outputs and gradients of both equal, at batch 2
and not compiled, in f32.
Then every round runs each program once, ours once for each of its settings, in
processes of their own: speed is the median of the rounds, the ratio the median of
the ratios within rounds, with the lowest and the highest; memory is the highest
of all rounds.
"""
import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
COMPILED = "+compiled"
TYPES = {"f32": "float32", "bf16": "bfloat16"}
KRONECKER = ("--method", "paper/kadaptation-moa")
FORWARD = ("--method", "linear-probe", "--forward")
# Arguments of step_cost for the same as each form.
OURS = {"einsum": KRONECKER, "gemm": KRONECKER, "grouped": KRONECKER,
        "lora": ("--method", "lora"),
        "lora-moa": ("--method", "lora-moa"),
        "lora-moa-all": ("--method", "lora-moa", "--set", "method.blocks=all", "--set", "method.linears=qkv,proj"),
        "forward": FORWARD, "onnx": FORWARD}
FORMS = [*OURS, *(form + COMPILED for form in OURS if form != "onnx")]


def ours_of(form):
    """Arguments of step_cost for a form, compiled or not."""
    return OURS[form.removesuffix(COMPILED)]


def output(command):
    """What a program prints; its failure ends this one."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command[0]}: {done.stderr.strip()}")
    return done.stdout


def run(command):
    return json.loads(output(command).splitlines()[-1])


def check(args, settings, extra):
    """Ends the program if a form and ours differ."""
    for ours in settings:
        forms = {form.removesuffix(COMPILED): None for form in args.forms if ours_of(form) == ours}
        with tempfile.TemporaryDirectory() as folder:
            output([args.ours, "--model", args.model, "--batch", 2, "--dump", folder, *ours, *extra])
            print(output([sys.executable, HERE / "check_peers.py", folder, "--forms", *forms]), end="", flush=True)


def speed_and_memory(rounds, device):
    peak = "peak_rss_mib" if device == "cpu" else "peak_gpu_mib"
    return statistics.median(r["img_s_median"] for r in rounds), max(r[peak] for r in rounds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", type=Path, default=HERE.parent / "target/release/examples/step_cost")
    parser.add_argument("--model", choices=["tiny", "base"], default="tiny")
    parser.add_argument("--batch", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--forms", nargs="+", default=["einsum", "gemm", "grouped"], metavar="FORM", choices=FORMS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--iters", type=int, default=3)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=TYPES, default="f32", help="type to compute in, on cuda")
    parser.add_argument("--extra", nargs="*", default=[], help="options of step_cost, such as checkpoint-activations")
    args = parser.parse_args()

    extra = [f"--{option}" for option in args.extra] + ["--device", args.device]
    warmup = 1 if args.device == "cpu" else 5
    settings = list(dict.fromkeys(ours_of(form) for form in args.forms))
    check(args, settings, extra)
    for batch in args.batch:
        shared = ["--model", args.model, "--batch", batch, "--iters", args.iters]
        own, peer = ["--dtype", args.dtype], ["--dtype", TYPES[args.dtype], "--device", args.device]
        ours, theirs = {setting: [] for setting in settings}, {form: [] for form in args.forms}
        for _ in range(args.rounds):
            for setting in settings:
                ours[setting].append(run([args.ours, *shared, "--warmup", warmup, *setting, *extra, *own]))
                for form in (form for form in args.forms if ours_of(form) == setting):
                    plain = form.removesuffix(COMPILED)
                    options = ["--warmup", warmup] if plain == form else ["--warmup", warmup + 3, "--compile"]
                    theirs[form].append(
                        run([sys.executable, HERE / "step_memory.py", *shared, *options, *peer, "--form", plain]))
        for form, rounds in theirs.items():
            own = ours[ours_of(form)]
            (rate, peak), (own_rate, own_peak) = (speed_and_memory(r, args.device) for r in (rounds, own))
            ratios = sorted(o["img_s_median"] / r["img_s_median"] for o, r in zip(own, rounds))
            print(f"{args.model} batch {batch:3} {form:21} ours {own_rate:8.2f} images/s {own_peak:6} MiB"
                  f"   theirs {rate:8.2f} images/s {peak:6} MiB"
                  f"   ours: {statistics.median(ratios):.2f}x ({ratios[0]:.2f} to {ratios[-1]:.2f})"
                  f", {own_peak / peak:.2f} of the memory", flush=True)


if __name__ == "__main__":
    main()
