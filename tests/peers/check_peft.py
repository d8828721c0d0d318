"""Adapters that we export load in the real `peft` with the same logits, in every layout. What `peft` writes is compared
by tests/golden_peft. Usage: check_peft.py FOLDER_OF_BINARIES"""
import sys
import tempfile
import warnings
from pathlib import Path

import timm
import torch
import transformers
from peft import PeftModel
from safetensors.torch import load_file
from timm.models import save_for_hf

import ours

SIZES = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, image_size=ours.SIDE, patch_size=8)
LABELS = dict(enumerate(ours.CLASSES))
CLIP = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
HALF = [0.5] * 3, [0.5] * 3
IMAGENET = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def preprocessor(folder, mean, std):
    transformers.ViTImageProcessor(size=dict(height=ours.SIDE, width=ours.SIDE), image_mean=mean, image_std=std) \
        .save_pretrained(folder)


def timm_vit(classes=0):
    args = dict(img_size=ours.SIDE, patch_size=8, embed_dim=32, depth=2, num_heads=4, num_classes=classes)
    # Nothing is cropped from images that have the right size.
    return timm.create_model("vit_base_patch16_224", **args, pretrained_cfg_overlay=dict(crop_pct=1.0)), args


def bases(root):
    """Layout of the export, backbone folder, what builds the base model with our classes, its logits, its pixels."""
    folder = ours.folder(root, "timm")
    vit, args = timm_vit()
    save_for_hf(ours.randomise(vit), folder, model_args=args, safe_serialization=True)

    def from_timm():
        model, _ = timm_vit(len(ours.CLASSES))
        model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
        return model.eval()

    yield "timm", folder, from_timm, lambda model, x: model(x), HALF

    for name, config, model, classifier, norm in [
        ("vit", transformers.ViTConfig(**SIZES, intermediate_size=64), transformers.ViTModel,
         transformers.ViTForImageClassification, HALF),
        ("dinov2", transformers.Dinov2Config(**SIZES, mlp_ratio=2), transformers.Dinov2Model,
         transformers.Dinov2ForImageClassification, IMAGENET),
        ("dinov2-reg-swiglu", transformers.Dinov2WithRegistersConfig(**SIZES, mlp_ratio=2, use_swiglu_ffn=True),
         transformers.Dinov2WithRegistersModel, transformers.Dinov2WithRegistersForImageClassification, IMAGENET),
    ]:
        folder = ours.folder(root, name)
        ours.randomise(model(config)).save_pretrained(folder)
        preprocessor(folder, *norm)
        make = lambda folder=folder, classifier=classifier: classifier.from_pretrained(folder, id2label=LABELS).eval()
        new = tuple(map(int, transformers.__version__.split(".")[:2])) >= (5, 9)
        yield "hf-new" if new else "hf-legacy", folder, make, lambda model, x: model(pixel_values=x).logits, norm

    folder = ours.folder(root, "clip")
    config = transformers.CLIPVisionConfig(**SIZES, intermediate_size=64, projection_dim=16)
    ours.randomise(transformers.CLIPVisionModelWithProjection(config)).save_pretrained(folder)
    preprocessor(folder, *CLIP)
    make = lambda: transformers.CLIPVisionModelWithProjection.from_pretrained(folder).eval()
    yield "clip", folder, make, None, CLIP


METHODS = [
    ("lora", "method.adapter.ranks=[4]"),
    ("lora", "method.adapter.bias=true", "method.adapter.scale=0.5", 'method.linears=["fc1","fc2"]'),
    ("kadaptation", "method.adapter.t=8", "method.adapter.scale=3.0", "method.adapter.ranks=[2]"),
]


def main():
    bins = Path(sys.argv[1]).resolve()
    warnings.filterwarnings("error", message=".*missing.*")     # all that PEFT does about a missing tensor
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as root:
        root = Path(root)
        data = ours.dataset(root / "data")
        for layout, backbone, make, call, norm in bases(root):
            for i, (method, *settings) in enumerate(METHODS):
                adapter = ours.fit(bins, data, backbone, method, root / f"{backbone.name}-{i}", *settings)
                wanted, x = ours.predict(bins, adapter, data), ours.pixels(data, *norm)
                out = root / f"{backbone.name}-{i}-peft"
                ours.run(bins / "moa-infer", "export", adapter, "--format", "peft", "--layout", layout, "--out", out)
                model = PeftModel.from_pretrained(make(), out).eval()
                with torch.no_grad():
                    if call:
                        logits = call(model, x)
                    else:   # CLIP has no classifier: the head is in a file of its own
                        head = load_file(out / "head.safetensors")
                        feature = model.base_model.model.vision_model(pixel_values=x).pooler_output
                        logits = feature @ head["head.weight"].T + head["head.bias"]
                what = f"{backbone.name} {layout} {method} {' '.join(settings)}"
                ours.compare(what, wanted, logits)
                if call:    # and back
                    again = ours.predict(bins, out, data, len(ours.CLASSES), "--backbone", backbone)
                    gap = float((again - wanted).abs().max())
                    assert gap < 2e-4, (what, gap)


if __name__ == "__main__":
    main()
