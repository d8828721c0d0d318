"""One routed linear layer, forward and backward: ours and PyTorch's forms side by side.

    cargo bench -p moa-kernels --bench routed --no-run [--features cuda]
    python bench/compare_routed.py PATH_OF_THE_BENCH --device cuda --dtype bf16 f32

Four LoRA experts of rank 1, 2, 4 and 8 and a cosine router of width 256 on 768 to 2304 and 768 to 768. First both
must give the same output and gradients, in f32. Then the median of at least ten bursts of 20 passes; milliseconds a
pass, and how many times as long as ours. `masked compiled` is torch.compile, with CUDA graphs.
"""
import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from routed_forms import EQUAL, FORMS

TYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
RANKS, WIDTH, ROUTER = (1, 2, 4, 8), 768, 256
FROZEN = ("x", "weight", "bias", "dy")
SECONDS = 2.0


def tensors(tokens, out):
    g = torch.Generator().manual_seed(0)
    t = {"x": torch.randn(tokens, WIDTH, generator=g), "dy": torch.randn(tokens, out, generator=g),
         "weight": 0.02 * torch.randn(out, WIDTH, generator=g), "bias": 0.02 * torch.randn(out, generator=g),
         "proj.weight": 0.05 * torch.randn(ROUTER, WIDTH, generator=g), "proj.bias": torch.zeros(ROUTER),
         "sim": torch.randn(ROUTER, len(RANKS), generator=g), "temperature": torch.tensor([3.0])}
    for e, r in enumerate(RANKS):
        t |= {f"down.{e}": 0.05 * torch.randn(r, WIDTH, generator=g), f"up.{e}": 0.05 * torch.randn(out, r, generator=g)}
    return t


def on(t, device, dtype):
    t = {k: v.to(device, dtype) for k, v in t.items()}
    return {k: v if k in FROZEN[1:] else v.requires_grad_() for k, v in t.items()}


def ours(bench, path, device, dtype):
    done = subprocess.run([bench, "--case", path, device, dtype], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def check(found, t, form):
    """Both in f32. Tokens whose two best experts are close may choose either: they are left out."""
    y = FORMS[form](t)(t["x"])
    (y * t["dy"]).sum().backward()
    wanted = {"y": y} | {k: v.grad for k, v in t.items() if k not in FROZEN[1:]}
    for name, w in wanted.items():
        w, f = w.detach().cpu(), found[name]
        error = ((w - f).norm() / w.norm().clamp(min=1e-12)).item()
        if not error < 2e-3:
            raise SystemExit(f"{form}: {name} differs by {error:.1e}")


def timed(form, t, device, compiled):
    module = FORMS[form](t)
    if compiled:
        module = torch.compile(module, mode=compiled)
    passes = 20 if device == "cuda" else 1
    sync = torch.cuda.synchronize if device == "cuda" else lambda: None
    leaves = [v for v in t.values() if v.requires_grad] + [p for p in module.parameters() if p.requires_grad]

    def burst(n):
        for _ in range(n):
            for leaf in leaves:
                leaf.grad = None
            module(t["x"]).backward(t["dy"])
        sync()

    burst(5)
    times, start = [], time.perf_counter()
    while time.perf_counter() - start < SECONDS or len(times) < 10:
        begin = time.perf_counter()
        burst(passes)
        times.append((time.perf_counter() - begin) / passes * 1e3)
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench", type=Path)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", nargs="+", choices=TYPES, default=["f32"])
    parser.add_argument("--tokens", nargs="+", type=int, default=[197, 1576, 6304, 50432])
    parser.add_argument("--out", nargs="+", type=int, default=[2304, 768])
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--mode", default="max-autotune", help="of torch.compile; reduce-overhead is sooner ready")
    args = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    columns = ["dense", "masked", *([] if args.no_compile else ["masked compiled"]), "single", "frozen"]
    print("| type | tokens | layer | ours ms | " + " | ".join(columns) + " |\n|---|---:|---|---:|" + "---:|" * len(columns))
    for dtype in args.dtype:
        for out in args.out:
            for tokens in args.tokens:
                t = tensors(tokens, out)
                with tempfile.TemporaryDirectory() as folder:
                    path = f"{folder}/case"
                    save_file(t, path)
                    found = ours(args.bench, path, args.device, dtype)
                    if dtype == "f32":
                        results = load_file(path + ".out")
                        for form in EQUAL:
                            check(results, on(t, args.device, TYPES[dtype]), form)
                cells = []
                for column in columns:
                    form, _, compiled = column.partition(" ")
                    torch._dynamo.reset()
                    mode = args.mode if compiled else None
                    ms = timed(form, on(t, args.device, TYPES[dtype]), args.device, mode)
                    cells.append(f"{ms:.3f} ({ms / found['routed_ms']:.2f}x)")
                print(f"| {dtype} | {tokens} | {WIDTH} to {out} | {found['routed_ms']:.3f} | " + " | ".join(cells) + " |",
                      flush=True)


if __name__ == "__main__":
    main()
