"""Compares two feature files image by image and by a linear probe.

    pip install scikit-learn safetensors numpy
    python bench/probe.py ours.safetensors theirs.safetensors

Each file holds `features` [n,d]; an index with the same name and the suffix
.json holds {"paths": [environment/class/file, ...]}. Both must list the same
images (in any order). The probe is LogisticRegression(C=0.01, max_iter=2000)
on the features as they are, trained on all images of the other environments
and tested on all images of the one left out.
"""
import argparse
import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression

import domainbed


def load(file):
    """(sorted paths, their features in f64)."""
    tensors = load_file(file)
    paths = json.loads(file.with_suffix(".json").read_text())["paths"]
    if "features" not in tensors or len(tensors["features"]) != len(paths):
        raise SystemExit(f"{file}: `features` is missing or does not have {len(paths)} rows")
    order = sorted(range(len(paths)), key=lambda i: paths[i].split("/"))
    return [paths[i] for i in order], tensors["features"][order].astype(np.float64)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ours", type=Path)
    parser.add_argument("theirs", type=Path)
    args = parser.parse_args()
    (paths, ours), (other_paths, theirs) = load(args.ours), load(args.theirs)
    if paths != other_paths:
        lone = sorted(set(paths) ^ set(other_paths))[:5]
        raise SystemExit(f"the files list different images, for example {lone}")

    cosine = (ours * theirs).sum(1) / (np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1))
    worst = int(cosine.argmin())
    print(f"{len(paths)} images, cosine min {cosine[worst]:.9f} ({paths[worst]}), mean {cosine.mean():.9f}, "
          f"largest difference {np.abs(ours - theirs).max():.3e}")

    envs, labels = np.array([p.split("/")[0] for p in paths]), np.array(domainbed.labels_of(paths))
    print(f"{'left out':<16}{'ours':>9}{'theirs':>9}{'diff':>9}  predictions that differ")
    rows = []
    for env in domainbed.environments(paths):
        test = envs == env
        fits = [LogisticRegression(C=0.01, max_iter=2000).fit(f[~test], labels[~test]) for f in (ours, theirs)]
        a, b = (fit.predict(f[test]) for fit, f in zip(fits, (ours, theirs)))
        rows.append([100 * np.mean(p == labels[test]) for p in (a, b)])
        print(f"{env:<16}{rows[-1][0]:>9.3f}{rows[-1][1]:>9.3f}{rows[-1][0] - rows[-1][1]:>+9.3f}"
              f"  {int((a != b).sum())} of {int(test.sum())}")
    ours_mean, theirs_mean = np.mean(rows, axis=0)
    print(f"{'mean':<16}{ours_mean:>9.3f}{theirs_mean:>9.3f}{ours_mean - theirs_mean:>+9.3f}")


if __name__ == "__main__":
    main()
