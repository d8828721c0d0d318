"""Image lists, holdout splits and batch files, as DomainBed defines them.

Layout of a data set: ROOT/environment/class/image. Environments and classes
are sorted by name, images by file name inside each class.
"""
import hashlib
import json
from pathlib import Path

import numpy as np

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"}


def list_images(root):
    """Relative paths (environment/class/file, "/" on every system) in DomainBed's order."""
    found = [p.relative_to(root) for p in Path(root).glob("*/*/*") if p.suffix.lower() in SUFFIXES]
    return [p.as_posix() for p in sorted(found, key=lambda p: p.parts)]


def environments(paths):
    """Environment names in order."""
    return sorted({p.split("/")[0] for p in paths})


def labels_of(paths):
    """Class number of each path: the place of its folder among the sorted class names."""
    classes = sorted({p.split("/")[1] for p in paths})
    return [classes.index(p.split("/")[1]) for p in paths]


def seed_hash(*args):
    """DomainBed's `misc.seed_hash`."""
    return int(hashlib.md5(str(args).encode()).hexdigest(), 16) % 2**31


def split(count, seed, holdout=0.2):
    """(out, in): the held-out part and the training part of `range(count)`."""
    keys = list(range(count))
    np.random.RandomState(seed).shuffle(keys)
    n = int(count * holdout)
    return keys[:n], keys[n:]


def split_all(paths, trial_seed=0, holdout=0.2):
    """{"env0_out": rows, "env0_in": rows, ...}: rows are places in `paths`."""
    parts = {}
    for number, env in enumerate(environments(paths)):
        rows = [i for i, p in enumerate(paths) if p.split("/")[0] == env]
        out, kept = split(len(rows), seed_hash(trial_seed, number), holdout)
        parts[f"env{number}_out"] = [rows[i] for i in out]
        parts[f"env{number}_in"] = [rows[i] for i in kept]
    return parts


def read_batches(file, paths, labels, steps=None):
    """Rows of `paths`, one list per step, from a JSON-lines file.

    An entry of a line is [path, label] (the label must agree with the folder),
    a path, or a row number.
    """
    place = {p: i for i, p in enumerate(paths)}
    batches = []
    for number, line in enumerate(Path(file).read_text().splitlines()[:steps], start=1):
        rows = []
        for entry in json.loads(line):
            path, label = entry if isinstance(entry, list) else (entry, None)
            row = path if isinstance(path, int) else place.get(path)
            if row is None:
                raise SystemExit(f"{file}: line {number}: no image {path}")
            if label is not None and label != labels[row]:
                raise SystemExit(f"{file}: line {number}: {path} has class {labels[row]}, not {label}")
            rows.append(row)
        batches.append(rows)
    if steps is not None and len(batches) < steps:
        raise SystemExit(f"{file}: {len(batches)} lines, but {steps} steps were asked for")
    return batches
