"""Runs a small sweep with pairs of environments on random images laid out as PACS, and compares the two collectors."""
import difflib
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
from PIL import Image

ENVS = ("art_painting", "cartoon", "photo", "sketch")
CLASSES = ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person")
SWEEP = """
[sweep]
methods = ["linear-probe", "lora-moa"]
trials = [0, 1]
grid.optim.lr = [1e-2, 1e-3]
pairs = true
[backbone]
spec = "tiny"
[data]
dataset = "pacs"
root = "{root}"
[train]
steps = 3
batch_per_env = 4
eval_every = 1
"""


def main():
    moa_train = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as top:
        top = Path(top)
        rng = numpy.random.default_rng(0)
        for e, env in enumerate(ENVS):
            for c, name in enumerate(CLASSES):
                (top / "PACS" / env / name).mkdir(parents=True)
                for i in range(6):
                    # Classes differ in brightness, environments in contrast.
                    pixels = rng.normal(30 + 30 * c, 10 + 15 * e, (32, 32, 3)).clip(0, 255).astype(numpy.uint8)
                    Image.fromarray(pixels).save(top / "PACS" / env / name / f"{i}.png")
        (top / "sweep.toml").write_text(SWEEP.format(root=top / "PACS"))
        run = lambda *args: subprocess.run(list(map(str, args)), check=True, capture_output=True, text=True).stdout
        run(moa_train, "sweep", "plan", top / "sweep.toml", "--no-timing", "--out", top / "runs")
        print(run(moa_train, "sweep", "run", top / "runs").strip())
        ours = run(moa_train, "report", top / "runs")
        theirs = run(sys.executable, "-m", "domainbed.scripts.collect_results", "--input_dir", top / "runs")
    if ours.strip() != theirs.strip():
        print("\n".join(difflib.unified_diff(theirs.splitlines(), ours.splitlines(), "DomainBed", "moa", lineterm="")))
        sys.exit(1)
    print(f"{ours.count('-------- ')} tables, {len(ours)} bytes: the same")


main()
