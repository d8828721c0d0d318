"""Training steps, or forward passes, of ours and of PyTorch in turns, with ratios.

    pip install torch torchvision timm numpy safetensors
    cargo build --release --example step_cost
    python bench/compare_steps.py --model tiny --batch 8 32 --rounds 3
    python bench/compare_steps.py --forms lora lora+compiled lora-moa-all forward onnx

`--forms` are those of step_memory.py; "+compiled" after one is with torch.compile.
First check_peers.py must find outputs and gradients of both equal, at batch 2
and not compiled, in f32.
Then every round starts both programs, which take their steps in turns: a machine whose
speed changes slows both. Speed is the median of all steps, the ratio that of the ratios
of neighbours in time, with the lowest and the highest tenth; memory is the highest of
all rounds.
"""
import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
COMPILED = "+compiled"
# Seconds between steps, for threads that go on looking for work.
PAUSE = 0.05
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


class Program:
    """One that prints a line "turn" before each timed step and waits for one, then prints its result."""

    def __init__(self, command):
        self.command = [str(part) for part in command]
        self.errors = tempfile.TemporaryFile("w+")
        self.running = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True)

    def wait(self):
        """Until the step is done: its line."""
        line = self.running.stdout.readline()
        if not line:
            self.errors.seek(0)
            raise SystemExit(f"{self.command[0]}: {self.errors.read().strip()}")
        return line

    def step(self):
        time.sleep(PAUSE)
        self.running.stdin.write("\n")
        self.running.stdin.flush()
        return self.wait()


def race(commands, iters):
    """Results of programs that take their steps in turns."""
    programs = [Program(command) for command in commands]
    for program in programs:
        program.wait()
    lines = [[program.step() for program in programs] for _ in range(iters)]
    return [json.loads(line) for line in lines[-1]]


def check(args, settings, extra):
    """Ends the program if a form and ours differ."""
    for ours in settings:
        forms = {form.removesuffix(COMPILED): None for form in args.forms if ours_of(form) == ours}
        with tempfile.TemporaryDirectory() as folder:
            output([args.ours, "--model", args.model, "--batch", 2, "--dump", folder, "--device", args.device,
                    *ours, *extra])
            print(output([sys.executable, HERE / "check_peers.py", folder, "--forms", *forms]), end="", flush=True)


def told(batch, device, ours, theirs):
    """Speed, memory and their ratios, of the results of all rounds."""
    peak = "peak_rss_mib" if device == "cpu" else "peak_gpu_mib"
    seconds = [[s for result in results for s in result["seconds"]] for results in (ours, theirs)]
    rate, their_rate = (batch / statistics.median(s) for s in seconds)
    memory, their_memory = (max(result[peak] for result in results) for results in (ours, theirs))
    ratios = sorted(their / own for own, their in zip(*seconds))
    tenth = len(ratios) // 10
    return (f"ours {rate:8.2f} images/s {memory:6} MiB   theirs {their_rate:8.2f} images/s {their_memory:6} MiB"
            f"   ours: {statistics.median(ratios):.2f}x ({ratios[tenth]:.2f} to {ratios[-1 - tenth]:.2f})"
            f", {memory / their_memory:.2f} of the memory")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", type=Path, default=HERE.parent / "target/release/examples/step_cost")
    parser.add_argument("--model", choices=["tiny", "base"], default="tiny")
    parser.add_argument("--batch", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--forms", nargs="+", default=["einsum", "gemm", "grouped"], metavar="FORM", choices=FORMS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--iters", type=int, default=5)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=TYPES, default="f32", help="type to compute in, on cuda")
    parser.add_argument("--extra", nargs="*", default=[], help="options of step_cost, such as checkpoint-activations")
    args = parser.parse_args()

    extra = [f"--{option}" for option in args.extra]
    warmup = 1 if args.device == "cpu" else 5
    settings = list(dict.fromkeys(ours_of(form) for form in args.forms))
    check(args, settings, extra)
    for batch in args.batch:
        shared = ["--turns", "--model", args.model, "--batch", batch, "--iters", args.iters, "--device", args.device]
        for form in args.forms:
            plain = form.removesuffix(COMPILED)
            options = ["--warmup", warmup] if plain == form else ["--warmup", warmup + 3, "--compile"]
            ours = [args.ours, *shared, "--warmup", warmup, "--dtype", args.dtype, *ours_of(form), *extra]
            theirs = [sys.executable, HERE / "step_memory.py", *shared, *options, "--dtype", TYPES[args.dtype],
                      "--form", plain]
            results = zip(*(race([ours, theirs], args.iters) for _ in range(args.rounds)))
            print(f"{args.model} batch {batch:3} {form:21}", told(batch, args.device, *results), flush=True)


if __name__ == "__main__":
    main()
