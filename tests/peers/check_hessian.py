"""Eigenvalues of the loss's second derivatives on the small models of tests/data/golden/vit_moa, by PyTorch's double
backward, all of them; compared with tests/data/hessian.json, which the tests of `moa-train analyse` read.

    python tests/peers/check_hessian.py [FOLDER_OF_BINARIES] [--write]     (--write makes the file anew)
"""
import json
import sys
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from timm.layers import set_fused_attn

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs"))
from load_routed import Adapted  # noqa: E402

GOLDEN, FILE = ROOT / "tests/data/golden/vit_moa", ROOT / "tests/data/hessian.json"
set_fused_attn(False)  # which has no second derivative
torch.set_default_dtype(torch.float64)


def model(variant, tensors):
    """The backbone with the adapters of a variant; names and tensors of what trains."""
    config = json.loads((GOLDEN / "backbone/config.json").read_text())
    vit = timm.create_model(config["architecture"], **config["model_args"])
    vit.load_state_dict(load_file(GOLDEN / "backbone/model.safetensors"))
    vit.requires_grad_(False)
    train = {name: torch.nn.Parameter(tensor.double()) for name, tensor in sorted(tensors.items())}
    shared = [train[name] for name in ("shared.left", "shared.right") if name in train]
    for layer, spec in variant["layers"].items():
        own = {name.removeprefix(layer + "."): tensor for name, tensor in train.items() if name.startswith(layer + ".")}
        router = {"kind": spec["router"], "top_k": spec["top_k"], "renormalise": spec["renormalise"],
                  "bias": "router.proj.bias" in own}
        adapter = {"kind": spec["kind"], "ranks": spec["ranks"], "scale": spec["scale"]}
        method = {"adapter": adapter, "router": None if spec["router"] == "none" else router}
        parent, child = layer.rsplit(".", 1)
        parent = vit.get_submodule(parent)
        adapted = Adapted(getattr(parent, child), own, shared, method)
        setattr(parent, child, adapted)
    return vit.double().eval(), train


def hessian(loss, train):
    tensors = list(train.values())
    gradient = torch.autograd.grad(loss, tensors, create_graph=True)
    flat = torch.cat([part.reshape(-1) for part in gradient])
    rows = []
    for entry in flat:
        row = torch.autograd.grad(entry, tensors, retain_graph=True, materialize_grads=True)
        rows.append(torch.cat([part.reshape(-1) for part in row]))
    return torch.stack(rows)


def main():
    index = json.loads((GOLDEN / "index.json").read_text())
    batches = load_file(GOLDEN / "batches.safetensors")
    images, labels = batches["images"][0].double(), batches["labels"][0].long()
    found = {}
    for name, variant in index["variants"].items():
        tensors = load_file(GOLDEN / name / "init.safetensors")
        vit, train = model(variant, tensors)
        logits = F.linear(vit(images), train["head.weight"], train["head.bias"])
        loss = F.cross_entropy(logits, labels)
        matrix = hessian(loss, train)
        gap = (matrix - matrix.T).abs().max().item()
        assert gap < 1e-10, f"{name}: not symmetric: {gap}"
        values = torch.linalg.eigvalsh(0.5 * (matrix + matrix.T))
        found[name] = {"loss": loss.item(), "smallest": values[0].item(), "largest": values[-1].item(),
                       "trace": values.sum().item(), "squares": (values ** 2).sum().item(), "parameters": len(values)}
        print(name, found[name], flush=True)
    found = {"program": f"tests/peers/check_hessian.py, torch {torch.__version__}, timm {timm.__version__}", "variants": found}
    if "--write" in sys.argv:
        FILE.write_text(json.dumps(found, indent=1) + "\n")
        return
    wanted = json.loads(FILE.read_text())["variants"]
    for name, values in found["variants"].items():
        for key, value in values.items():
            assert abs(value - wanted[name][key]) <= 1e-6 * abs(value), f"{name}: {key} {value} {wanted[name][key]}"
    print("hessian: as in tests/data/hessian.json")


if __name__ == "__main__":
    main()
