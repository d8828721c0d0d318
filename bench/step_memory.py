"""Speed and peak memory of one training step, or of classification, in PyTorch.

    pip install torch torchvision timm numpy
    python bench/step_memory.py --model tiny --batch 96 --form einsum

`--model`: ViT-Tiny/16 or ViT-B/16 at 224x224, random weights (the speed does
not depend on them). A step is forward, backward and Adam. `--form`:

einsum, gemm, grouped
    KAdaptation-MoA in the qkv of every second block, by how an expert's matrix H and
    its product are computed: as published (every Kronecker product, then their sum;
    all experts on all tokens), H by one matrix product, H so and each expert on its
    own tokens.
lora
    LoRA of rank 8 in the qkv and proj of every block.
lora-moa, lora-moa-all
    four LoRA experts and a router, all experts on all tokens, in the qkv of every
    second block; in the qkv and proj of every block.
forward, onnx
    the plain model in evaluation, in PyTorch and (pip install onnx onnxruntime
    onnxscript) in ONNX Runtime.

`--compile` is torch.compile, which takes its time in the first steps: raise
--warmup. One process measures one form, as the peak of the resident memory never
falls. Prints a JSON line: images/s (median of --iters after --warmup), seconds,
peak RSS.
"""
import argparse
import json
import math
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import timm
import torch

import kron_moa
import lora_moa
from adapted import TorchRandom
from measure import measure

MODELS = dict(tiny=("vit_tiny_patch16_224", 96), base=("vit_base_patch16_224", 16))
BLOCKS, RANKS, T, ROUTER_DIM, CLASSES = range(0, 12, 2), (1, 2, 4, 8), 64, 256, 7
ALL_BLOCKS, QKV, QKV_PROJ = range(12), ("attn.qkv",), ("attn.qkv", "attn.proj")
# Blocks, linears and ranks of each form.
FORMS = {"einsum": (BLOCKS, QKV, RANKS), "gemm": (BLOCKS, QKV, RANKS), "grouped": (BLOCKS, QKV, RANKS),
         "lora": (ALL_BLOCKS, QKV_PROJ, (8,)),
         "lora-moa": (BLOCKS, QKV, RANKS), "lora-moa-all": (ALL_BLOCKS, QKV_PROJ, RANKS)}


def uniform(*shape, bound):
    return torch.empty(shape).uniform_(-bound, bound)


def expert(form, rank, dim, out):
    """The published initial values: Xavier-uniform factors; normal and zero ones."""
    if form.startswith("lora"):
        return {"down": torch.randn(rank, dim) / rank, "up": torch.zeros(out, rank)}
    a, b = dim // T, out // T
    return {"left": uniform(T, a, rank, bound=math.sqrt(12 / (a + rank))),
            "right": uniform(T, rank, b, bound=math.sqrt(12 / (rank + b)))}


def layer(form, ranks, dim, out):
    """Tensors of an adapted layer; linears of the router have torch's default."""
    own, lin = {}, 1 / math.sqrt(dim)
    if len(ranks) > 1:
        own = {"router.proj.weight": uniform(ROUTER_DIM, dim, bound=lin),
               "router.proj.bias": uniform(ROUTER_DIM, bound=lin),
               "router.sim": 0.01 * torch.randn(ROUTER_DIM, len(ranks)),
               "router.temperature": torch.tensor([math.log(2.0)])}
    for e, rank in enumerate(ranks):
        own |= {f"experts.{e}.{k}": v for k, v in expert(form, rank, dim, out).items()}
    return own if form.startswith("lora") else own | {"adapter_bias": torch.zeros(out)}


def initial(form, dim):
    """Every trainable tensor of a form."""
    blocks, linears, ranks = FORMS[form]
    lin = 1 / math.sqrt(dim)
    tensors = {"head.weight": uniform(CLASSES, dim, bound=lin), "head.bias": uniform(CLASSES, bound=lin)}
    if not form.startswith("lora"):
        tensors |= {"shared.left": uniform(T, T, 1, bound=0.01), "shared.right": uniform(T, 1, T, bound=0.01)}
    for block in blocks:
        for linear in linears:
            own = layer(form, ranks, dim, 3 * dim if linear == "attn.qkv" else dim)
            tensors |= {f"blocks.{block}.{linear}.{k}": v for k, v in own.items()}
    return tensors


def build(form, vit, tensors):
    """The network of a training form."""
    if not form.startswith("lora"):
        return kron_moa.Net(vit, tensors, form=form)
    return lora_moa.Net(vit, tensors, scale=2.0 if form == "lora" else 1.0)


def export(model, batch, path):
    """Writes a model as ONNX, for one size of batch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (torch.zeros(batch, 3, 224, 224),), str(path), input_names=["images"],
                          output_names=["logits"], opset_version=17, dynamo=False)


def run_onnx(model, args):
    """What onnx_forward.py measures."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export(model, args.batch, path)
        command = [sys.executable, Path(__file__).with_name("onnx_forward.py"), path]
        for name in ("batch", "iters", "warmup", "threads"):
            command += [f"--{name}", getattr(args, name)]
        command += ["--turns"] * args.turns
        running = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
        for line in running.stdout:
            if line == "turn\n":
                print(line, end="", flush=True)
        if running.wait():
            raise SystemExit(running.returncode)
    return json.loads(line)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="tiny")
    parser.add_argument("--form", choices=[*FORMS, "forward", "onnx"], default="grouped")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--batch", type=int, help="default: 96 (tiny), 16 (base)")
    parser.add_argument("--iters", type=int, default=5)
    parser.add_argument("--warmup", type=int, help="default: 2, compiled 4")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", action="store_true", help="print a line before each timed step and wait for one")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32",
                        help="of everything, trained tensors too")
    args = parser.parse_args()
    if args.compile and args.form == "onnx":
        parser.error("--compile is for PyTorch")
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    arch, batch = MODELS[args.model]
    args.batch = batch = args.batch or batch
    args.warmup = (4 if args.compile else 2) if args.warmup is None else args.warmup

    place = dict(device=args.device, dtype=getattr(torch, args.dtype))
    x, y = torch.randn(batch, 3, 224, 224).to(**place), torch.randint(0, CLASSES, (batch,)).to(args.device)
    result = dict(impl="torch", version=torch.__version__, model=args.model, form=args.form, compiled=args.compile,
                  batch=batch, threads=args.threads, trainable=0, device=args.device, dtype=args.dtype)
    if args.form in ("forward", "onnx"):
        model = timm.create_model(arch, num_classes=CLASSES).eval().to(**place)

        def step():
            with torch.no_grad():
                model(x)
    else:
        vit = timm.create_model(arch, num_classes=0).to(**place)
        tensors = {name: tensor.to(**place) for name, tensor in initial(args.form, vit.embed_dim).items()}
        model = build(args.form, vit, tensors)
        model.randomness(TorchRandom())
        result["trainable"] = sum(p.numel() for k, p in model.trained.items() if not k.startswith("head."))
        optimiser = torch.optim.Adam(model.trained.values(), lr=5e-5)

        def step():
            optimiser.zero_grad()
            ce, aux = model.losses(x, y)
            (ce + aux).backward()
            optimiser.step()
    if args.compile:
        model.compile()
    result |= run_onnx(model, args) if args.form == "onnx" else measure(
        step, batch, args.warmup, args.iters, args.device, args.turns)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
