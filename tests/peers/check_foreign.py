"""Adapters that `peft` writes, where the reference data of tests/golden_peft has none: open_clip's fused attention,
convolutions, CLIP with both towers, all biases. Compares features. Usage: check_foreign.py FOLDER_OF_BINARIES"""
import json
import sys
import tempfile
from pathlib import Path

import open_clip
import torch
import transformers
from open_clip.push_to_hf_hub import save_config_for_hf
from peft import LoHaConfig, LoKrConfig, LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

import ours
from check_peft import CLIP, HALF, preprocessor, timm_vit
from timm.models import save_for_hf

HF_SHAPE = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)


def from_open_clip(folder):
    config = dict(embed_dim=32, vision_cfg=dict(image_size=ours.SIDE, layers=2, width=32, head_width=8, patch_size=8),
                  text_cfg=dict(context_length=8, vocab_size=64, width=16, heads=2, layers=1))
    model = ours.randomise(open_clip.CLIP(**json.loads(json.dumps(config))))
    open_clip.model.set_model_preprocess_cfg(model, dict(mean=[0.5] * 3, std=[0.5] * 3, interpolation="bicubic", resize_mode="shortest"))
    with torch.no_grad():
        model.visual.proj.copy_(torch.eye(32))      # so that the feature itself comes out
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    save_config_for_hf(model, folder / "open_clip_config.json", model_config=config)
    return model, HALF, lambda m, x: m.encode_image(x)


def from_clip(folder):
    model = ours.randomise(transformers.CLIPModel(transformers.CLIPConfig(
        text_config=dict(**HF_SHAPE, vocab_size=64, eos_token_id=63, bos_token_id=62),
        vision_config=dict(**HF_SHAPE, image_size=ours.SIDE, patch_size=8), projection_dim=16)))
    model.save_pretrained(folder)
    preprocessor(folder, *CLIP)
    return model, CLIP, lambda m, x: m.vision_model(pixel_values=x).pooler_output


def from_timm(folder):
    vit, args = timm_vit()
    save_for_hf(ours.randomise(vit), folder, model_args=args, safe_serialization=True)
    return vit, HALF, lambda m, x: m(x)


CASES = [
    (from_open_clip, LoraConfig(r=3, lora_alpha=5, target_modules=r"visual\..*\.(attn|c_fc)")),
    (from_open_clip, LoraConfig(r=2, target_modules=["attn"], bias="all")),
    (from_open_clip, LoraConfig(r=2, target_modules=["conv1", "c_proj"], modules_to_save=["ln_post"])),
    (from_clip, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], use_rslora=True, lora_bias=True)),
    (from_clip, LoraConfig(r=2, target_modules=r"vision_model(?!.*layers\.0).*(fc1|out_proj)", bias="lora_only")),
    (from_timm, LoraConfig(r=2, target_modules=["proj"], use_dora=True)),
    (from_timm, LoraConfig(r=4, target_modules=["patch_embed.proj"], lora_bias=True)),
    (from_timm, LoHaConfig(r=2, target_modules=["proj"])),
    (from_timm, LoKrConfig(r=2, target_modules=["attn.proj", "fc1", "fc2"], layers_to_transform=[1], layers_pattern="blocks")),
]


def main():
    bins = Path(sys.argv[1]).resolve()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as root, torch.no_grad():
        data = ours.dataset(Path(root) / "data")
        for i, (make, config) in enumerate(CASES):
            backbone, adapter = ours.folder(root, f"{i}"), Path(root) / f"{i}-peft"
            base, norm, call = make(backbone)
            before = call(base, x := ours.pixels(data, *norm))
            model = get_peft_model(base, config)
            for name, p in model.named_parameters():
                if p.requires_grad:
                    p.add_(torch.randn_like(p) * 0.1)
            model.save_pretrained(adapter)
            wanted = call(model.eval().base_model.model, x)
            out = Path(root) / f"{i}.safetensors"
            ours.run(bins / "moa-infer", "features", adapter, *ours.images(data), "--backbone", backbone, "--out", out,
                     "--device", "cpu")
            gap, moved = (float((other - wanted).abs().max()) for other in (load_file(out)["features"], before))
            targets = config.target_modules if isinstance(config.target_modules, str) else sorted(config.target_modules)
            print(f"{make.__name__} {config.peft_type.value} {targets}: largest difference {gap:.1e} (adapter moves {moved:.1e})")
            assert gap < 2e-4 < moved


if __name__ == "__main__":
    main()
