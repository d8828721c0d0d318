"""Checks the PyTorch reference itself, in f64, against independent definitions.

    pip install torch torchvision timm safetensors numpy
    python bench/check_reference.py --golden DIR

`--golden` is the folder with `goldenlib/` and `public/`. Checks the known
answers of Philox4x32-10, the DomainBed splits, one layer with noise and
dropped entries (output, loss and every gradient, all three forms) and ten Adam
steps of a small ViT. Exits non-zero on a difference.
"""
import argparse
import json
import sys
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file

import domainbed
import philox
from counters import keep_mask, router_noise
from kron_moa import KronMoA, Net


class Given:
    """Noise by layer name, masks by expert."""

    def __init__(self, noise, keep=None):
        self.values, self.keep = noise, keep

    def noise(self, name, like):
        return self.values[name].to(like)

    def drop(self, name, expert, h, p):
        return h if self.keep is None else h * self.keep[expert].to(h) / (1 - p)


def worst(found, wanted):
    """Largest absolute difference."""
    return float((found.detach().double() - wanted.detach().double()).abs().max())


def check_philox():
    ones = 0xFFFF_FFFF
    cases = [([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
             ([ones] * 4, [ones] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
             ([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], [0xA4093822, 0x299F31D0],
              [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1])]
    for counter, key, wanted in cases:
        assert [int(w) for w in philox.philox(counter, key)] == wanted, (counter, key)
    z = router_noise(3, 5, 1, 50_000, 4)
    assert abs(z.mean()) < 0.01 and abs(z.std() - 1) < 0.01 and abs((z**4).mean() - 3) < 0.1
    assert abs(keep_mask(3, 5, 1, 2, 192, 576).mean() - 0.5) < 0.01
    print("philox: known answers, moments")


def check_splits(golden):
    table = json.loads((golden / "public/domainbed/splits.json").read_text())
    for row in table["seeds"]:
        assert domainbed.seed_hash(row["trial"], row["env"]) == row["seed"], row
    for row in table["lists"]:
        assert domainbed.split(row["n"], row["seed"], row["fraction"]) == (row["out"], row["in"]), row["n"]
    print(f"splits: {len(table['seeds'])} seeds, {len(table['lists'])} lists")


def check_layer(ref):
    gen = torch.Generator().manual_seed(1)
    spec = ref.Spec("kron", d_in=24, d_out=36, ranks=[1, 2, 4, 8], phm_dim=4, router_dim=8, dropout=0.5)
    params, x = ref.init_params(spec, gen), torch.randn(40, 24, generator=gen, dtype=torch.float64)
    noise, c = (torch.randn(40, n, generator=gen, dtype=torch.float64) for n in (4, 36))
    keep = torch.rand(4, 24, 36, generator=gen) >= 0.5

    def leaves():
        return {k: v.clone().requires_grad_() for k, v in params.items()}, x.clone().requires_grad_()

    theirs, x_theirs = leaves()
    wanted = ref.forward(spec, theirs, x_theirs, noise, keep)
    ((wanted["y"] * c).sum() + wanted["aux"]).backward()
    assert wanted["indices"].unique().numel() > 1
    for form in ("einsum", "gemm", "grouped"):
        ours, x_ours = leaves()
        linear = torch.nn.Linear(24, 36, dtype=torch.float64)
        linear.weight, linear.bias = (torch.nn.Parameter(params[k].clone()) for k in ("weight", "bias"))
        own = {k: v for k, v in ours.items() if not k.startswith("shared.") and k not in ("weight", "bias")}
        layer = KronMoA(linear, "layer", own, (ours["shared.left"], ours["shared.right"]), form=form)
        layer.random = Given({"layer": noise}, keep)
        y = layer(x_ours.view(4, 10, 24)).view(40, 36)
        ((y * c).sum() + layer.aux).backward()
        ours["weight"], ours["bias"] = linear.weight, linear.bias
        gaps = {"y": worst(y, wanted["y"]), "aux": worst(layer.aux, wanted["aux"])}
        gaps["x"] = worst(x_ours.grad, x_theirs.grad)
        gaps.update({k: worst(ours[k].grad, theirs[k].grad) for k in params})
        assert max(gaps.values()) < 1e-10, (form, gaps)
        print(f"layer, {form}: output, loss and {len(gaps) - 2} gradients within {max(gaps.values()):.1e}")


def check_training(golden):
    root = golden / "public/vit_moa"
    run = load_file(root / "kron_moa/adam.safetensors")
    batches = load_file(root / "batches.safetensors")
    vit = timm.create_model(f"local-dir:{root / 'backbone'}", pretrained=True, num_classes=0).eval().double()
    init = {k: v.double() for k, v in load_file(root / "kron_moa/init.safetensors").items()}
    net = Net(vit, init, dropout=0.0)
    optimiser = torch.optim.Adam(net.trained.values(), lr=5e-4)
    gap = 0.0
    for step, (x, y) in enumerate(zip(batches["images"].double(), batches["labels"])):
        net.randomness(Given({name: run[f"noise.step{step + 1}.{name}"] for name in net.layers}))
        optimiser.zero_grad()
        ce, aux = net.losses(x, y)
        (ce + aux).backward()
        optimiser.step()
        gap = max(gap, worst(ce, run["f64.ce"][step]), worst(aux, run["f64.aux"][step]))
    gap = max(gap, *(worst(v, run[f"f64.after_step10.{k}"]) for k, v in net.trained.items()))
    assert gap < 1e-8, gap
    print(f"training: 10 Adam steps, losses and {len(net.trained)} tensors within {gap:.1e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--golden", required=True, type=Path)
    args = parser.parse_args()
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(args.golden))
    from goldenlib import moa_reference

    check_philox()
    check_splits(args.golden)
    check_layer(moa_reference)
    check_training(args.golden)


if __name__ == "__main__":
    main()
