"""PyTorch reference of a KAdaptation-MoA training run, fed with the inputs of ours.

    pip install torch torchvision timm safetensors pillow numpy
    python bench/reference_fit.py --model-dir DIR --data DIR --init init.safetensors \\
        --batches batches.jsonl --seed N --out reference.json

`--init`: every trainable tensor (names in kron_moa.Net). `--batches`: one line
per update, a list of [environment/class/file, label]. Router noise and dropped
entries come from the same counters as in our program (counters.py). Images are
squashed, never augmented; Adam, constant rate, no decay, f32. Evaluated as
DomainBed does, after updates 0, F, 2F, ... (F = --eval-every; 0: never) and after the last.

`--out` is JSON: `ce` and `aux` per update (before it), `evaluations` (`step`, and
accuracy and loss of every environment's in and out split), seconds.
`--save FILE` keeps the trained tensors. check_reference.py checks the mathematics used here.
"""
import argparse
import json
import sys
import time
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

import counters
import domainbed
import images
from kron_moa import Net


class Counted:
    """Noise and masks of one update, by counter."""

    def __init__(self, seed, step):
        self.seed, self.step = seed, step

    def noise(self, name, like):
        values = counters.router_noise(self.seed, self.step, counters.layer_number(name), *like.shape)
        return torch.from_numpy(values).to(like)

    def drop(self, name, expert, h, p):
        keep = counters.keep_mask(self.seed, self.step, counters.layer_number(name), expert, *h.shape, p)
        return h * torch.from_numpy(keep) / (1 - p)


def evaluate(net, pixels, labels, parts, batch, normalise):
    """Accuracy and mean cross-entropy of each split, keys as in DomainBed's records."""
    net.randomness(None)
    rows = sorted({i for part in parts.values() for i in part})
    logits = torch.zeros(len(labels), net.trained["head.bias"].numel())
    with torch.no_grad():
        for at in range(0, len(rows), batch):
            some = rows[at:at + batch]
            logits[some] = net(normalise(pixels[some]))
    record = {}
    for name, part in parts.items():
        right = (logits[part].argmax(1) == labels[part]).float().mean()
        record |= {f"{name}_acc": right.item(), f"{name}_loss": F.cross_entropy(logits[part], labels[part]).item()}
    return record


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model-dir", "data", "init", "batches", "out"):
        parser.add_argument(f"--{name}", required=True, type=Path)
    parser.add_argument("--seed", required=True, type=int, help="seed of noise and masks")
    parser.add_argument("--trial-seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="default: as many as there are batches")
    parser.add_argument("--lr", type=float, default=5e-5)
    parser.add_argument("--dropout", type=float, default=0.5, help="of the entries of each expert's matrix")
    parser.add_argument("--eval-every", type=int, default=0)
    parser.add_argument("--eval-batch", type=int, default=128)
    parser.add_argument("--save", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    vit = timm.create_model(f"local-dir:{args.model_dir}", pretrained=True, num_classes=0).eval()
    cfg = vit.pretrained_cfg
    net = Net(vit, load_file(args.init), dropout=args.dropout)
    print(f"layers: {' '.join(net.layers)}; trained: {sum(p.numel() for p in net.trained.values())}", file=sys.stderr)
    paths = domainbed.list_images(args.data)
    labels = domainbed.labels_of(paths)
    parts = domainbed.split_all(paths, args.trial_seed)
    batches = domainbed.read_batches(args.batches, paths, labels, args.steps)
    labels = torch.tensor(labels)
    pixels = images.load_squashed(args.data, paths, cfg["input_size"][-1])
    optimiser = torch.optim.Adam(net.trained.values(), lr=args.lr)

    def normalise(some):
        return images.normalise(some, cfg["mean"], cfg["std"])

    result = dict(ce=[], aux=[], evaluations=[], train_seconds=0.0)
    for step, rows in enumerate(batches):
        start = time.perf_counter()
        net.randomness(Counted(args.seed, step))
        optimiser.zero_grad()
        ce, aux = net.losses(normalise(pixels[rows]), labels[rows])
        (ce + aux).backward()
        optimiser.step()
        result["ce"].append(ce.item())
        result["aux"].append(aux.item())
        result["train_seconds"] += time.perf_counter() - start
        if step % 10 == 0:
            print(f"step {step}: ce {ce.item():.4f} aux {aux.item():.4f}", file=sys.stderr, flush=True)
        last = step == len(batches) - 1
        if last or args.eval_every and step % args.eval_every == 0:
            record = evaluate(net, pixels, labels, parts, args.eval_batch, normalise)
            result["evaluations"].append(dict(step=step, **record))
            print(json.dumps(result["evaluations"][-1]), file=sys.stderr, flush=True)
            args.out.write_text(json.dumps(result, indent=1) + "\n")
    if args.save:
        save_file({k: v.detach() for k, v in net.trained.items()}, args.save)


if __name__ == "__main__":
    main()
