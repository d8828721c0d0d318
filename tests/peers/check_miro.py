"""MIRO's penalty (Cha et al. 2022, `kakaobrain/miro`, miro.py) and its gradients on the small models of
tests/data/golden/vit_moa, by PyTorch; compared with tests/data/miro.json, which the golden tests read.

    python tests/peers/check_miro.py [FOLDER_OF_BINARIES] [--write]     (--write makes the file anew)
"""
import json
import sys

import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from check_hessian import GOLDEN, ROOT, model

FILE, WEIGHT = ROOT / "tests/data/miro.json", 0.5
torch.set_default_dtype(torch.float64)


def features(vit, images):
    """The pooled feature, and what leaves each block: of four, these are the ends of the quarters."""
    blocks = []
    hooks = [block.register_forward_hook(lambda *call: blocks.append(call[-1])) for block in vit.blocks]
    pooled = vit(images)
    for hook in hooks:
        hook.remove()
    return pooled, blocks


def main():
    index = json.loads((GOLDEN / "index.json").read_text())
    batches = load_file(GOLDEN / "batches.safetensors")
    images, labels = batches["images"][0].double(), batches["labels"][0].long()
    config = json.loads((GOLDEN / "backbone/config.json").read_text())
    plain = timm.create_model(config["architecture"], **config["model_args"])
    plain.load_state_dict(load_file(GOLDEN / "backbone/model.safetensors"))
    with torch.no_grad():
        _, targets = features(plain.double().eval(), images)
    found = {}
    for name, variant in index["variants"].items():
        vit, train = model(variant, load_file(GOLDEN / name / "init.safetensors"))
        pooled, blocks = features(vit, images)
        first = min(int(layer.split(".")[1]) for layer in variant["layers"])
        start = (torch.tensor(0.1 - 1e-5).exp() - 1.0).log()
        scales = {f"miro.blocks.{i}": torch.full((32,), start.item(), requires_grad=True) for i in range(first, 4)}
        penalty = 0.0
        for i in range(first, 4):
            variance = F.softplus(scales[f"miro.blocks.{i}"]) + 1e-5
            penalty = penalty + ((blocks[i] - targets[i]).pow(2).div(variance) + variance.log()).mean() / 2.0
        ce = F.cross_entropy(F.linear(pooled, train["head.weight"], train["head.bias"]), labels)
        (ce + WEIGHT * penalty).backward()
        squares = {key: (tensor.grad ** 2).sum().item() for key, tensor in {**train, **scales}.items()}
        found[name] = {"weight": WEIGHT, "ce": ce.item(), "penalty": WEIGHT * penalty.item(), "gradients": squares}
    found = {"program": f"tests/peers/check_miro.py, torch {torch.__version__}, timm {timm.__version__}", "variants": found}
    if "--write" in sys.argv:
        FILE.write_text(json.dumps(found, indent=1) + "\n")
        return
    for name, values in json.loads(FILE.read_text())["variants"].items():
        own = {**found["variants"][name], **found["variants"][name]["gradients"]}
        for key, value in {**values, **values["gradients"]}.items():
            if key != "gradients":
                assert abs(own[key] - value) <= 1e-9 * abs(value), f"{name}: {key} is {own[key]}, not {value}"
    print("MIRO: ok")


if __name__ == "__main__":
    main()
