"""Training steps, or forward passes, of ours and of PyTorch in turns, with ratios.

    pip install torch torchvision timm numpy
    cargo build --release --example step_cost
    python bench/compare_steps.py --model tiny --batch 8 32 --rounds 3

Every round runs each program once, in a process of its own: speed is the median
of the rounds, the ratio the median of the ratios within rounds, with the lowest
and the highest; memory is the highest of all rounds. `--forms` are those of
step_memory.py, "forward" for classification.
"""
import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def run(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command[0]}: {done.stderr.strip()}")
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", type=Path, default=HERE.parent / "target/release/examples/step_cost")
    parser.add_argument("--model", choices=["tiny", "base"], default="tiny")
    parser.add_argument("--batch", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--forms", nargs="+", default=["einsum", "gemm", "grouped"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--iters", type=int, default=3)
    parser.add_argument("--extra", nargs="*", default=[], help="options of step_cost, such as checkpoint-activations")
    args = parser.parse_args()

    for batch in args.batch:
        shared = ["--model", args.model, "--batch", batch, "--iters", args.iters, "--warmup", 1]
        found = {name: [] for name in ["ours", *args.forms]}
        for _ in range(args.rounds):
            extra = [f"--{option}" for option in args.extra]
            extra += ["--forward"] if args.forms == ["forward"] else []
            found["ours"].append(run([args.ours, *shared, *extra]))
            for form in args.forms:
                found[form].append(run([sys.executable, HERE / "step_memory.py", *shared, "--form", form]))
        for name, rounds in found.items():
            rate = statistics.median(r["img_s_median"] for r in rounds)
            peak = max(r["peak_rss_mib"] for r in rounds)
            line = f"{args.model} batch {batch:3} {name:8} {rate:8.2f} images/s {peak:6} MiB"
            if name != "ours":
                ratios = sorted(o["img_s_median"] / r["img_s_median"] for o, r in zip(found["ours"], rounds))
                ours = max(r["peak_rss_mib"] for r in found["ours"])
                line += f"   ours: {statistics.median(ratios):.2f}x ({ratios[0]:.2f} to {ratios[-1]:.2f})"
                line += f", {ours / peak:.2f} of the memory"
            print(line, flush=True)


if __name__ == "__main__":
    main()
