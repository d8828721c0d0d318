"""Runs the binaries of this repository on a few random images."""
import json
import subprocess
from pathlib import Path

import numpy
import torch
from PIL import Image

torch.manual_seed(0)
SIDE, CLASSES, ENVS = 32, ("cat", "dog", "owl"), ("day", "night", "rain")


def run(binary, *args):
    """Standard output of a program that must end well."""
    done = subprocess.run([str(binary), *map(str, args)], capture_output=True, text=True)
    assert done.returncode == 0, f"{binary} {args}: {done.stderr}"
    return done.stdout


def dataset(folder):
    """ENV/CLASS/*.png of the model's own size, so that nothing is resized."""
    rng = numpy.random.default_rng(0)
    for env in ENVS:
        for name in CLASSES:
            (folder / env / name).mkdir(parents=True)
            for i in range(5):
                pixels = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=numpy.uint8)
                Image.fromarray(pixels).save(folder / env / name / f"{i}.png")
    return folder


def fit(bins, data, backbone, method, out, *settings):
    """A short run with large steps; its adapter."""
    sets = [part for setting in settings for part in ("--set", setting)]
    run(bins / "moa-train", "fit", "--data", data, "--test-env", "rain", "--backbone", backbone, "--method", method,
        "--out", out, "--steps", 5, "--set", "optim.lr=0.05", "--set", "train.batch_per_env=4", "--device", "cpu", *sets)
    return out / "best"


def images(data):
    return sorted((data / "rain").rglob("*.png"))


def predict(bins, model, data, classes=len(CLASSES), *more):
    """Logarithms of probabilities, [images, classes], in the order of `images`."""
    lines = run(bins / "moa-infer", "predict", model, *images(data), "--topk", classes, "--json", "--device", "cpu", *more)
    rows = [json.loads(line) for line in lines.splitlines()]
    return torch.tensor([[dict((t["index"], t["prob"]) for t in row["topk"])[i] for i in range(classes)] for row in rows]).log()


def pixels(data, mean, std):
    """The same images as input, [images, 3, SIDE, SIDE]."""
    all = numpy.stack([numpy.asarray(Image.open(path)) for path in images(data)])
    all = torch.from_numpy(all).permute(0, 3, 1, 2).float() / 255
    return (all - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def compare(what, ours, logits, tolerance=2e-4):
    """Log-probabilities of ours with logits of theirs."""
    gap = float((ours - logits.detach().log_softmax(-1)).abs().max())
    spread = float(ours.std(0).max())
    print(f"{what:60} largest difference {gap:.1e} (deviation over images {spread:.1e})")
    assert gap < tolerance, what


def randomise(model, seed=1, by=0.2):
    """Every tensor moved, so that no part has no effect."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * by)
    return model.eval()


def folder(root, name):
    path = Path(root) / name
    path.mkdir(parents=True)
    return path
