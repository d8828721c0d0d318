"""Checks that a step of ours and the same step in PyTorch give the same numbers.

    cargo run --release --example step_cost -- --batch 2 --method lora --dump step/
    python bench/check_peers.py step/ --forms lora

`--forms` are those of step_memory.py; the folder must come from the same method.
Compares logits, and of training forms both losses and the gradient of every
trainable tensor: the largest difference over the largest value of ours (see
`size`) must be at most --tolerance. Router noise and dropped entries come from the
same counters (counters.py). Exits non-zero on a difference.
"""
import argparse
import statistics
import tempfile
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file

from reference_fit import Counted
from step_memory import FORMS, build, export

SEED, STEP = 0, 0


def part(tensors, prefix):
    """The tensors under a prefix."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def size(name, wanted):
    """Largest value of a tensor. The gradient of a single number is a sum that may cancel to almost nothing in one
    layer, so that its size is at least the median over all layers."""
    own = float(wanted[name].abs().max())
    if wanted[name].numel() > 1:
        return own
    last = name.rsplit(".", 1)[-1]
    return max(own, statistics.median(abs(float(v)) for k, v in wanted.items() if k.rsplit(".", 1)[-1] == last))


def relative(name, found, wanted):
    """Largest difference over the size of what is wanted; 0 for two zeros."""
    gap, scale = float((found[name] - wanted[name]).abs().max()), size(name, wanted)
    return gap / scale if scale > 0 else gap


def classified(form, vit, dump):
    """Logits of the plain model."""
    head = part(dump, "init.head.")
    vit.reset_classifier(len(head["bias"]))
    vit.head.load_state_dict(head)
    if form == "forward":
        with torch.no_grad():
            return dict(logits=vit(dump["images"]))
    from onnx_forward import session
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export(vit, len(dump["images"]), path)
        logits, = session(path, torch.get_num_threads()).run(None, {"images": dump["images"].numpy()})
    return dict(logits=torch.from_numpy(logits))


def trained(form, vit, dump):
    """Logits, losses and gradients of one step."""
    net = build(form, vit, part(dump, "init."))
    net.randomness(Counted(SEED, STEP))
    seen = []
    net.register_forward_hook(lambda _net, _inputs, logits: seen.append(logits.detach()))
    ce, aux = net.losses(dump["images"], dump["labels"].long())
    (ce + aux).backward()
    found = dict(logits=seen[0], ce=ce.detach(), aux=torch.as_tensor(aux).detach())
    return found | {f"grad.{k}": v.grad for k, v in net.trained.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dump", type=Path)
    parser.add_argument("--forms", nargs="+", choices=[*FORMS, "forward", "onnx"], required=True)
    parser.add_argument("--tolerance", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    dump = load_file(args.dump / "step.safetensors")
    wanted = {k: v for k, v in dump.items() if k in ("logits", "ce", "aux") or k.startswith("grad.")}
    for form in args.forms:
        vit = timm.create_model(f"local-dir:{args.dump / 'backbone'}", pretrained=True, num_classes=0).eval()
        found = (trained if form in FORMS else classified)(form, vit, dump)
        if found.keys() != wanted.keys():
            raise SystemExit(f"{form}: another method has {', '.join(sorted(found.keys() ^ wanted.keys()))}")
        gaps = {name: relative(name, found, wanted) for name in wanted}
        worst = max(gaps, key=gaps.get)
        grads = len(gaps) - sum(name in gaps for name in ("logits", "ce", "aux"))
        line = f"{form}: logits within {gaps['logits']:.1e}"
        line += f", {grads} gradients and losses within {gaps[worst]:.1e} ({worst})" if grads else ""
        if not gaps[worst] <= args.tolerance:
            raise SystemExit(f"{line}: PyTorch and ours differ by more than {args.tolerance}")
        print(line, flush=True)


if __name__ == "__main__":
    main()
