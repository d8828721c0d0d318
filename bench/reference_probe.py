"""PyTorch reference of linear-probe training on given features, fed with the inputs of ours.

    pip install torch safetensors numpy
    python bench/reference_probe.py --features features.safetensors --init init.safetensors \\
        --batches batches.jsonl [--out reference.json]

`--features`: `features` [n,d] with an index beside it (see timm_features.py).
`--init`: `head.weight` [classes,d], `head.bias`. `--batches`: one line per
update, a list of [path, label], paths or row numbers. Adam, constant rate, no
decay, f32. Prints the accuracy of every environment's in and out split.
"""
import argparse
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import domainbed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("features", "init", "batches"):
        parser.add_argument(f"--{name}", required=True, type=Path)
    parser.add_argument("--out", type=Path, help="the same numbers and the loss per update, as JSON")
    parser.add_argument("--trial-seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--lr", type=float, default=1e-3)
    args = parser.parse_args()

    features = load_file(args.features)["features"]
    paths = json.loads(args.features.with_suffix(".json").read_text())["paths"]
    if paths != sorted(paths, key=lambda p: p.split("/")):
        raise SystemExit(f"{args.features}: the paths are not in sorted order, which the splits need")
    labels = domainbed.labels_of(paths)
    batches = domainbed.read_batches(args.batches, paths, labels, args.steps)
    labels, init = torch.tensor(labels), load_file(args.init)
    head = torch.nn.Linear(*init["head.weight"].shape[::-1])
    with torch.no_grad():
        head.weight.copy_(init["head.weight"])
        head.bias.copy_(init["head.bias"])
    optimiser = torch.optim.Adam(head.parameters(), lr=args.lr)
    curve = []
    for rows in batches:
        optimiser.zero_grad()
        loss = F.cross_entropy(head(features[rows]), labels[rows])
        loss.backward()
        optimiser.step()
        curve.append(loss.item())

    with torch.no_grad():
        right = head(features).argmax(1) == labels
    record = {f"{name}_acc": right[part].float().mean().item()
              for name, part in domainbed.split_all(paths, args.trial_seed).items()}
    print(f"{len(curve)} updates, loss {curve[0]:.6f} to {curve[-1]:.6f}")
    for number, env in enumerate(domainbed.environments(paths)):
        print(f"{env:<16} in {record[f'env{number}_in_acc']:.4f}  out {record[f'env{number}_out_acc']:.4f}")
    if args.out:
        args.out.write_text(json.dumps(dict(ce=curve, **record), indent=1) + "\n")


if __name__ == "__main__":
    main()
