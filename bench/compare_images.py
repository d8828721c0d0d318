"""The evaluation transform of JPEGs (decode, resize, normalise), ours and torchvision's, with ratios.

    pip install torch torchvision numpy
    cargo build --release --example image_cost
    python bench/compare_images.py --data folder/of/jpegs --rounds 5

All on one thread and from bytes in memory: shorter side to 248 (bicubic, antialias),
the middle 224 x 224 pixels, normalised f32. "pillow" decodes and resizes with Pillow,
"tvio" with torchvision.io and transforms.v2 on tensors of bytes. Every round runs
each program once, in a process of its own. The best of its passes counts; speed is
the median of the rounds, the ratio the median of the ratios within rounds, with the
lowest and the highest. First, our numbers are compared to those of Pillow.
"""
import argparse
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def load(root, limit):
    """The files that image_cost takes, in its order."""
    paths = [p for p in Path(root).rglob("*") if p.suffix.lower() in (".jpg", ".jpeg")]
    paths.sort(key=lambda p: p.parts)
    kept = min(limit, len(paths))
    return [paths[i * len(paths) // kept].read_bytes() for i in range(kept)]


def transform(name):
    """From what `load` gives, made ready by the second function, to an input."""
    import torch
    from PIL import Image
    from torchvision.io import ImageReadMode, decode_jpeg
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor, v2

    torch.set_num_threads(1)
    mode = InterpolationMode.BICUBIC
    if name == "pillow":
        rest = Compose([Resize(248, mode), CenterCrop(224), ToTensor(), Normalize(MEAN, STD)])
        return lambda data: rest(Image.open(io.BytesIO(data)).convert("RGB")), lambda data: data
    steps = [v2.Resize(248, mode, antialias=True), v2.CenterCrop(224)]
    rest = v2.Compose([*steps, v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])
    return (
        lambda data: rest(decode_jpeg(data, ImageReadMode.RGB)),
        lambda data: torch.frombuffer(bytearray(data), dtype=torch.uint8),
    )


def time_peer(args):
    """What image_cost prints, for one of the others."""
    apply, ready = transform(args.peer)
    files = [ready(data) for data in load(args.data, args.limit)]
    rates = []
    for _ in range(args.passes + 1):
        start = time.perf_counter()
        for data in files:
            apply(data)
        rates.append(len(files) / (time.perf_counter() - start))
    print(json.dumps({"img_s_best": max(rates[1:]), "img_s_median": statistics.median(rates[1:])}))


def run(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command[0]}: {done.stderr.strip()}")
    return json.loads(done.stdout.splitlines()[-1])


def check(args, shared):
    """Ours against Pillow, which since version 13 resizes some shapes height first."""
    import numpy

    apply, _ = transform("pillow")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "inputs"
        run([args.ours, *shared, "--passes", 1, "--dump", path])
        ours = numpy.fromfile(path, numpy.float32).reshape(-1, 3, 224, 224)
    files = load(args.data, args.limit)
    assert len(files) == len(ours), "other files"
    gaps = [numpy.abs(mine - apply(data).numpy()) for mine, data in zip(ours, files)]
    levels = max(float(gap.max()) for gap in gaps) * 255 * min(STD)
    same = sum(float(gap.max()) < 1e-5 for gap in gaps)
    print(f"{same} of {len(files)} images as Pillow's, at most {levels:.1f} levels of 255 off", flush=True)
    if levels > 2:
        raise SystemExit("the inputs differ")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="searched for JPEGs, with all folders inside")
    parser.add_argument("--ours", type=Path, default=HERE.parent / "target/release/examples/image_cost")
    parser.add_argument("--limit", type=int, default=256, help="images")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--peer", choices=["pillow", "tvio"], help="time only this one, for one round")
    args = parser.parse_args()
    if args.peer:
        return time_peer(args)

    shared = ["--data", args.data, "--limit", args.limit]
    check(args, shared)
    shared += ["--passes", args.passes]
    found = {"ours": [], "pillow": [], "tvio": []}
    for _ in range(args.rounds):
        found["ours"].append(run([args.ours, *shared]))
        for peer in ["pillow", "tvio"]:
            found[peer].append(run([sys.executable, __file__, *shared, "--peer", peer]))
    for name, rounds in found.items():
        line = f"{name:8} {statistics.median(r['img_s_best'] for r in rounds):8.1f} images/s"
        if name == "ours":
            parts = [statistics.median(r[part] for r in rounds) for part in ("decode_us", "resize_us", "normalise_us")]
            line += "   decode {:.0f}, resize {:.0f}, normalise {:.0f} us an image".format(*parts)
        else:
            ratios = sorted(o["img_s_best"] / r["img_s_best"] for o, r in zip(found["ours"], rounds))
            line += f"   ours: {statistics.median(ratios):.2f}x ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(line, flush=True)


if __name__ == "__main__":
    main()
