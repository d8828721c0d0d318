"""docs/load_routed.py against ours: every kind of adapter and router. Usage: check_routed.py FOLDER_OF_BINARIES"""
import sys
import tempfile
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file
from timm.models import save_for_hf

import ours

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs"))
from load_routed import load  # noqa: E402

METHODS = [
    ("lora-moa",),
    ("lora-moa", "method.router.top_k=2", "method.router.renormalise=true", "method.router.bias=false"),
    ("lora-moa", "method.router.kind=linear", "method.router.top_k=3", "method.adapter.scale=0.7"),
    ("kadaptation-moa", "method.adapter.t=8"),
    ("kadaptation-moa", "method.adapter.t=4", "method.router.top_k=2", 'method.linears=["proj","fc1"]'),
    ("kadaptation", "method.adapter.t=8"),
    ("compacter", "method.adapter.ranks=8"),
    ("compacter", "method.adapter.ranks=4", "method.adapter.activation=none", "method.linears=qkv,fc1", "method.adapter.t=2"),
    ("lora",),
    ("linear-probe",),
]


def main():
    bins = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as root:
        root = Path(root)
        data = ours.dataset(root / "data")
        args = dict(img_size=ours.SIDE, patch_size=8, embed_dim=32, depth=2, num_heads=4, num_classes=0)
        make = lambda: timm.create_model("vit_base_patch16_clip_224", **args)
        backbone = ours.folder(root, "timm")
        save_for_hf(ours.randomise(make()), backbone, model_args=args, safe_serialization=True)
        config = timm.data.resolve_data_config({}, model=make())
        x = ours.pixels(data, config["mean"], config["std"])
        for i, (method, *settings) in enumerate(METHODS):
            adapter = ours.fit(bins, data, backbone, method, root / str(i), *settings)
            vit = make()
            vit.load_state_dict(load_file(backbone / "model.safetensors"))
            assert tuple(load(vit, adapter)) == ours.CLASSES
            with torch.no_grad():
                logits = vit.eval()(x)
            ours.compare(" ".join([method, *settings]), ours.predict(bins, adapter, data), logits)


if __name__ == "__main__":
    main()
