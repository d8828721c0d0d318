"""Checkpoints of real size from hub to hub: large.py URL FOLDER_OF_OUR_PROGRAMS

ViT-B/16 and ViT-L/14 with random weights, in every layout, go through Python's upload, pull, two training steps,
push, and a prediction by name from an empty cache. Prints seconds and peak memory (MiB) of each program.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZES = {"B/16": dict(width=768, layers=12, heads=12, patch=16), "L/14": dict(width=1024, layers=24, heads=16, patch=14)}


def make(layout, size, folder):
    import torch
    import transformers as tf

    torch.manual_seed(0)
    s = SIZES[size]
    sizes = dict(hidden_size=s["width"], num_hidden_layers=s["layers"], num_attention_heads=s["heads"],
                 patch_size=s["patch"], image_size=224)
    inner = dict(intermediate_size=4 * s["width"])
    match layout:
        case "timm":
            import timm

            name = "vit_base_patch16_224" if size == "B/16" else "vit_large_patch16_224"
            args = dict(patch_size=s["patch"])
            model = timm.create_model(name, **args)
            timm.models.save_for_hf(model, folder, safe_serialization=True, model_args=args)
        case "open_clip":
            import open_clip
            from safetensors.torch import save_file

            name = "ViT-B-16" if size == "B/16" else "ViT-L-14"
            model = open_clip.create_model(name)
            save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
            preprocess = {k: model.visual.preprocess_cfg[k] for k in ("mean", "std", "interpolation", "resize_mode")}
            config = {"model_cfg": open_clip.get_model_config(name), "preprocess_cfg": preprocess}
            (folder / "open_clip_config.json").write_text(json.dumps(config))
        case "clip":
            tf.CLIPVisionModel(tf.CLIPVisionConfig(**sizes, **inner)).save_pretrained(folder)
        case "vit":
            tf.ViTModel(tf.ViTConfig(**sizes, **inner)).save_pretrained(folder)
        case "dinov2":
            tf.Dinov2Model(tf.Dinov2Config(**sizes)).save_pretrained(folder)
        case "dinov2-registers":
            tf.Dinov2WithRegistersModel(tf.Dinov2WithRegistersConfig(**sizes)).save_pretrained(folder)
    if layout.startswith("dinov2"):  # as in facebook/dinov2-base
        mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
        (folder / "preprocessor_config.json").write_text(json.dumps({
            "do_resize": True, "size": {"shortest_edge": 256}, "resample": 3, "do_center_crop": True,
            "crop_size": {"height": 224, "width": 224}, "do_normalize": True, "image_mean": mean, "image_std": std}))


if sys.argv[1] == "--make":  # in a process of its own: a child's peak memory is at least its parent's
    make(sys.argv[2], sys.argv[3], Path(sys.argv[4]))
    sys.exit()

from check_hub import TOKEN, images, wait_for_server  # sets the environment  # noqa: E402
from huggingface_hub import HfApi  # noqa: E402

URL, PROGRAMS = sys.argv[1], Path(sys.argv[2]).resolve()
WORK = Path(tempfile.mkdtemp())
api = HfApi(endpoint=URL, token=TOKEN)


def timed(program, *args, home):
    start = time.time()
    child = subprocess.Popen([PROGRAMS / program, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True, env=os.environ | {"HF_HOME": str(home)})
    text = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    assert status == 0, (args, text)
    return f"{time.time() - start:6.1f} s {usage.ru_maxrss / 1024:6.0f}"


wait_for_server()
data = images(WORK / "data")
layouts = sys.argv[3:] or ["timm", "open_clip", "clip", "vit", "dinov2", "dinov2-registers"]
print(f"{'':22} {'file':>7} | {'pull':>15} | {'fit, 2 steps':>15} | {'push':>15} | {'predict':>15}", flush=True)
for size in SIZES:
    for number, layout in enumerate(layouts):
        folder = WORK / "made"
        folder.mkdir()
        subprocess.run([sys.executable, __file__, "--make", layout, size, folder], check=True, capture_output=True)
        (folder / "pytorch_model.bin").unlink(missing_ok=True)
        weights = sum(f.stat().st_size for f in folder.glob("*.safetensors")) / 2**20
        base, adapter = f"me/{layout}-{size[0]}", f"me/adapter-{layout}-{size[0]}"
        api.create_repo(base)
        api.upload_folder(repo_id=base, folder_path=folder)
        shutil.rmtree(folder)
        home, run = WORK / "home", WORK / "run"
        cells = [timed("moa-infer", "pull", base, home=home)]
        cells.append(timed("moa-train", "fit", "--data", data, "--test-env", "night", "--backbone", base,
                           "--method", "paper/lora-moa", "--out", run, "--device", "cpu", "--set", "train.steps=2",
                           "--set", "train.batch_per_env=2", "--set", "data.image_size=0", home=home))
        cells.append(timed("moa-train", "push", run, "--repo", adapter, "--create", "--license", "mit", home=home))
        shutil.rmtree(home)
        cells.append(timed("moa-infer", "predict", adapter, data / "day/dark/0.png", home=home))
        shutil.rmtree(home)
        shutil.rmtree(run)
        for repo in (base, adapter):
            api.delete_repo(repo)
        print(f"{layout + ' ' + size:22} {weights:7.0f} | " + " | ".join(f"{cell:>15}" for cell in cells), flush=True)
