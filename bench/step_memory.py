"""Speed and peak memory of one KAdaptation-MoA training step in PyTorch.

    pip install torch torchvision timm numpy
    python bench/step_memory.py --model tiny --batch 96 --form einsum

`--model`: ViT-Tiny/16 or ViT-B/16 at 224x224, random weights (the speed does
not depend on them). `--form` is how an expert's matrix H and its product are
computed: "einsum" as published (every Kronecker product, then their sum; all
experts on all tokens), "gemm" (H by one matrix product), "grouped" (H so, each
expert on its own tokens). A step is forward, backward and Adam; with "forward" it
is the plain model in evaluation. One process
measures one form, as the peak of the resident memory never falls. Prints a
JSON line: images/s (median of --iters after --warmup), seconds, peak RSS.
"""
import argparse
import json
import math
import os
import resource
import statistics
import time

import timm
import torch

from kron_moa import Net, TorchRandom

MODELS = dict(tiny=("vit_tiny_patch16_224", 96), base=("vit_base_patch16_224", 16))
BLOCKS, RANKS, T, ROUTER_DIM, CLASSES = range(0, 12, 2), (1, 2, 4, 8), 64, 256, 7


def uniform(*shape, bound):
    return torch.empty(shape).uniform_(-bound, bound)


def initial(dim):
    """The published initial values: Xavier-uniform factors, small shared factors, torch's default for linears."""
    a, b, lin = dim // T, 3 * dim // T, 1 / math.sqrt(dim)
    tensors = {"shared.left": uniform(T, T, 1, bound=0.01), "shared.right": uniform(T, 1, T, bound=0.01),
               "head.weight": uniform(CLASSES, dim, bound=lin), "head.bias": uniform(CLASSES, bound=lin)}
    for block in BLOCKS:
        own = {"router.proj.weight": uniform(ROUTER_DIM, dim, bound=lin),
               "router.proj.bias": uniform(ROUTER_DIM, bound=lin),
               "router.sim": 0.01 * torch.randn(ROUTER_DIM, len(RANKS)),
               "router.temperature": torch.tensor([math.log(2.0)]),
               "adapter_bias": torch.zeros(3 * dim)}
        for e, r in enumerate(RANKS):
            own[f"experts.{e}.left"] = uniform(T, a, r, bound=math.sqrt(12 / (a + r)))
            own[f"experts.{e}.right"] = uniform(T, r, b, bound=math.sqrt(12 / (r + b)))
        tensors |= {f"blocks.{block}.attn.qkv.{k}": v for k, v in own.items()}
    return tensors


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="tiny")
    parser.add_argument("--form", choices=["einsum", "gemm", "grouped", "forward"], default="grouped")
    parser.add_argument("--batch", type=int, help="default: 96 (tiny), 16 (base)")
    parser.add_argument("--iters", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    arch, batch = MODELS[args.model]
    batch = args.batch or batch

    x, y = torch.randn(batch, 3, 224, 224), torch.randint(0, CLASSES, (batch,))
    if args.form == "forward":
        plain, trainable = timm.create_model(arch, num_classes=CLASSES).eval(), 0

        def step():
            with torch.no_grad():
                plain(x)
    else:
        vit = timm.create_model(arch, num_classes=0)
        net = Net(vit, initial(vit.embed_dim), form=args.form)
        net.randomness(TorchRandom())
        trainable = sum(p.numel() for k, p in net.trained.items() if not k.startswith("head."))
        optimiser = torch.optim.Adam(net.trained.values(), lr=5e-5)

        def step():
            optimiser.zero_grad()
            ce, aux = net.losses(x, y)
            (ce + aux).backward()
            optimiser.step()

    rates, load = [], os.getloadavg()[0]
    for number in range(args.warmup + args.iters):
        start = time.perf_counter()
        step()
        if number >= args.warmup:
            rates.append(batch / (time.perf_counter() - start))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(dict(
        impl="torch", version=torch.__version__, model=args.model, form=args.form, batch=batch, threads=args.threads,
        trainable=trainable,
        img_s_median=round(statistics.median(rates), 3), img_s_min=round(min(rates), 3), img_s_max=round(max(rates), 3),
        step_s=round(batch / statistics.median(rates), 3), peak_rss_mib=round(peak), load_before=round(load, 2))))


if __name__ == "__main__":
    main()
