"""Pooled features of a local timm backbone over every image of a data set.

    pip install torch torchvision timm safetensors pillow numpy
    python bench/timm_features.py --model-dir DIR --data DIR --out features.safetensors

`--model-dir` is a timm folder (config.json, model.safetensors); `--data` is
ROOT/environment/class/image. Images are squashed to the model's input size
(Pillow, bilinear, antialias) and normalised with the backbone's own mean and
deviation; everything is f32. Writes `features` [n,d] (the class token after
the final norm) and, beside it, an index with the same name and the suffix
.json: paths, labels and environments in the same order.
"""
import argparse
import json
import time
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file

import domainbed
import images


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model-dir", required=True, type=Path)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    model = timm.create_model(f"local-dir:{args.model_dir}", pretrained=True, num_classes=0).eval()
    cfg = model.pretrained_cfg
    size = cfg["input_size"][-1]
    paths = domainbed.list_images(args.data)
    if not paths:
        raise SystemExit(f"{args.data}: no environment/class/image files")

    start, features = time.time(), []
    with torch.inference_mode():
        for at in range(0, len(paths), args.batch):
            pixels = images.load_squashed(args.data, paths[at:at + args.batch], size)
            features.append(model(images.normalise(pixels, cfg["mean"], cfg["std"])))
    features = torch.cat(features)
    seconds = time.time() - start

    save_file({"features": features}, args.out)
    index = dict(paths=paths, labels=domainbed.labels_of(paths), envs=[p.split("/")[0] for p in paths])
    args.out.with_suffix(".json").write_text(json.dumps(index) + "\n")
    print(f"{len(paths)} images, {features.shape[1]} features, {seconds:.1f} s, {len(paths) / seconds:.1f} images/s")


if __name__ == "__main__":
    main()
